"""Sums of potentials: energies, forces and Hessians add up, on all atoms or on some."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential, KStepDynamics, SumPotential, units
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.potentials import Potential
from kstep_integrators.state import Evaluation
from kstep_integrators.testing import CountingCalculator
from tests.conftest import hot, potential

LJ = {"sigma": 0.8, "epsilon": 0.01, "rc": 10.0, "smooth": True}


def lennard_jones():
    return CalculatorPotential(LennardJones(**LJ))


def solvated():
    """Ethanol, and two argon atoms beside it."""
    molecule = hot(temperature=300.0)
    there = molecule.positions.mean(0) + np.array([[4, 0, 0], [0, 4.5, 0]])
    atoms = molecule + Atoms("Ar2", there)
    atoms.set_momenta(np.concatenate([molecule.get_momenta(), [[0.5, 0, 0], [0, -0.5, 0]]]))
    return atoms


def state_of(atoms, replicas=1):
    n = len(atoms)
    x = torch.from_numpy(atoms.positions)
    return make_state(
        torch.from_numpy(atoms.numbers).repeat(replicas),
        torch.from_numpy(atoms.get_masses()).repeat(replicas),
        torch.cat([(1.0 + 0.01 * i) * x for i in range(replicas)]),
        torch.from_numpy(atoms.get_momenta()).repeat(replicas, 1),
        torch.arange(replicas).repeat_interleave(n),
    )


def test_energies_and_forces_add_up():
    atoms = solvated()
    total = SumPotential((potential(), range(9)), lennard_jones())
    assert isinstance(total, Potential)
    assert total.timestep == min(potential().timestep, lennard_jones().timestep)
    assert SumPotential(lennard_jones(), timestep=0.3).timestep == 0.3
    found, carry = total.bind(state := state_of(atoms))(state.positions, None)
    alone = state_of(atoms[:9])
    network = potential().bind(alone)(alone.positions, None)[0]
    rest = lennard_jones().bind(state)(state.positions, None)[0]
    assert float(found.energy) == pytest.approx(float(network.energy + rest.energy), abs=1e-12)
    expected = rest.forces.clone()
    expected[:9] += network.forces
    assert torch.allclose(found.forces, expected, atol=1e-12, rtol=0)
    again, _ = total.bind(state)(state.positions, carry)
    assert torch.equal(again.forces, found.forces)


def test_molecules_of_an_ensemble():
    """Atoms are counted within each molecule, in any order."""
    order = [3, 1, 2, 0, 4, 8, 6, 7, 5]
    total = SumPotential((potential(), order), lennard_jones())
    both = state_of(solvated(), replicas=2)
    together = total.bind(both)(both.positions, None)[0]
    for i in range(2):
        mine = both.batch == i
        one = state_of(solvated())
        alone = total.bind(one)(both.positions[mine], None)[0]
        assert float(together.energy[i]) == pytest.approx(float(alone.energy), abs=1e-10)
        assert torch.allclose(together.forces[mine], alone.forces, atol=1e-10, rtol=0)


def test_hessians_add_up():
    atoms = solvated()
    total = SumPotential((potential(), range(9)), lennard_jones())
    bound = total.bind(state := state_of(atoms))
    vectors = torch.randn(2, 11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = bound.linearized(state.positions)(vectors)
    for vector, product in zip(vectors, found, strict=True):
        ends = [
            bound(state.positions + s * 1e-4 * vector, None)[0].require_forces() for s in (1, -1)
        ]
        assert torch.allclose(product, (ends[1] - ends[0]) / 2e-4, atol=1e-2, rtol=1e-3)


def test_flow_is_reversible():
    jump = FlowJump(SumPotential((potential(), range(9)), lennard_jones()), 0.25 * units.FS)
    state = state_of(solvated())
    bound = jump.bind(state)
    nothing = Evaluation(torch.zeros(1, dtype=torch.float64), None)
    there, info = bound(state, nothing, None, 20)
    back, _ = bound(there.replace(momenta=-there.momenta), nothing, info.end, 20)
    assert (back.positions - state.positions).abs().max() < 1e-11
    assert (there.positions - state.positions).abs().max() > 1e-2


class Summed(LennardJones):
    """The sum with another network for the solute as an ASE calculator."""

    def __init__(self, seed):
        super().__init__(**LJ)
        whole = SumPotential((potential(seed=seed), range(9)), lennard_jones())
        self.bound = whole.bind(state_of(solvated()))

    def calculate(self, atoms=None, properties=None, system_changes=None):
        found = self.bound(torch.from_numpy(atoms.positions.copy()), None)[0]
        energy = float(found.energy)
        self.results = {"energy": energy, "free_energy": energy, "forces": found.forces.numpy()}


def test_what_cancels_is_not_corrected():
    """Physics of the same force field and another solute: impulses act on the solute alone."""
    atoms = solvated()
    atoms.calc = CountingCalculator(Summed(seed=1))
    inner = SumPotential((potential(), range(9)), lennard_jones())
    dynamics = KStepDynamics(atoms, inner, k=2, timestep=0.25 * units.FS)
    dynamics.run(1)
    assert atoms.calc.evaluations == 2
    x = torch.from_numpy(atoms.positions[:9])
    networks = [potential(seed=s).bind(state_of(atoms[:9]))(x, None)[0].forces for s in (0, 1)]
    squares = float((networks[0] - networks[1]).square().sum())
    assert dynamics.stats.residual_rms == pytest.approx(np.sqrt(squares / 33), rel=1e-9)


def test_strides_of_a_perfect_sum_are_verlet_at_the_base_step():
    ends = []
    for k in (1, 8):
        atoms = solvated()
        atoms.calc = Summed(seed=0)
        inner = SumPotential((potential(), range(9)), lennard_jones())
        KStepDynamics(atoms, inner, k=k, timestep=0.25 * units.FS).run(16 // k)
        ends.append(atoms.positions)
    assert np.abs(ends[0] - ends[1]).max() < 1e-11


def test_description_and_device():
    total = SumPotential((potential(), (0, 2)), lennard_jones())
    described = total.describe()["sum"]
    assert described[0]["atoms"] == [0, 2]
    assert described[0]["model"] == potential().header.name
    assert described[1]["atoms"] is None
    assert total.to("cpu").describe() == total.describe()
    assert total.device == torch.device("cpu")


@pytest.mark.parametrize("atoms", [(), (-1, 2), (1, 1)])
def test_atoms_refused(atoms):
    with pytest.raises(ValueError, match="at least one index"):
        SumPotential((potential(), atoms))


def test_sums_refused():
    with pytest.raises(ValueError, match="has no parts"):
        SumPotential()
    with pytest.raises(ValueError, match=r"has atom 11, but a molecule .* 11 atoms"):
        SumPotential((potential(), (0, 11))).bind(state_of(solvated()))
    with pytest.raises(ValueError, match="does not cover the elements"):
        SumPotential(potential()).bind(state_of(solvated()))
