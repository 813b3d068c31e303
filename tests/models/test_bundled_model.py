"""The model that users get: what it promises about itself, checked against real GFN2."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms, units

from kstep_integrators import FlowJump, KStepDynamics, load_model, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.state import Evaluation
from kstep_integrators.testing import CountingCalculator, assert_jump
from tests.conftest import hot

FS = units.fs


@pytest.fixture(scope="module")
def model():
    return load_model("organic-gfn2", device="cpu", dtype=torch.float64)


@pytest.mark.parametrize("k", [8, 200])
def test_the_contract_of_a_jump(k, model, state):
    nothing = Evaluation(torch.zeros(1).double(), torch.zeros_like(state.positions))
    assert_jump(FlowJump(model, 0.5 * FS), state, nothing, k=k)


@pytest.mark.parametrize(
    "pair", list(itertools.combinations_with_replacement(["H", "C", "N", "O"], 2))
)
def test_no_close_contact_is_attractive(pair, model):
    from ase.data import atomic_numbers, covalent_radii

    bond = sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
    for distance in np.linspace(0.1, 0.55 * bond, 12):
        atoms = Atoms("".join(pair), positions=[[0, 0, 0], [distance, 0, 0]])
        state = state_from_atoms(atoms)
        found, _ = model.bind(state)(state.positions, None)
        assert float(found.require_forces()[1, 0]) > 0, distance


def test_two_molecules_pushed_together_are_pushed_apart(model):
    # the closest atoms of two methanes, 0.5 A apart and closer
    for gap in (0.5, 0.3, 0.1):
        left, right = named_molecule("methane"), named_molecule("methane")
        left.positions -= left.positions[0]
        right.positions -= right.positions[0]
        out = left.positions[1] / np.linalg.norm(left.positions[1])
        right.positions = -right.positions
        right.positions += left.positions[1] - right.positions[1] + gap * out
        state = state_from_atoms(left + right)
        found, _ = model.bind(state)(state.positions, None)
        assert float(found.require_forces()[6] @ torch.from_numpy(out)) > 0


@pytest.mark.parametrize("name", ["ethanol", "benzene", "malonaldehyde", "glycine"])
def test_residual_at_a_thermal_geometry(name, model):
    atoms = hot(name)
    atoms.calc = xtb_calculator("GFN2-xTB")
    state = state_from_atoms(atoms)
    found, _ = model.bind(state)(state.positions, None)
    residual = found.require_forces().numpy() - atoms.get_forces()
    assert np.sqrt(np.mean(residual**2)) < 0.1
    # the absolute energy too, so that a change of the shifts cannot go unnoticed
    assert abs(float(found.energy) - atoms.get_potential_energy()) < 0.05 * len(atoms)


@pytest.mark.slow
def test_the_plain_call():
    """Two hundred jumps of 2 fs as a newcomer would make them: energy is conserved."""
    atoms = hot("ethanol")
    atoms.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(atoms, "organic-gfn2")
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(200)
    assert atoms.calc.evaluations == 201
    assert dynamics.stats.fallbacks == 0
    assert dynamics.stats.residual_rms < 0.06
    # Verlet at 1 fs fluctuates by 0.3 meV/atom here
    assert np.std(energies) / len(atoms) < 0.3e-3
