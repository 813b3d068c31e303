"""A model as a file that is found again: what a System's XML says of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from kstep_integrators import units
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.model_file import bundled_models
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["Model", "ModelSource", "as_model", "jump_of"]

Model: TypeAlias = NetworkPotential | DirectJump
"""What a model file makes."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model is, and how it is computed; no weights.

    Attributes
    ----------
    name : str
        A bundled name or an absolute path.
    sha256 : str
        Of the file.
    device : str
    dtype : str
        ``"float32"`` or ``"float64"``.
    compile : bool
    """

    name: str
    sha256: str
    device: str
    dtype: str
    compile: bool

    @staticmethod
    def of(model: Model) -> ModelSource:
        """The source of a loaded model.

        Raises
        ------
        ValueError
            If it was not loaded from a file.
        """
        if not model.source or not model.digest:
            raise ValueError(
                f"the model {model.header.name!r} was not loaded from a file, and a System keeps "
                "the path and hash of its model, never weights: write it with "
                "kstep_integrators.models.model_file.write_model(path, ...) and pass "
                "load_model(path)"
            )
        bundled = model.source in bundled_models()
        return ModelSource(
            model.source if bundled else str(Path(model.source).resolve()),
            model.digest,
            str(model.device),
            str(model.dtype).removeprefix("torch."),
            isinstance(model, NetworkPotential) and model.compile,
        )

    def load(self) -> Model:
        """The model.

        Raises
        ------
        ModelFileError
            If there is no sound model file.
        ValueError
            If it is another one by now.
        """
        device = self.device
        if device.startswith("cuda") and not torch.cuda.is_available():
            device = "cpu"
        model = load_model(self.name, device, getattr(torch, self.dtype), self.compile)
        if model.digest != self.sha256:
            raise ValueError(
                f"the model {self.name!r} has the hash {model.digest[:16]}..., but the System was "
                f"made with {self.sha256[:16]}...: put the old file back, or make the System anew"
            )
        return model


def as_model(model: Model | str | Path) -> Model:
    """The model itself, or the one of that name or path.

    Raises
    ------
    TypeError
        For anything else, other potentials included.
    """
    if isinstance(model, str | Path):
        model = load_model(model)
    if not isinstance(model, NetworkPotential | DirectJump):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a bundled model name, a path, or "
            "load_model(...). A calculator as the potential cannot be written to a System's XML; "
            "use KStepDynamics in ASE for it"
        )
    return model


def jump_of(model: Potential | DirectJump, timestep: float | None = None) -> Jump:
    """The jump that a model makes.

    Parameters
    ----------
    model : Potential or DirectJump
    timestep : float, optional
        Base step, ASE time units; the model's own by default.

    Raises
    ------
    ValueError
        For another base step than a direct jump has learned.
    """
    if not isinstance(model, DirectJump):
        return FlowJump(model, timestep)
    if timestep is not None and not math.isclose(timestep, model.timestep, rel_tol=1e-6):
        raise ValueError(
            f"the base step is {timestep / units.FS:g} fs, but model {model.header.name!r} makes "
            f"direct jumps, and has learned those of {model.timestep / units.FS:g} fs: leave "
            "timestep out and the step size as it is, or use a potential"
        )
    return model
