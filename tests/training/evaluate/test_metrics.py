"""Errors of single jumps, with known answers."""

import dataclasses

import numpy as np
import pytest

from kstep_training.evaluate.metrics import one_jump
from kstep_training.evaluate.structure import coordinates_of
from tests.training.evaluate.harmonic_runs import METHODS, Harmonic

MOLECULE = Harmonic()
IMPULSE = next(m for m in METHODS if m.name == "impulse-4")
TRUTH = [MOLECULE.run(81, 2.0, seed) for seed in range(8)]
REFERENCE = [MOLECULE.run(400, 2.0, seed) for seed in range(8)]
COORDINATES = coordinates_of(REFERENCE[0])


def errors(runs):
    return one_jump(runs, TRUTH, REFERENCE, IMPULSE, COORDINATES)


def test_the_truth_has_no_error_and_rest_has_its_own():
    assert errors(TRUTH) == {"velocities": 0.0, "bonds": 0.0, "angles": 0.0}
    still = [dataclasses.replace(r, momenta=np.zeros_like(r.momenta)) for r in TRUTH]
    # Without motion the error is the thermal velocity, within the few starts there are.
    assert errors(still)["velocities"] == pytest.approx(1.0, abs=0.3)


def test_an_error_is_in_thermal_standard_deviations():
    def longer(r):
        positions = r.positions.copy()
        # The first stride ends at the third frame; nothing else is looked at.
        positions[2] = positions[2] + 1e-3 * (positions[2] - positions[2, :1])
        return dataclasses.replace(r, positions=positions)

    jump = errors([longer(r) for r in TRUTH])
    lengths = [b for b in COORDINATES["bonds"] if 0 in b]
    assert 0 < len(lengths) < len(COORDINATES["bonds"]) + 1
    assert 0.0 < jump["bonds"] < 0.1
    assert jump["velocities"] == 0.0
    assert jump["angles"] < jump["bonds"]


def test_what_cannot_be_told_is_left_out():
    short = [dataclasses.replace(r, time=r.time[:2], positions=r.positions[:2]) for r in TRUTH]
    assert errors(short) is None
    odd = dataclasses.replace(IMPULSE, stride_fs=3.0)
    assert one_jump(TRUTH, TRUTH, REFERENCE, odd, COORDINATES) is None
