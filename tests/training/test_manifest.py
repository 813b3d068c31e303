"""Settings that a folder of results was made with, also by earlier versions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kstep_training.manifest import differences, open_manifest
from kstep_training.run.settings import RunSettings
from kstep_training.simulate.settings import SimulateSettings

EARLIER_RUN: dict[str, Any] = {
    "calculator": "GFN2-xTB", "xc": None, "basis": "sto-3g", "charge": None, "multiplicity": 1,
    "k": 4, "timestep_fs": 0.5, "corrector": None, "metropolize": False, "extra_chances": 3,
    "thermostat": None, "temperature_K": 300.0, "friction_per_ps": 2.0, "taut_fs": 100.0,
    "equilibration_ps": 2.0, "length_ps": 10.0, "interval_fs": None, "checkpoint_interval": 100,
    "on_error": "fallback", "energy_tolerance": None, "force_tolerance": None, "seed": 0,
    "device": "auto", "compile": False,
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    run: RunSettings


def write(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps({"settings": settings, "molecules": {}}))


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    write(tmp_path, {"run": EARLIER_RUN})
    assert open_manifest(tmp_path, Made(RunSettings(k=4, timestep_fs=0.5)))["molecules"] == {}
    with pytest.raises(ValueError, match=r"other settings: run\.physics was 'GFN2-xTB', now"):
        open_manifest(tmp_path, Made(RunSettings(physics="GFN1-xTB", k=4, timestep_fs=0.5)))
    with pytest.raises(ValueError, match=r"run\.multiplicity was 1, now 3\."):
        open_manifest(tmp_path, Made(RunSettings(multiplicity=3, k=4, timestep_fs=0.5)))


def test_a_setting_that_there_was_not_had_its_default(tmp_path: Path) -> None:
    kept = {"method": "pyscf", "xc": "pbe", "basis": "def2-svp"}
    write(tmp_path, kept)
    settings = {"physics": "pyscf", "xc": "pbe", "basis": "def2-svp"}
    open_manifest(tmp_path, SimulateSettings(**settings))
    with pytest.raises(ValueError, match=r"other settings: dispersion was None, now 'd4'\."):
        open_manifest(tmp_path, SimulateSettings(**settings, dispersion="d4"))


def test_what_is_on_record_and_gone_is_a_difference() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1}) == ["b was 2, now 'not there'"]
    assert differences({"fit": {"epochs": 3}}, {"fit": {"epochs": 4}}, ["fit.epochs"]) == []
