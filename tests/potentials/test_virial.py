"""Virials of potentials: of their own stresses where these are right, else by differences."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from kstep_integrators import CalculatorPotential, KStepWarning, SumPotential
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.learning.adapted import adapt
from kstep_integrators.mechanics import strain
from kstep_integrators.mechanics.stress_check import check_stress
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.virial import potential_energy, potential_virial

CALCULATORS = {
    "EMT": EMT,
    "Morse": lambda: MorsePotential(epsilon=0.35, r0=2.87, rho0=3.9),
    "LJ": lambda: LennardJones(sigma=2.3, epsilon=0.4, rc=6.0, smooth=True),
}


def crystal(seed: int = 0) -> Atoms:
    """Copper, sheared, skewed and rattled."""
    atoms, rng = bulk("Cu", cubic=True), np.random.default_rng(seed)
    strain = rng.normal(0.0, 0.03, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
    return atoms


def differences(potential, state, size: float = 1e-5) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strain, "STRAIN", size)
        return strain.virial(state, lambda there: potential_energy(potential, there))


@pytest.mark.parametrize("name", CALCULATORS)
def test_the_stress_of_a_calculator_is_the_virial(name):
    atoms = crystal()
    potential, state = CalculatorPotential(CALCULATORS[name]()), state_from_atoms(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = potential_virial(potential, state)
    atoms.calc = CALCULATORS[name]()
    expected = torch.from_numpy(atoms.get_stress() * atoms.get_volume())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, differences(potential, state), rtol=0, atol=1e-6)


class Timed(EMT):
    """Counts its calculations."""

    made = 0
    factor = 1.0

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        Timed.made += 1
        self.results["stress"] = self.results["stress"] * self.factor


def test_a_stress_is_checked_once_and_costs_one_calculation_then():
    potential, made = CalculatorPotential(Timed()), []
    for seed in range(3):
        before = Timed.made
        potential_virial(potential, state_from_atoms(crystal(seed)))
        made.append(Timed.made - before)
    assert made == [5, 1, 1]


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.9, 1.1])
def test_a_wrong_stress_is_said_once_and_differences_taken(factor):
    calculator = Timed()
    calculator.factor = factor
    potential, state = CalculatorPotential(calculator), state_from_atoms(crystal())
    with pytest.warns(KStepWarning, match="is not the derivative of its energy by the strain"):
        found = potential_virial(potential, state)
    sound = CalculatorPotential(EMT())
    torch.testing.assert_close(found, differences(sound, state, 1e-3), rtol=0, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(potential_virial(potential, state), found)


@pytest.mark.parametrize("component", range(6))
def test_a_wrong_component_is_found(component):
    atoms = crystal()
    atoms.calc = EMT()
    state, potential = state_from_atoms(atoms), CalculatorPotential(EMT())
    stress = torch.from_numpy(atoms.get_stress() * atoms.get_volume())
    wrong = stress.clone()
    wrong[component] += 0.5  # eV, of 1 to 10
    verdicts = [
        check_stress(state, lambda there: potential_energy(potential, there), one)
        for one in (stress, wrong)
    ]
    assert [verdict.wrong for verdict in verdicts] == [False, True]
    assert verdicts[0].found == pytest.approx(verdicts[0].said, abs=1e-5)


def test_where_there_is_no_energy_nothing_is_said():
    state = state_from_atoms(crystal())
    assert check_stress(state, lambda there: np.nan, torch.zeros(6)) is None


def network(backend: str) -> NetworkPotential:
    model = adapt(None, [29], cells=True, packed=True).model
    linear = model.network.linear.weight
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(linear.shape, generator=generator, dtype=torch.float64)
    return NetworkPotential(
        model.network.with_weights(weights), model.header, device="cpu",
        dtype=torch.float64, backend=backend,
    )  # fmt: skip


def test_a_network_has_its_own_by_differentiation():
    state = state_from_atoms(crystal())
    eager, native = network("eager"), network("native")
    found = potential_virial(eager, state)
    assert eager.virial(state) is not None
    assert native.virial(state) is None
    torch.testing.assert_close(found, differences(eager, state), rtol=0, atol=1e-6)
    torch.testing.assert_close(found, differences(native, state), rtol=0, atol=1e-4)
    assert torch.equal(potential_virial(native, state), differences(native, state, 1e-3))


def test_a_sum_is_that_of_its_parts():
    state = state_from_atoms(crystal())
    some = LennardJones(sigma=2.3, epsilon=0.4, rc=6.0, smooth=True)
    both = SumPotential(CalculatorPotential(EMT()), (CalculatorPotential(some), [0, 2]))
    torch.testing.assert_close(
        potential_virial(both, state), differences(both, state), rtol=0, atol=1e-6
    )
    learned = adapt(CalculatorPotential(EMT()), [29], cells=True, packed=True)
    torch.testing.assert_close(
        potential_virial(learned, state),
        potential_virial(CalculatorPotential(EMT()), state),
        rtol=0,
        atol=1e-9,
    )
