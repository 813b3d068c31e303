"""Runs of several molecules: which there are, what is kept, and that they can be labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kstep_training.observables.dynamics.structure_dynamics import (
    StructureSettings,
    structure_dynamics,
)
from kstep_training.observables.labels.parts import cut_trajectories
from kstep_training.observables.labels.settings import LabelSettings

SHORT = StructureSettings(
    ["methanol", "C=O"], trajectories=2, length_ps=0.032, interval_fs=16.0, equilibration_ps=0.016
)


def test_each_molecule_has_runs_of_its_own_that_are_kept(tmp_path: Path) -> None:
    total, runs = structure_dynamics(SHORT, tmp_path)
    made = dict(runs)
    assert total == 4
    assert sorted(made) == ["0.methanol.0", "0.methanol.1", "1.C_O.0", "1.C_O.1"]
    paths = [path for _, path in sorted(made.items()) if isinstance(path, Path)]
    parts = cut_trajectories(paths, LabelSettings())
    assert [part.trajectory for part in parts] == sorted(made)
    assert {part.frames[0].get_chemical_formula() for part in parts} == {"CH4O", "CH2O"}
    assert parts[0].digest != parts[1].digest
    assert parts[0].time_fs[-1] - parts[0].time_fs[0] == pytest.approx(32.0, abs=1e-6)
    stamp = paths[0].stat().st_mtime_ns
    assert dict(structure_dynamics(SHORT, tmp_path)[1]) == made
    assert paths[0].stat().st_mtime_ns == stamp


def test_a_run_that_cannot_be_made_is_a_result(tmp_path: Path) -> None:
    settings = StructureSettings(["methanol"], model="no-such-model", trajectories=1)
    ((name, problem),) = structure_dynamics(settings, tmp_path)[1]
    assert name == "0.methanol.0"
    assert "no-such-model" in str(problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"molecules": []}, r"molecules are \[\], expected one at least"),
        ({"trajectories": 0}, "trajectories is 0, expected at least 1"),
        ({"temperature_K": 0.0}, r"temperature_K is 0\.0, expected a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StructureSettings(**changes)
