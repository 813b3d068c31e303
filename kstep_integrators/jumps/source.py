"""A model as a file that is found again: its name, its hash, and how it is computed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.model_file import bundled_models
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.backends import BackendUnavailable
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["ModelSource"]


@dataclass(frozen=True)
class ModelSource:
    """The file of a model, and how it is computed; no weights.

    Attributes
    ----------
    name : str
        A bundled name or an absolute path.
    sha256 : str
        Of the file.
    device : str
    dtype : str
        ``"float32"`` or ``"float64"``.
    backend : str
        That was asked for, ``"auto"`` for a direct jump.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> source = ModelSource.of(load_model("organic-gfn2", device="cpu"))
    >>> source.name, source.dtype
    ('organic-gfn2', 'float32')
    >>> source.load().digest == source.sha256
    True
    """

    name: str
    sha256: str
    device: str
    dtype: str
    backend: str

    @staticmethod
    def of(model: NetworkPotential | DirectJump) -> ModelSource:
        """The source of a loaded model.

        Raises
        ------
        ValueError
            If it was not loaded from a file.
        """
        if not model.source or not model.digest:
            raise ValueError(
                f"the model {model.header.name!r} was not loaded from a file, and only the path "
                "and hash of a model are kept, never weights: write it with "
                "kstep_integrators.models.model_file.write_model(path, ...) and pass "
                "load_model(path)"
            )
        bundled = model.source in bundled_models()
        return ModelSource(
            model.source if bundled else str(Path(model.source).resolve()),
            model.digest,
            str(model.device),
            str(model.dtype).removeprefix("torch."),
            model.asked_backend if isinstance(model, NetworkPotential) else "auto",
        )

    def load(self) -> NetworkPotential | DirectJump:
        """The model; on the CPU if its GPU is not there, by another backend if its own is not.

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
        try:
            model = load_model(self.name, device, getattr(torch, self.dtype), self.backend)
        except BackendUnavailable as error:
            warnings.warn(
                f"the model goes on with another backend, and with other rounding: {error}",
                KStepWarning,
                stacklevel=2,
            )
            model = load_model(self.name, device, getattr(torch, self.dtype))
        if model.digest != self.sha256:
            raise ValueError(
                f"the model {self.name!r} has the hash {model.digest[:16]}..., but that of "
                f"{self.sha256[:16]}... was recorded: put the old file back, or start anew with "
                "this one"
            )
        return model
