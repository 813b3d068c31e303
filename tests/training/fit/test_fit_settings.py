"""Settings of a fit, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.options import as_overrides, override


def test_words_make_a_stage() -> None:
    overrides = ["name=mine", "network.kind=direct", "network.k=[4,8]", "fit.patience=3"]
    network = NetworkSettings(kind="direct", k=[4, 8])
    assert override(FitStage, overrides) == FitStage("mine", network, FitSettings(patience=3))


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [("fit.epoch", "fit.epochs"), ("network.chanels", "network.channels"), ("nmae", "name")],
)
def test_a_mistyped_key_names_the_nearest(mistyped: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '{mistyped}'; did you mean '{meant}'"):
        override(FitStage, [f"{mistyped}=1"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "both"}, "kind is 'both', expected one of flow, direct"),
        ({"baseline": "none"}, "baseline is 'none', expected one of verlet, plain"),
        ({"channels": 0}, "channels is 0, expected at least 1"),
        ({"bound": 0.0}, "bound is 0.0, expected a positive number"),
        ({"cutoff": float("nan")}, "cutoff is nan, expected a positive number"),
    ],
)
def test_networks_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "64"}, "precision is '64', expected one of 32, bf16-mixed, 16-mixed"),
        ({"augmentation": "atom"}, "augmentation is 'atom', expected one of none, batch, graph"),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
        ({"patience": 0}, "patience is 0, expected at least 1"),
        ({"loader_workers": -1}, "loader_workers is -1, expected at least 0"),
        ({"structure_weight": -1.0}, "structure_weight is -1.0, expected a number from 0"),
        ({"increment_delta": 0.0}, "increment_delta is 0.0, expected a positive number"),
        ({"final_learning_rate": 1.0}, "final_learning_rate is 1.0, expected 0 to learning_rate"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0, expected 0 <= ema_decay < 1"),
        ({"freeze_layers": 1}, "freeze_layers is 1, but there is no init_from"),
    ],
)
def test_fits_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16-mixed"}, "derivatives of its energy"),
        (
            {"structure_weight": 1.0},
            "fit.structure_weight is 1.0, which is for network.kind=direct",
        ),
        ({"penalty_weight": 2.0}, "fit.penalty_weight is 2.0, which is for"),
    ],
)
def test_what_a_flow_does_not_take(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitStage(fit=FitSettings(**settings))
    FitStage(network=NetworkSettings(kind="direct"), fit=FitSettings(**settings))


def test_settings_as_overrides_and_back() -> None:
    settings = FitSettings(init_from="a b", padding=[3, 5], patience=None, compile=False, epochs=7)
    overrides = as_overrides(settings)
    assert overrides == ["epochs=7", 'init_from="a b"', "padding=[3, 5]", "compile=false"]
    assert override(FitSettings, overrides) == settings
    assert as_overrides(FitSettings()) == []
