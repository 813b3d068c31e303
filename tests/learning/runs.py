"""Runs that learn fast: springs as physics, softer ones as the base, and a small backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from kstep_integrators import KStepDynamics, Learning
from kstep_integrators.learning import adapted, shown_backbone
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.testing import CountingCalculator, MorseNetwork
from tests.conftest import REFERENCE, cheap, hot, network, physics

FS = units.fs
LANGEVIN = {"temperature_K": 300, "friction": 0.02 / FS}
DEPTH = 1.6
"""Of the base; the physics has 2."""


class Unsteady(MorseNetwork):
    """The physics, with an error in place of one call."""

    def __init__(self, when: int, error: BaseException) -> None:
        super().__init__(REFERENCE)
        # Under other names than the arguments, by which a physics is known.
        self._calls, self._at, self._cause = 0, when, error

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        self._calls += 1
        if self._calls == self._at:
            raise self._cause
        super().calculate(*arguments, **keywords)


def make_small(monkeypatch: Any) -> None:
    """Few functions, so that what is learned of a label takes milliseconds."""
    for module in (adapted, shown_backbone):
        monkeypatch.setattr(module, "FUNCTIONS", 32)


def backbone(folder: Path) -> Path:
    """A file with a small untrained backbone."""
    path = folder / "backbone.safetensors"
    if not path.exists():
        write_model(path, network(), ModelHeader("small", {}, "nothing"))
    return path


def learning(folder: Path, **settings: Any) -> Learning:
    """Settings with this backbone, and without refits."""
    return Learning(**{"backbone": backbone(folder), "refit": False, **settings})


def start(calculator: Any = None, seed: int = 0) -> Atoms:
    """Ethanol at 300 K with the physics."""
    atoms = hot(seed=seed)
    atoms.calc = CountingCalculator(physics()) if calculator is None else calculator
    return atoms


def begin(folder: Path, atoms: Atoms | None = None, **options: Any) -> KStepDynamics:
    """A run at strides of up to 2 fs."""
    given: dict[str, Any] = {
        "model": cheap(depth=DEPTH), "k": 8, "timestep": 0.25 * FS,
        "rng": np.random.default_rng(7), **options,
    }  # fmt: skip
    if "learn" not in given:
        given["learn"] = learning(folder)
    return KStepDynamics(start() if atoms is None else atoms, given.pop("model"), **given)
