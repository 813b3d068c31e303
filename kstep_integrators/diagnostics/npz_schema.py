"""Fields of a trajectory file of schema version 1: shape, type and range of each.

Files are written by :mod:`kstep_training.trajectory`, which has their units.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["ESTIMATES", "FIELDS", "SCHEMA_VERSION", "check_arrays", "check_metadata", "read_arrays"]

SCHEMA_VERSION = 1

FIELDS: Final = {
    "positions": ("n_frames", "n_atoms", 3),
    "velocities": ("n_frames", "n_atoms", 3),
    "forces": ("n_frames", "n_atoms", 3),
    "energies": ("n_frames",),
    "temperature": ("n_frames",),
    "atom_types": ("n_atoms",),
    "masses": ("n_atoms",),
    "time": ("n_frames",),
    "cell": (3, 3),  # or (n_frames, 3, 3)
    "pbc": (3,),
    "has_label": ("n_frames",),
    "metadata": (),
}
"""Arrays of a file, and their shapes; a cell that changes has one for each frame."""

OPTIONAL: Final = {"charges": ("n_frames", "n_atoms")}
"""Arrays that a file may have, and their shapes."""

STAGES: Final = ("production", "equilibration", "distorted", "run")
"""Parts of a simulation; windows are cut from production alone."""

ESTIMATES: Final = "estimated_energies_eV"
"""Entry of the metadata of a run whose corrector averages positions: the energies of its frames
that are estimates, and null for those that were computed. In the arrays they are NaN."""

Arrays = Mapping[str, npt.NDArray[Any]]


def check_arrays(arrays: Arrays, where: str) -> None:
    """Refuse arrays that no trajectory has.

    Parameters
    ----------
    arrays : mapping
        All of :data:`FIELDS`, and any of :data:`OPTIONAL`, in the units of the file.
    where : str
        Path of the file, for the message.

    Raises
    ------
    ValueError
        If one has another shape or type, or values without sense: what is not finite (energies and
        forces of frames without a label may be unknown), masses and temperatures out of range, no
        elements, or a periodic direction without a cell vector. The message names it.
    """
    sizes = dict(zip(("n_frames", "n_atoms"), np.shape(arrays["positions"])[:2], strict=False))
    for name, symbolic in (FIELDS | OPTIONAL).items():
        if name not in arrays and name in OPTIONAL:
            continue
        array = arrays[name]
        if name == "cell" and array.ndim == 3:
            symbolic = ("n_frames", *symbolic)
        shape = tuple(sizes.get(str(size), size) for size in symbolic)
        kinds = {"metadata": "U", "pbc": "b", "has_label": "b"}.get(name, "iuf")
        if array.dtype.kind not in kinds and not (kinds == "b" and _zeros_and_ones(array)):
            kind = {"U": "text", "b": "true and false", "iuf": "real numbers"}[kinds]
            raise _wrong(where, name, f"is of type {array.dtype}, expected {kind}")
        if array.shape != shape:
            meant = f"({', '.join(map(str, symbolic))})".replace("'", "")
            raise _wrong(where, name, f"has the shape {array.shape}, expected {shape}: {meant}")
    labelled = arrays["has_label"].astype(bool)
    for name in ("positions", "velocities", "temperature", "masses", "time", "cell"):
        _check(where, name, arrays[name], np.isfinite(arrays[name]), "finite numbers")
    for name in ("forces", "energies", *({*OPTIONAL} & {*arrays})):
        values = arrays[name][labelled]
        _check(where, name, values, np.isfinite(values), "finite numbers where has_label is true")
    masses, kelvin, types = (arrays[name] for name in ("masses", "temperature", "atom_types"))
    _check(where, "masses", masses, masses > 0, "numbers of u above 0")
    _check(where, "temperature", kelvin, kelvin >= 0, "numbers of K from 0")
    elements = (types >= 1) & (types <= 118) & (types == np.floor(types))
    _check(where, "atom_types", types, elements, "atomic numbers")
    vectors = arrays["cell"].any(axis=-1).reshape(-1, 3).all(axis=0)
    empty = arrays["pbc"].astype(bool) & ~vectors
    if empty.any():
        raise _wrong(
            where, "cell", f"has no vector along {np.flatnonzero(empty).tolist()}, which pbc says "
            "are periodic"
        )  # fmt: skip


def check_metadata(metadata: object, where: str) -> dict[str, Any]:
    """The metadata, if they make sense; keys that are not known are free.

    Raises
    ------
    ValueError
        If they are no JSON object, or a key that something depends on has another type or range.
        The message names it.
    """
    if not isinstance(metadata, dict):
        raise _wrong(where, "metadata", f"is {metadata!r}, expected a JSON object")
    settings = metadata.get("settings")
    for name, (meant, right) in _KEYS.items():
        if name in metadata and not right(metadata[name]):
            raise _wrong(where, f"metadata {name!r}", f"is {metadata[name]!r}, expected {meant}")
    for name in ("production", "interval_steps"):
        meant, right = _OF_SETTINGS[name]
        if settings is not None and name in settings and not right(settings[name]):
            said = f"is {settings[name]!r}, expected {meant}"
            raise _wrong(where, f"metadata 'settings', {name!r},", said)
    return metadata


def read_arrays(
    path: str | Path,
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """All arrays of a file, in its units, and its metadata. Nothing is ever unpickled.

    Raises
    ------
    ValueError
        If it is no NPZ file, an array is missing, has another shape or type, or values without
        sense, or the schema version is another one. The message names the array.
    """
    if not zipfile.is_zipfile(path) and Path(path).is_file():
        raise ValueError(
            f"{path} is no NPZ file: it is not a trajectory of schema version {SCHEMA_VERSION}"
        )
    arrays = {}
    with np.load(path, allow_pickle=False) as data:
        if missing := {*FIELDS} - set(data.files):
            raise ValueError(
                f"{path} lacks the arrays {sorted(missing)}: it is not a trajectory of schema "
                f"version {SCHEMA_VERSION}"
            )
        for name in (*FIELDS, *({*OPTIONAL} & {*data.files})):
            try:
                arrays[name] = data[name]
            except (ValueError, zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(
                    f"{name} of the trajectory {path} cannot be read: {error}"
                ) from error
    metadata = _metadata(path, arrays["metadata"])
    if metadata.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has trajectory schema {metadata.get('schema')!r}; this version reads "
            f"{SCHEMA_VERSION}"
        )
    check_arrays(arrays, str(path))
    return arrays, metadata


def _metadata(path: str | Path, kept: npt.NDArray[Any]) -> dict[str, Any]:
    try:
        metadata = json.loads(str(kept))
    except ValueError as error:
        raise ValueError(f"metadata of the trajectory {path} are no JSON text: {error}") from error
    return check_metadata(metadata, str(path))


def _whole(least: int | None = None) -> Any:
    def right(value: object) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and (least is None or value >= least)  # type: ignore[operator]

    return right


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _text_or_none(value: object) -> bool:
    return value is None or _text(value)


def _positive(value: object) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and 0.0 < float(value) < math.inf  # type: ignore[arg-type]


_STEPS: Final = ("a whole number from 0: base steps between frames", _whole(0))

_KEYS: Final[Mapping[str, tuple[str, Any]]] = {
    "method": ("the name of the physics", _text),
    "name": ("the name of the molecule", _text),
    "smiles": ("text, or null", _text_or_none),
    "charge": ("a whole number of e", _whole()),
    "multiplicity": ("a whole number from 1", _whole(1)),
    "stage": (f"one of {[*STAGES, None]}", lambda value: value is None or value in STAGES),
    "timestep_fs": ("a positive number: base step in fs", _positive),
    "interval_steps": _STEPS,
    "constraints": ("text such as 'HBonds', or null", _text_or_none),
    "trajectory": ("a whole number from 0", _whole(0)),
    "segment": ("a whole number from 0", _whole(0)),
    "settings": ("a JSON object, or null", lambda value: value is None or isinstance(value, dict)),
}
"""What the stages of the training module read: what is meant, and whether a value is that."""

_OF_SETTINGS: Final = {"production": ("text such as 'nve'", _text), "interval_steps": _STEPS}


def _zeros_and_ones(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind in "iu" and bool(np.isin(array, (0, 1)).all())


def _check(
    where: str, name: str, values: npt.NDArray[Any], right: npt.NDArray[np.bool_], meant: str
) -> None:
    if not right.all():
        first = tuple(np.argwhere(~right)[0].tolist())
        raise _wrong(where, name, f"has {values[first]!s} at {first}, expected {meant}")


def _wrong(where: str, name: str, said: str) -> ValueError:
    return ValueError(
        f"{name} of the trajectory {where} {said}; see kstep_training.trajectory for schema 1"
    )
