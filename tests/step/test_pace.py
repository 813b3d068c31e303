"""How the stride of a learning run grows and shrinks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kstep_integrators import units
from kstep_integrators.state import PhaseState
from kstep_integrators.step.energy_watch import WATCHED
from kstep_integrators.step.info import StepInfo
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.pace import (
    KICK,
    LANDINGS,
    TOO_MUCH,
    Pace,
    begin_pace,
    next_pace,
    trouble_of,
)
from kstep_integrators.units import MEV, PS

FS = units.FS


@pytest.mark.parametrize(
    ("k", "timestep", "levels"),
    [
        (8, 0.25, (4, 8)),
        (16, 0.25, (4, 8, 16)),
        (16, 0.5, (2, 4, 8, 16)),
        (12, 0.5, (2, 3, 6, 12)),
        (7, 0.5, (2, 4, 7)),
        (1, 4.0, (1,)),
        (2, 4.0, (1, 2)),
        (4, 0.25, (4,)),
    ],
)
def test_levels_double_from_a_femtosecond_to_k(k, timestep, levels):
    pace = begin_pace(k, timestep * FS)
    assert pace.levels == levels
    assert pace.k == levels[0]
    assert begin_pace(k, timestep * FS, grow=False).levels == (k,)


def after(pace, *troubles, step=1):
    for trouble in troubles:
        pace = next_pace(pace, trouble, step)
    return pace


def test_it_grows_after_four_good_landings():
    pace = begin_pace(16, 0.25 * FS)
    good = [0.1] * (LANDINGS - 1)
    assert after(pace, *good).k == 4
    grown = after(pace, *good, 0.1, step=9)
    assert (grown.k, grown.recent, grown.step) == (8, (), 9)
    assert after(grown, *good).k == 8
    assert after(grown, *good, 0.1).k == 16
    assert after(grown, *[0.1] * 20).k == 16  # and no farther


def test_a_doubled_stride_has_four_times_the_kick():
    pace = begin_pace(16, 0.25 * FS)
    assert after(pace, *[0.24] * LANDINGS).k == 8
    assert after(pace, *[0.26] * 40).k == 4
    assert after(pace, *[0.26] * LANDINGS, *[0.1] * LANDINGS).k == 8  # what is past is forgotten


def test_it_shrinks_at_once_and_not_below_the_first():
    pace = Pace((4, 8, 16), 2)
    assert after(pace, 0.9, 0.9, 0.9).k == 16
    shrunk = after(pace, 0.1, 2.0 * TOO_MUCH, step=5)
    assert (shrunk.k, shrunk.recent, shrunk.step) == (8, (), 5)
    assert after(pace, 0.1, 1.5 * TOO_MUCH).k == 16  # one landing of two
    assert after(pace, 3.0, 3.0, 3.0, 3.0).k == 4
    lowest = after(Pace((4, 8, 16), 0), 3.0, 3.0, step=5)
    assert (lowest.k, lowest.step) == (4, 0)


def test_an_undone_jump_counts_as_the_worst():
    assert after(Pace((4, 8), 1), 0.0, 0.0, math.inf).k == 4
    assert len(after(Pace((4, 8), 0), *[math.inf] * 9).recent) <= LANDINGS
    assert after(Pace((4, 8), 0), math.inf, *[0.0] * LANDINGS).k == 8


def test_what_is_not_known_changes_nothing():
    pace = begin_pace(8, 0.25 * FS)
    assert next_pace(pace, None, 1) == pace
    fixed = begin_pace(8, 0.25 * FS, grow=False)
    assert next_pace(fixed, 100.0, 1) is fixed


# Trouble


def test_kicks_count_by_the_kinetic_energy_that_they_would_give(state: PhaseState):
    residual = torch.zeros_like(state.positions)
    residual[3, 0], stride = 0.2, 2.0 * FS
    trouble = trouble_of(StepInfo(), state, stride, residual, None)
    mass = float(state.masses.flatten()[3])
    assert trouble == pytest.approx((0.2 * stride) ** 2 / (2.0 * mass) / 9 / KICK)
    double = trouble_of(StepInfo(), state, 2.0 * stride, residual, None)
    assert double == pytest.approx(4.0 * trouble)
    fixed = state.replace(mobile=(torch.arange(9) != 3)[:, None])
    assert trouble_of(StepInfo(), fixed, stride, residual, None) == 0.0


def test_without_kicks_the_error_of_the_energy_counts(state: PhaseState):
    info = StepInfo(
        residual=torch.ones_like(state.positions), energy_error=torch.tensor([-0.009]).double()
    )
    trouble = trouble_of(info, state, 2.0 * FS, None, None)
    assert trouble == pytest.approx(0.009 / 9 / 2e-3)
    assert trouble_of(StepInfo(), state, 2.0 * FS, None, None) is None


def test_under_metropolis_rises_of_the_total_energy_count(state: PhaseState):
    kt = units.KB * 300.0
    changes = torch.tensor([-5.0, 1.0, 3.0], dtype=torch.float64) * kt
    verdict = Verdict(torch.ones(3), changes, 1)
    assert trouble_of(StepInfo(verdict=verdict), state, 1.0, None, 300.0) == pytest.approx(2 / 3)
    failed = Verdict(torch.zeros(1), torch.tensor([math.inf]), 1)
    assert trouble_of(StepInfo(verdict=failed), state, 1.0, None, 300.0) == math.inf
    assert trouble_of(StepInfo(), state, 1.0, None, 300.0) is None


def test_undone_jumps_and_fallbacks(state: PhaseState):
    quiet = torch.zeros_like(state.positions)
    for info in (
        StepInfo(residual=quiet, fallbacks={0: "too far"}),
        StepInfo(residual=quiet, undone=torch.tensor([True])),
    ):
        assert trouble_of(info, state, 1.0, quiet, None) == math.inf


# Drift of the energy


def watched(pace, energies, trouble=0.3):
    for step, energy in enumerate(energies):
        pace = next_pace(pace, trouble, step, energy, 0.5 * FS)
    return pace


def test_a_stride_whose_energy_drifts_is_halved():
    pace = Pace((2, 4, 8), 2)
    rise = 4.0 * MEV / PS * 4.0 * FS * np.arange(120)  # 4 meV/atom/ps
    noise = 1e-5 * np.random.default_rng(0).normal(size=120)
    assert watched(pace, noise).k == 8
    for sign in (1.0, -1.0):
        shrunk = watched(pace, sign * rise[:64] + noise[:64])
        assert (shrunk.k, shrunk.recent, shrunk.energies, shrunk.step) == (4, (), (), 63)
        assert shrunk.allowed == pytest.approx(0.3 / 4)
    assert watched(pace, rise[:63] + noise[:63]).k == 8  # not told yet
    assert watched(pace, 0.5 * rise[:64] + noise[:64]).k == 8  # it may yet come back
    assert watched(pace, 0.5 * rise + noise).k == 4
    assert watched(pace, np.minimum(rise, rise[30]) + noise).k == 8  # it is over
    assert watched(pace, rise[:64] + 1e3 * noise[:64]).k == 8  # within what it fluctuates by
    assert watched(Pace((2, 4, 8), 0), rise + noise, 0.3).k == 2


def test_what_is_not_conserved_is_not_watched():
    pace = watched(Pace((2, 4, 8), 2), [0.0, 0.1])
    assert len(pace.energies) == 2
    assert next_pace(pace, 0.3, 3).energies == ()


def test_it_comes_back_with_half_the_error_or_after_long_peace():
    pace = Pace((4, 8), 0, allowed=0.4)
    assert after(pace, *[0.12] * LANDINGS).k == 4
    assert after(pace, *[0.09] * LANDINGS).k == 8
    quiet = watched(pace, np.zeros(WATCHED), 0.12)
    assert (quiet.k, quiet.allowed) == (8, 0.8)
    assert watched(pace, np.zeros(WATCHED - 1), 0.12).k == 4
