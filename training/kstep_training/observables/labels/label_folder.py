"""Folders of labels, as the stage ``label`` makes them, read and checked."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["ARRAYS", "Labels", "holds_labels", "read_labels"]

_COMMON: Final[dict[str, tuple[Any, ...]]] = {
    "numbers": (int, "N"),
    "positions": (float, "F", "N", 3),
    "frame": (int, "F"),
    "time_fs": (float, "F"),
    "trajectory": (str,),
    "kind": (str,),
}

ARRAYS: Final[Mapping[str, Mapping[str, tuple[Any, ...]]]] = MappingProxyType(
    {
        "couplings": {
            **_COMMON,
            "molecule": (int, "N"),
            "populations": (float, "F", "N", 3),
            "orbital": (float, "F", "N", 4),
            "dipole": (float, "F", 3),
            "quadrupole": (float, "F", 6),
            "separation": (float, "F"),
            "angle": (float, "F"),
            "participation": (float, "F"),
            "cheap": (float, "F"),
            "reference": (float, "F"),
            "reference_2": (float, "F"),
        },
        "xanes": {
            **_COMMON,
            "absorbers": (int, "A"),
            "excitations": (float, "F", "n"),
            "strengths": (float, "F", "n"),
            "hole": (float, "F", "n", "A"),
            "shares": (float, "F", "n", "A"),
        },
    }
)
"""Type and shape of the arrays of each kind of labels, with F frames, N atoms, A absorbers and n
excitations. In angstrom, eV, e angstrom, e angstrom^2, fs and radian."""

_MAY_LACK: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"couplings": ("orbital", "reference_2"), "xanes": ("shares",)}
)
"""Arrays that labels may lack: because they were not asked for, or come from an older version."""

_MAY_BE_UNKNOWN: Final = ("time_fs",)
"""NaN there stands for what a trajectory does not say."""

_DTYPES: Final = {int: np.integer, float: np.floating, str: np.str_}


@dataclass(frozen=True)
class Labels:
    """A folder of labels.

    Attributes
    ----------
    kind : str
        ``couplings`` or ``xanes``.
    settings : dict
        That they were made with.
    parts : tuple of dict
        Arrays of each part that is done, by name: those of :data:`ARRAYS`. Couplings have a
        ``reference_2`` only if they were labelled by a second method, and no ``orbital`` if they
        were read from a spreadsheet; spectra have ``shares`` unless they are older than these.
    digest : str
        SHA-256 of the files.
    """

    kind: str
    settings: dict[str, Any]
    parts: tuple[dict[str, npt.NDArray[Any]], ...]
    digest: str


def holds_labels(folder: str | Path) -> bool:
    """True if a folder is one of labels, rather than a dataset of trajectories.

    Examples
    --------
    >>> holds_labels("no/such/folder")
    False
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        return False
    settings = json.loads(path.read_text()).get("settings")
    return isinstance(settings, dict) and settings.get("kind") in ARRAYS


def read_labels(folder: str | Path) -> Labels:
    """Read all finished parts of a folder of labels. Nothing is ever unpickled.

    Parameters
    ----------
    folder : path
        Made by ``kstep label``.

    Raises
    ------
    FileNotFoundError
        If there is no manifest in the folder, or a part that it has as done.
    ValueError
        If no part is done, couplings were labelled by a version that knew no orbitals, or a file is
        damaged: an array is missing, has another type or shape, or numbers that are not finite. The
        message names the array.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ase import Atoms
    >>> from kstep_training.observables.labels.label import label
    >>> from kstep_training.observables.labels.xanes_labels import XANESLabelSettings
    >>> water = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    >>> settings = XANESLabelSettings(element="O", basis="sto-3g", window_eV=1.0)
    >>> with TemporaryDirectory() as place:
    ...     water.write(f"{place}/water.xyz")
    ...     total, reports = label("xanes", [f"{place}/water.xyz"], f"{place}/labels", settings)
    ...     ended = [report["status"] for _, report in reports]
    ...     labels = read_labels(f"{place}/labels")
    >>> ended, labels.kind, labels.parts[0]["hole"].shape
    (['done'], 'xanes', (1, 2, 1))
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no manifest.json in {folder}; name a folder that kstep label has made"
        )
    manifest = json.loads(path.read_text())
    kind = manifest.get("settings", {}).get("kind")
    if kind not in ARRAYS:
        raise ValueError(
            f"{folder} holds no labels but something else ({kind!r}), expected a folder that "
            "kstep label has made"
        )
    done = sorted(n for n, report in manifest["parts"].items() if report["status"] == "done")
    if not done:
        raise ValueError(f"{folder} has no part that is done; run kstep label {kind} on it first")
    sha, settings = hashlib.sha256(), manifest["settings"]["label"]
    parts = []
    for name in done:
        path = folder / "parts" / f"{name}.npz"
        content = path.read_bytes()
        sha.update(content)
        part = _part(content, kind, str(path))
        if kind == "couplings" and "orbital" not in part and "cheap_method" not in settings:
            raise ValueError(
                f"{path} has no array 'orbital': an earlier version of kstep-integrators has made "
                "it, with cheap couplings of other orbitals than are computed now; label the "
                "trajectories again, into another folder"
            )
        parts.append(part)
    return Labels(kind, settings, tuple(parts), sha.hexdigest())


def _part(content: bytes, kind: str, path: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file, checked against those of the kind."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS[kind] if name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no file of plain arrays ({error}); remove it and label it again"
        ) from error
    sizes: dict[str, int] = {}
    for name, (type_, *shape) in ARRAYS[kind].items():
        if name not in arrays and name in _MAY_LACK[kind]:
            continue
        if name not in arrays:
            raise ValueError(
                f"{path} has no array {name!r}, which labels of {kind} have; remove it and label "
                "it again"
            )
        array = arrays[name]
        if not np.issubdtype(array.dtype, _DTYPES[type_]):
            raise ValueError(
                f"{name!r} in {path} has the type {array.dtype}, expected {type_.__name__}"
            )
        if array.ndim == len(shape):  # the first array that has a size sets it
            for axis, length in zip(shape, array.shape, strict=True):
                if isinstance(axis, str):
                    sizes.setdefault(axis, length)
        expected = tuple(sizes.get(axis, 0) if isinstance(axis, str) else axis for axis in shape)
        if array.shape != expected:
            raise ValueError(f"{name!r} in {path} has the shape {array.shape}, expected {expected}")
        if type_ is float and name not in _MAY_BE_UNKNOWN and not np.isfinite(array).all():
            raise ValueError(
                f"{name!r} in {path} has numbers that are not finite; remove it and label it again"
            )
    return arrays
