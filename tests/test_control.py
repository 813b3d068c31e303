import pytest
import torch

from kstep_integrators import units
from kstep_integrators.control import Guard
from kstep_integrators.state import Evaluation


def evaluation(energy: float) -> Evaluation:
    return Evaluation(torch.tensor([energy]).double(), torch.zeros(9, 3, dtype=torch.float64))


def test_thermal_motion_passes(state):
    later = state.replace(
        positions=state.positions + 2 * units.FS * state.momenta / state.masses,
        time=torch.tensor([2 * units.FS], dtype=torch.float64),
    )
    assert Guard().check_jump(state, later) is None
    assert Guard().check_energy(state, evaluation(0.0), later, evaluation(0.1)) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 50.0])
def test_absurd_positions_and_momenta(bad, state):
    moved = state.positions.clone()
    moved[4, 0] += bad
    assert "atom moved at" in Guard().check_jump(
        state,
        state.replace(positions=moved, time=torch.tensor([2 * units.FS], dtype=torch.float64)),
    )
    pushed = state.momenta.clone()
    pushed[4, 0] += bad
    assert "atom moved at" in Guard().check_jump(
        state, state.replace(momenta=pushed, time=torch.tensor([2 * units.FS], dtype=torch.float64))
    )


def test_absurd_energies(state):
    guard = Guard(max_energy_change=0.5)
    found = guard.check_energy(state, evaluation(0.0), state, evaluation(-0.6))
    assert "changed by -0.6 eV in one jump (limit 0.5 eV)" in found
    for nothing in (float("nan"), float("inf")):
        found = guard.check_energy(state, evaluation(0.0), state, evaluation(nothing))
        assert "non-finite" in found
    forces = torch.full((9, 3), float("nan"))
    assert "non-finite" in guard.check_energy(
        state, evaluation(0.0), state, Evaluation(torch.zeros(1), forces)
    )
