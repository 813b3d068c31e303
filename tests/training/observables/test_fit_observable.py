"""Small networks learn laws that are known; a fit that was stopped goes on exactly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from kstep_integrators.cli import main
from kstep_integrators.observables.observable_file import read_observable
from kstep_training.observables.fit.coupling_fit import CouplingFit
from kstep_training.observables.fit.fit_data import make_fit_data
from kstep_training.observables.fit.fit_observable import fit_observable
from kstep_training.observables.fit.fit_settings import CouplingFitSettings, SpectrumFitSettings
from kstep_training.observables.fit.fit_stages import (
    CouplingFitStage,
    CouplingNetworkSettings,
    SpectrumFitStage,
    SpectrumNetworkSettings,
)
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.observables.samples.spectrum_samples import GridSettings
from kstep_training.observables.samples.split import SplitSettings
from tests.training.fits import Forbidden, assert_same_fit

FIT: dict[str, Any] = {"batch_size": 8, "epochs": 4, "learning_rate": 5e-3, "ema_decay": 0.9}
STAGES: dict[str, CouplingFitStage | SpectrumFitStage] = {
    "couplings": CouplingFitStage(
        "tiny",
        split=SplitSettings(held_out=["H2O+H2O"]),
        network=CouplingNetworkSettings(layers=1, features="4x0e + 1o", lmax=1, radial=6, hidden=8),
        fit=CouplingFitSettings(**FIT, patience=None),
    ),
    "spectra": SpectrumFitStage(
        "tiny",
        grid=GridSettings(spacing=0.2),
        network=SpectrumNetworkSettings(
            layers=1, features="8x0e + 4x1o", lmax=1, radial=6, hidden=16, heads=2
        ),
        fit=SpectrumFitSettings(**FIT, patience=None),
    ),
}


class StopAfterEpochTwo(Callback):
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.should_stop = True


class InterruptWithinEpochThree(Callback):
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 2 and batch_idx == 2:
            raise KeyboardInterrupt


@pytest.fixture(params=sorted(STAGES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def labels(kind: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(kind)
    return folder


def test_resume_is_exact(kind: str, labels: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    fit_observable(STAGES[kind], labels, whole)
    for stop in (StopAfterEpochTwo(), InterruptWithinEpochThree()):
        with pytest.raises(KeyboardInterrupt, match="run again with the same output folder"):
            fit_observable(STAGES[kind], labels, resumed, callbacks=[stop])
    assert not (resumed / "tiny.safetensors").exists()
    path = fit_observable(STAGES[kind], labels, resumed)
    assert_same_fit(resumed, whole)
    before = path.read_bytes()
    assert fit_observable(STAGES[kind], labels, resumed, callbacks=[Forbidden()]) == path
    assert path.read_bytes() == before
    stage = STAGES[kind]
    other = dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, seed=5))  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"holds a fit .*settings\.fit\.seed was 0, now 5"):
        fit_observable(other, labels, resumed)


def test_what_is_written(kind: str, labels: Path, tmp_path: Path) -> None:
    stage = dataclasses.replace(STAGES[kind], twin=True)
    path = fit_observable(stage, labels, tmp_path / "fit")
    network, header, _ = read_observable(path)
    report = json.loads((path.parent / "evaluation.json").read_text())
    record = json.loads(path.with_suffix(".json").read_text())
    data = make_fit_data(stage, read_labels(labels))
    assert header.training["split"] == data.trajectories == record["split"]
    assert header.training["labels_sha256"] == read_labels(labels).digest
    assert header.elements == data.samples["train"].elements
    assert (header.charge, header.multiplicities) == ((0, 0), (1,))
    assert header.errors == {part: its["network"] for part, its in report["parts"].items()}
    assert len(record["curves"]) == 4
    for part, its in report["parts"].items():
        samples = data.samples[part]
        predicted = data.target.predicted(network, samples)
        again = data.target.errors(predicted, samples, data.samples["train"])
        assert again == pytest.approx(its["network"], rel=1e-6)
    if kind == "couplings":
        assert (header.kind, header.method) == ("coupling", "HF/def2-SVP")
        assert (header.cheap_method, header.carrier) == ("GFN2-xTB", "hole")
        assert list(report["parts"]) == ["validation", "test", "held_out"]
        wanted = ["network", "without V0", "V0 alone", "a V0 + b", "ridge"]
        monitored = record["validation"]["val_mae"], report["parts"]["validation"]["network"]["mae"]
    else:
        assert (header.kind, header.method) == ("spectrum", "TDDFT camb3lyp/def2-svp")
        np.testing.assert_allclose(header.grid, data.samples["train"].energies, rtol=0, atol=0)
        wanted = ["network", "scalars only", "mean spectrum", "nearest spectrum"]
        monitored = record["validation"]["val_mse"], report["parts"]["validation"]["network"]["mse"]
    assert monitored[0] == pytest.approx(monitored[1], rel=1e-4)
    assert list(report["parts"]["test"]) == wanted
    assert (path.parent / data.target.picture_name).read_text().startswith("<?xml")


def test_a_network_learns_the_couplings(couplings: Path, tmp_path: Path) -> None:
    stage = CouplingFitStage(
        network=CouplingNetworkSettings(layers=2, lmax=2, radial=8, cutoff=8.0, hidden=16),
        fit=CouplingFitSettings(epochs=30, learning_rate=1e-2, batch_size=8, jitter=0.0),
    )
    path = fit_observable(stage, couplings, tmp_path / "fit")
    test = json.loads((path.parent / "evaluation.json").read_text())["parts"]["test"]
    assert test["network"]["mae"] < 0.1 * test["network"]["spread"]
    assert test["network"]["mae"] < 0.8 * test["ridge"]["mae"]
    assert test["network"]["mae"] < 0.1 * test["V0 alone"]["mae"]


def test_half_precision(kind: str, labels: Path, tmp_path: Path) -> None:
    stage = STAGES[kind]
    half = dataclasses.replace(stage.fit, precision="bf16-mixed")  # type: ignore[type-var]
    path = fit_observable(dataclasses.replace(stage, fit=half), labels, tmp_path / "fit")
    assert torch.isfinite(next(iter(read_observable(path)[0].parameters()))).all()


def test_from_the_command_line(
    kind: str, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["name=mine", "fit.epochs=1", "network.layers=1", "network.radial=4", "fit.seed=3"]
    assert main(["fit", str(labels), *words, "--output", str(tmp_path / "fit")]) == 0
    written = capsys.readouterr().out
    assert f"Model file: {tmp_path / 'fit' / 'mine.safetensors'}" in written.replace("\n", "")
    assert "prediction" in written
    assert main(["fit", str(labels), "fit.epoch=1", "--output", str(tmp_path / "fit")]) == 2
    assert "did you mean 'fit.epochs'" in capsys.readouterr().err


def test_settings_that_are_refused_do_not_claim_the_folder(
    kind: str, labels: Path, tmp_path: Path
) -> None:
    stage = STAGES[kind]
    wrong = dataclasses.replace(stage.network, features="4x1o")
    with pytest.raises(ValueError, match="features are '4x1o', expected irreps"):
        fit_observable(dataclasses.replace(stage, network=wrong), labels, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_one_cycle(couplings: Path) -> None:
    data = make_fit_data(CouplingFitStage(), read_labels(couplings))
    network = data.target.network(data.samples["train"])
    fit = CouplingFit(network, CouplingFitSettings(rise=0.25), total_steps=101, spread=1.0)
    rates = [fit.learning_rate_factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[25] == max(rates) == 1.0
    assert rates[-1] == pytest.approx(1e-6 / 3e-3)
    assert (np.diff(rates[:26]) > 0).all()
    assert (np.diff(rates[25:]) < 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rise": 1.0}, "rise is 1.0, expected 0 < rise < 1"),
        ({"jitter": -0.1}, "jitter is -0.1, expected a number from 0"),
        ({"distance_scale": -1.0}, "distance_scale is -1.0"),
        ({"smallest_meV": 0.0}, "smallest_meV is 0.0"),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CouplingFitSettings(**settings)
