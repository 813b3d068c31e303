"""A model as a file that is found again: what a System's XML says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.model_file import bundled_models
from kstep_integrators.potentials import NetworkPotential

__all__ = ["ModelSource", "as_network"]


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
    def of(model: NetworkPotential) -> ModelSource:
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
                "kstep_integrators.model_file.write_model(path, ...) and pass load_model(path)"
            )
        bundled = model.source in bundled_models()
        return ModelSource(
            model.source if bundled else str(Path(model.source).resolve()),
            model.digest,
            str(model.device),
            str(model.dtype).removeprefix("torch."),
            model.compile,
        )

    def load(self) -> NetworkPotential:
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
        model = as_network(load_model(self.name, device, getattr(torch, self.dtype), self.compile))
        if model.digest != self.sha256:
            raise ValueError(
                f"the model {self.name!r} has the hash {model.digest[:16]}..., but the System was "
                f"made with {self.sha256[:16]}...: put the old file back, or make the System anew"
            )
        return model


def as_network(model: NetworkPotential | DirectJump | str | Path) -> NetworkPotential:
    """The model itself, or the one of that name or path.

    Raises
    ------
    ValueError
        For a model of direct jumps.
    TypeError
        For anything else, other potentials included.
    """
    if isinstance(model, str | Path):
        model = load_model(model)
    if isinstance(model, DirectJump):
        raise ValueError(
            f"model {model.header.name!r} makes direct jumps, and in OpenMM only a potential can "
            "be jumped with: its program knows the half-kicks of flow jumps. Use KStepDynamics in "
            "ASE for it, or a model of a potential"
        )
    if not isinstance(model, NetworkPotential):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a bundled model name, a path, or "
            "load_model(...). A calculator as the potential cannot be written to a System's XML; "
            "use KStepDynamics in ASE for it"
        )
    return model
