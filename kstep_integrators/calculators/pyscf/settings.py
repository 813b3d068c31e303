"""Settings of the calculator, checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kstep_integrators.calculators.electrons import check_given
from kstep_integrators.calculators.pyscf.device import DEVICES
from kstep_integrators.calculators.pyscf.extrapolation import GUESSES

__all__ = ["Basis", "Settings"]

DISPERSIONS = ("d3bj", "d3zero", "d3bjm", "d3zerom", "d3op", "d4")
"""Corrections of the package pyscf-dispersion; ``d3bjatm`` etc. add the three-body term."""

SOLVENT_MODELS = ("ief-pcm", "c-pcm", "ss(v)pe", "cosmo", "smd")
"""Continuum models; SMD (doi:10.1021/jp810292n) includes the non-electrostatic part."""

Basis = str | Mapping[str, Any]

_LEVEL_OF_THEORY = (
    "xc", "basis", "ecp", "pseudo", "unrestricted", "density_fit", "dispersion", "solvent",
    "solvent_model", "kpts", "grid_level", "conv_tol", "max_cycle", "max_memory",
)  # fmt: skip
"""Settings that a mean-field object given by the user decides."""


_NONE = type(None)
_TEXT = ((str, _NONE), "a name, or None")
_SET = ((str, Mapping, _NONE), "a name, or a dictionary of them by element")
_WHOLE = ((int, np.integer), "a whole number")
_REAL = ((int, float, np.number), "a number")
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "xc": _TEXT, "basis": _SET, "ecp": _SET, "pseudo": _SET, "dispersion": _TEXT,
    "unrestricted": ((bool, np.bool_, _NONE), "True, False or None"),
    "density_fit": ((bool, np.bool_, str), "True, False or the name of an auxiliary basis"),
    "grid_response": ((bool, np.bool_), "True or False"),
    "solvent": ((str, int, float, np.number, _NONE), "a name or a dielectric constant"),
    "solvent_model": ((str,), "a name"),
    "kpts": ((tuple, list, np.ndarray), "three counts of at least 1; for bands along a path, "
             "band_structure(path)"),
    "grid_level": _WHOLE, "max_cycle": _WHOLE, "history": _WHOLE,
    "threads": ((int, np.integer, _NONE), "a whole number of threads, or None"),
    "conv_tol": _REAL, "min_overlap_eigenvalue": _REAL,
    "max_memory": ((int, float, np.number, _NONE), "a positive number of MB, or None"),
    "device": ((str,), f"one of {list(DEVICES)}"), "guess": ((str,), f"one of {list(GUESSES)}"),
    "directory": ((str, Path), "the path of a folder"),
}  # fmt: skip
"""Types of settings, and how to say them."""


@dataclass(frozen=True)
class Settings:
    """Arguments of :class:`~kstep_integrators.calculators.pyscf.PySCFCalculator`.

    Raises
    ------
    ValueError
        If arguments contradict each other or are out of range.
    """

    method: Any = None
    xc: str | None = None
    basis: Basis | None = None
    ecp: Basis | None = None
    pseudo: Basis | None = None
    charge: int | None = None
    multiplicity: int | None = None
    unrestricted: bool | None = None
    density_fit: bool | str = False
    dispersion: str | None = None
    solvent: str | float | None = None
    solvent_model: str = "ief-pcm"
    kpts: tuple[int, int, int] = (1, 1, 1)
    grid_level: int = 3
    grid_response: bool = False
    conv_tol: float = 1e-9
    max_cycle: int = 50
    device: str = "auto"
    max_memory: float | None = None
    threads: int | None = None
    guess: str = "extrapolate"
    history: int = 20
    min_overlap_eigenvalue: float = 1e-6
    directory: str | Path = "."

    @property
    def given(self) -> Any:
        """The mean-field object that the user configured, or None."""
        return None if self.method is None or isinstance(self.method, str) else self.method

    @property
    def name(self) -> str:
        """Short description for messages."""
        if self.given is not None:
            return type(self.given).__name__
        return f"{self.xc or 'HF'}/{self.basis if isinstance(self.basis, str) else 'own basis'}"

    def __post_init__(self) -> None:
        self._check_types()
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}, expected one of {list(DEVICES)}")
        if self.guess not in GUESSES:
            raise ValueError(f"guess is {self.guess!r}, expected one of {list(GUESSES)}")
        check_given(self.charge, self.multiplicity)
        if not 0.0 <= self.min_overlap_eigenvalue < math.inf:
            raise ValueError(
                f"min_overlap_eigenvalue is {self.min_overlap_eigenvalue!r}, expected at least 0"
            )
        if self.max_memory is not None and not 0.0 < self.max_memory < math.inf:
            raise ValueError(f"max_memory is {self.max_memory!r}, expected a positive number of MB")
        for name, least in (("history", 1), ("threads", 1), ("max_cycle", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value!r}, expected at least {least}")
        if Path(self.directory).exists() and not Path(self.directory).is_dir():
            raise ValueError(
                f"directory is {str(self.directory)!r}, which is a file; name a folder"
            )
        if self.given is None:
            self._check_level_of_theory()
        else:
            self._check_given()

    def _check_types(self) -> None:
        for name, (kinds, wanted) in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise ValueError(f"{name} is {value!r}, expected {wanted}")

    def _check_given(self) -> None:
        if not all(hasattr(self.given, name) for name in ("mol", "kernel", "nuc_grad_method")):
            raise ValueError(
                f"method is a {type(self.given).__name__}; expected 'hf' or an SCF object of "
                "PySCF or GPU4PySCF, such as molecule.RKS(xc='b3lyp')"
            )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        extra = [n for n in _LEVEL_OF_THEORY if getattr(self, n) != defaults[n]]
        if extra:
            raise ValueError(
                f"{', '.join(extra)} given beside a mean-field object, which decides that itself; "
                "set it there"
            )

    def _check_level_of_theory(self) -> None:
        if self.method is not None and self.method.lower() != "hf":
            raise ValueError(
                f"method is {self.method!r}; expected 'hf', a configured PySCF mean-field object, "
                "or nothing and a functional such as xc='b3lyp'"
            )
        if (self.method is None) == (self.xc is None):
            raise ValueError(
                f"method={self.method!r} and xc={self.xc!r} given; expected exactly one of them: "
                "method='hf', or a functional such as xc='b3lyp'"
            )
        if not self.basis:
            raise ValueError("basis is missing; name one, such as basis='def2-svp'")
        if self.grid_level not in range(10):
            raise ValueError(f"grid_level is {self.grid_level!r}, expected 0 (coarse) to 9 (fine)")
        if self.grid_response and self.xc is None:
            raise ValueError("grid_response=True, but Hartree-Fock has no grid; leave it out")
        if not 0.0 < self.conv_tol < 1e-3:
            raise ValueError(
                f"conv_tol is {self.conv_tol!r} hartree, expected above 0 and below 1e-3: forces "
                "of a loosely converged SCF heat the dynamics"
            )
        counts: Sequence[Any] = self.kpts
        whole = all(isinstance(n, int | np.integer) and n >= 1 for n in counts)
        if len(counts) != 3 or not whole:
            raise ValueError(f"kpts is {self.kpts!r}, expected three counts of at least 1")
        if self.dispersion is not None:
            version = self.dispersion.lower().split(":")[0]
            if version.removesuffix("atm").removesuffix("2b") not in DISPERSIONS:
                raise ValueError(
                    f"dispersion is {self.dispersion!r}, expected one of {list(DISPERSIONS)}"
                )
        self._check_solvent()

    def _check_solvent(self) -> None:
        model = self.solvent_model.lower()
        if model not in SOLVENT_MODELS:
            raise ValueError(
                f"solvent_model is {self.solvent_model!r}, expected one of {list(SOLVENT_MODELS)}"
            )
        if isinstance(self.solvent, int | float) and not self.solvent >= 1.0:
            raise ValueError(
                f"solvent is {self.solvent!r}, expected a name or a dielectric constant of at "
                "least 1"
            )
        if model == "smd" and not isinstance(self.solvent, str):
            raise ValueError(
                f"solvent is {self.solvent!r}, but SMD needs a name, such as solvent='water'"
            )
