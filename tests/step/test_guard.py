"""Guard and tolerances: what is noticed, of which molecule, and in which words."""

import pytest
import torch

from kstep_integrators import units
from kstep_integrators.state import Evaluation
from kstep_integrators.step.guard import Control, Guard

STRIDE = torch.tensor([2 * units.FS], dtype=torch.float64)


def evaluation(energy: float) -> Evaluation:
    return Evaluation(torch.tensor([energy]).double(), torch.zeros(9, 3, dtype=torch.float64))


def twice(state):
    """The same molecule two times over."""
    double = {
        name: torch.cat([getattr(state, name)] * 2)
        for name in ("numbers", "masses", "positions", "momenta", "time")
    }
    return state.replace(**double, batch=torch.cat([state.batch, state.batch + 1]))


def test_thermal_motion_passes(state):
    later = state.replace(
        positions=state.positions + 2 * units.FS * state.momenta / state.masses, time=STRIDE
    )
    assert Guard().check_jump(state, later) == {}
    assert Guard().check_energy(state, evaluation(0.0), later, evaluation(0.1)) == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 50.0])
def test_absurd_positions_and_momenta_of_one_molecule(bad, state):
    state = twice(state)
    later = state.replace(time=STRIDE.repeat(2))
    for name in ("positions", "momenta"):
        moved = getattr(state, name).clone()
        moved[13, 0] += bad
        found = Guard().check_jump(state, later.replace(**{name: moved}))
        assert list(found) == [1]
        assert "an atom moved at" in found[1]
        assert "(limit 1 A/fs)" in found[1]


def test_absurd_energies(state):
    guard = Guard(max_energy_change=0.5)
    found = guard.check_energy(state, evaluation(0.0), state, evaluation(-0.6))
    assert "changed by -0.6 eV in one jump (limit 0.5 eV)" in found[0]
    for nothing in (float("nan"), float("inf")):
        assert list(guard.check_energy(state, evaluation(0.0), state, evaluation(nothing))) == [0]
    state, double = twice(state), torch.zeros(2, dtype=torch.float64)
    later = torch.tensor([0.1, 0.6], dtype=torch.float64)
    found = guard.check_energy(state, Evaluation(double, None), state, Evaluation(later, None))
    assert list(found) == [1]


def test_larger_molecules_may_change_more(state):
    guard = Guard(max_energy_change=0.5)
    big = twice(state).replace(batch=torch.zeros(18, dtype=torch.int64), time=STRIDE)
    assert guard.check_energy(big, evaluation(0.0), big, evaluation(0.8)) == {}
    assert guard.check_energy(big, evaluation(0.0), big, evaluation(0.95)) != {}


def test_tolerances_name_the_molecule_and_the_worst_atom(state):
    batch = twice(state).batch
    residual = torch.zeros(18, 3, dtype=torch.float64)
    residual[3] = torch.tensor([0.3, 0.0, 0.4])
    residual[4] = torch.tensor([0.3, 0.0, 0.0])
    errors = torch.tensor([0.001, -0.02], dtype=torch.float64)
    found = Control(force_tolerance=0.4, energy_tolerance=0.01).check(batch, errors, residual)
    assert found == {
        0: "the residual force on an atom is 0.5 eV/A (force_tolerance 0.4 eV/A)",
        1: "the predicted change of energy is off by 0.02 eV (energy_tolerance 0.01 eV)",
    }
    assert Control(force_tolerance=0.6, energy_tolerance=0.03).check(batch, errors, residual) == {}
    assert Control().check(batch, errors, residual) == {}
    # A jump without a potential predicts nothing.
    assert Control(force_tolerance=0.1, energy_tolerance=0.1).check(batch, None, None) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_error": "ignore"}, "unknown on_error 'ignore'; choose one of"),
        ({"energy_tolerance": 0.0}, "energy_tolerance is 0.0, expected a number of eV above 0"),
        ({"force_tolerance": float("nan")}, "force_tolerance is nan, expected a number of eV/"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Control(**arguments)
