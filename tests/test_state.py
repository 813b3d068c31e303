import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixCom, FixedPlane

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import Evaluation, kinetic_energy, velocities


def test_round_trip_with_ase(ethanol):
    state = state_from_atoms(ethanol)
    np.testing.assert_array_equal(state.positions.numpy(), ethanol.positions)
    np.testing.assert_allclose(velocities(state).numpy(), ethanol.get_velocities(), rtol=1e-15)
    assert float(kinetic_energy(state)) == pytest.approx(ethanol.get_kinetic_energy(), rel=1e-14)


def test_kinetic_energy_of_each_molecule():
    numbers = torch.tensor([1, 1, 8])
    momenta = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]])
    state = make_state(
        numbers, torch.tensor([1.0, 1.0, 16.0]), torch.zeros(3, 3), momenta,
        batch=torch.tensor([0, 0, 1]),
    )  # fmt: skip
    # (1 + 4) / 2 and 9 / 32
    torch.testing.assert_close(kinetic_energy(state), torch.tensor([2.5, 0.28125]).double())


def test_bad_values_are_named(ethanol):
    ethanol.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"positions of atoms \[3\] are not finite"):
        state_from_atoms(ethanol)
    numbers, x = torch.tensor([1, 1]), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"momenta has shape \(1, 3\), expected \(2, 3\)"):
        make_state(numbers, torch.ones(2), x, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"masses of atoms \[1\] are not positive"):
        make_state(numbers, torch.tensor([1.0, 0.0]), x, x)


def test_constraints(ethanol):
    ethanol.set_constraint(FixAtoms([0, 4]))
    state = state_from_atoms(ethanol)
    projected = constrain(state, torch.ones(9, 3, dtype=torch.float64))
    assert projected[[0, 4]].abs().max() == 0
    assert projected.sum() == 21

    ethanol.set_constraint(FixCom())
    state = state_from_atoms(ethanol)
    random = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert constrain(state, random).sum(0).abs().max() < 1e-12

    ethanol.set_constraint(FixedPlane(0, (0, 0, 1)))
    with pytest.raises(ValueError, match="cannot keep the constraint FixedPlane; it keeps FixAtom"):
        state_from_atoms(ethanol)
    ethanol.set_constraint([FixCom(), FixAtoms([0])])
    with pytest.raises(ValueError, match="FixAtoms and FixCom together"):
        state_from_atoms(ethanol)


def test_an_energy_only_evaluation_has_no_forces():
    with pytest.raises(ValueError, match="energy only"):
        Evaluation(torch.zeros(1), None).require_forces()
