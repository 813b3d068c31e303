"""The place of a model: a file that is found again by name and hash, or a pickled calculator."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.model_file import bundled_models
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.backends import BackendUnavailable
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["CalculatorSource", "ModelSource"]


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


@dataclass(frozen=True)
class CalculatorSource:
    """The potential of a calculator as it was before it computed anything, pickled.

    Many calculators hold what cannot be pickled once they have computed; a fresh one is its
    settings. One that cannot be pickled runs, but the System has no XML.

    Attributes
    ----------
    pickled : bytes
        Empty if it cannot be pickled.
    sha256 : str
        Of the settings of the calculator, by which it is known again.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential
    >>> source = CalculatorSource.of(CalculatorPotential(LennardJones(sigma=3.4)))
    >>> source.load().calculator.parameters["sigma"]
    3.4
    """

    pickled: bytes
    sha256: str

    @staticmethod
    def of(potential: CalculatorPotential) -> CalculatorSource:
        """The source of a potential."""
        settings = json.dumps(potential.describe(), sort_keys=True).encode()
        try:
            pickled = pickle.dumps(potential)
        except Exception:  # noqa: BLE001  (calculators raise what they like)
            pickled = b""
        return CalculatorSource(pickled, hashlib.sha256(settings).hexdigest())

    def load(self) -> CalculatorPotential:
        """A copy of the potential, which has computed nothing yet."""
        potential: CalculatorPotential = pickle.loads(self.pickled)  # noqa: S301
        return potential

    def __reduce__(self) -> tuple[Any, ...]:
        """Its fields.

        Raises
        ------
        TypeError
            If the calculator cannot be pickled. (OpenMM says that a function could not be.)
        """
        if not self.pickled:
            raise TypeError(
                "the calculator of the jump cannot be pickled, so that the System has no XML: give "
                "add_jump one that has computed nothing yet, or whose class can be pickled"
            )
        return CalculatorSource, (self.pickled, self.sha256)
