"""Fits of tiny networks that tests share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings

ELEMENTS = [1, 6, 7, 8]
PADDING = [4, 6]
FIT = FitSettings(
    batch_size=8,
    epochs=4,
    learning_rate=1e-2,
    warmup_steps=5,
    ema_decay=0.9,
    padding=PADDING,
    compile=False,
)
SIZES: dict[str, Any] = {"channels": 8, "layers": 1, "radial": 8}
STAGES = {
    "flow": FitStage("tiny", NetworkSettings(**SIZES), FIT),
    "direct": FitStage(
        "tiny",
        NetworkSettings(kind="direct", **SIZES),
        dataclasses.replace(FIT, augmentation="graph", accumulate=2),
    ),
}
KINDS = sorted(STAGES)


def changed(kind: str, **settings: Any) -> FitStage:
    """The tiny stage with other settings of the fit."""
    stage = STAGES[kind]
    return dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, **settings))


def checkpoint(output: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(output / "last.ckpt", weights_only=True)
    return state


def assert_identical(a: Any, b: Any) -> None:
    """Nested containers of tensors and numbers, bit for bit."""
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_identical(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    else:
        assert a == b


def assert_same_fit(resumed: Path, whole: Path) -> None:
    """Model files and the states of the optimizations."""
    assert (resumed / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()
    a, b = checkpoint(resumed), checkpoint(whole)
    for key in (
        "state_dict",  # the average
        "current_model_state",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
        "global_step",
        "epoch",
        "validation",
    ):
        assert_identical(a[key], b[key])
    average, current = b["state_dict"], b["current_model_state"]
    assert any(not torch.equal(average[name], current[name]) for name in average)


class Forbidden(Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        pytest.fail("trained again")
