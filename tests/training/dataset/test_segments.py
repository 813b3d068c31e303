"""Which frames and which stretches of a trajectory are used."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kstep_integrators import units
from kstep_training.dataset.segments import Frames, labelled_frames
from kstep_training.trajectory import Trajectory
from tests.training.trajectories import dynamics

PATH = Path("water.npz")


def frames(trajectory: Trajectory, **changes: Any) -> Frames:
    return labelled_frames(dataclasses.replace(trajectory, **changes), PATH)


def with_metadata(trajectory: Trajectory, **metadata: Any) -> Frames:
    return frames(trajectory, metadata={**trajectory.metadata, **metadata})


@pytest.fixture(scope="module")
def water() -> Trajectory:
    return dynamics("H2O", 10)


def test_centred_and_momentum_free(water: Trajectory) -> None:
    result = labelled_frames(water, PATH)
    assert result.segments == [(0, 10)]
    assert result.timestep_fs == 0.5
    assert result.thermal
    x, v = result.rows["positions"], result.rows["velocities"]
    for stored, original in ((x, water.positions), (v, water.velocities)):
        shifted = np.einsum("fac,a->fc", stored, water.masses)
        np.testing.assert_allclose(shifted, 0.0, atol=1e-12)
        moved = original - stored
        np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-12)
        assert np.abs(moved).max() > 1e-3  # there was something to take out
    np.testing.assert_array_equal(result.rows["forces"], water.forces)
    np.testing.assert_array_equal(result.rows["energy"], water.energies)


@pytest.mark.parametrize(
    ("unlabelled", "segments"),
    [
        ([4], [(0, 4), (4, 9)]),
        ([0], [(0, 9)]),
        ([9], [(0, 9)]),
        ([1, 2], [(1, 8)]),  # frame 0 alone is no segment
        ([2, 5], [(0, 2), (2, 4), (4, 8)]),
        (range(1, 10), []),
    ],
)
def test_frames_without_forces_end_a_segment(
    water: Trajectory, unlabelled: list[int], segments: list[tuple[int, int]]
) -> None:
    label = np.ones(10, dtype=bool)
    label[list(unlabelled)] = False
    result = frames(water, has_label=label)
    assert len(result.rows) == label.sum()
    assert result.segments == segments
    np.testing.assert_array_equal(result.rows["energy"], water.energies[label])


def test_no_labels_at_all(water: Trajectory) -> None:
    result = frames(water, has_label=np.zeros(10, dtype=bool))
    assert (len(result.rows), result.segments, result.timestep_fs) == (0, [], None)


@pytest.mark.parametrize(
    ("gaps", "segments"),
    [
        ({}, [(0, 10)]),
        ({4: 0.5}, [(0, 5), (5, 10)]),  # a missing frame between 4 and 5
        ({8: -0.25}, [(0, 9)]),  # a last interval that is half as long
        ({0: 0.01, 5: -4.0}, [(1, 6), (6, 10)]),
    ],
)
def test_gaps_in_time_end_a_segment(
    water: Trajectory, gaps: dict[int, float], segments: list[tuple[int, int]]
) -> None:
    steps = np.full(9, 0.5)
    for place, extra in gaps.items():
        steps[place] += extra
    time = np.concatenate([[0.0], np.cumsum(steps)]) * units.FS
    assert frames(water, time=time).segments == segments


def test_the_spacing_is_time_step_times_interval(water: Trajectory) -> None:
    assert with_metadata(water, timestep_fs=0.25, interval_steps=2).segments == [(0, 10)]
    with pytest.raises(ValueError, match=r"0.5 fs apart by its time, but 0.25 fs by timestep_fs"):
        with_metadata(water, timestep_fs=0.25, interval_steps=1)
    nested = {"production": "nve", "interval_steps": 2}
    without = {k: v for k, v in water.metadata.items() if k != "interval_steps"}
    old = {**without, "timestep_fs": 0.25, "settings": nested}
    assert frames(water, metadata=old).timestep_fs == 0.5
    # Other tools may say neither: then most of the frames decide.
    bare = {"method": "springs", "stage": "production"}
    assert frames(water, metadata=bare).timestep_fs == 0.5


@pytest.mark.parametrize(
    "metadata",
    [
        {"settings": {"production": "langevin"}},
        {"stage": "equilibration"},
        {"stage": "distorted"},
        {"stage": None},
    ],
)
def test_no_windows_but_of_nve(water: Trajectory, metadata: dict[str, Any]) -> None:
    result = with_metadata(water, **metadata)
    assert (result.segments, result.timestep_fs, len(result.rows)) == ([], None, 10)
    assert result.thermal == (metadata.get("stage") != "distorted")


def test_nve_without_a_word_about_production(water: Trajectory) -> None:
    assert with_metadata(water, settings={"segments": 3}).segments == [(0, 10)]


@pytest.mark.parametrize("name", ["positions", "velocities", "forces", "energies"])
def test_frames_that_are_not_finite_are_refused(water: Trajectory, name: str) -> None:
    array = getattr(water, name).copy()
    array[3] = np.nan
    message = "energy" if name == "energies" else name
    with pytest.raises(ValueError, match=rf"water.npz has labelled frames whose {message} is not"):
        frames(water, **{name: array})
    label = np.arange(10) != 3
    assert len(frames(water, has_label=label, **{name: array}).rows) == 9
