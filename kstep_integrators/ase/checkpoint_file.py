"""Checkpoints in files, written atomically.

Tensors as safetensors, the rest as a JSON header in the same file, as in model files; nothing is
pickled. A checksum over both tells a damaged file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase.io.jsonio import decode, encode
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kstep_integrators.arguments import path_of
from kstep_integrators.ase.atoms_json import (
    decode_atoms,
    decode_values,
    encode_atoms,
    encode_values,
)
from kstep_integrators.ase.checkpoint import Checkpoint, CheckpointError
from kstep_integrators.ase.outputs import LogMark, Marks
from kstep_integrators.fields import replaced
from kstep_integrators.files import atomic_file
from kstep_integrators.learning.lessons import Example, Grade, Lessons
from kstep_integrators.learning.ridge import Posterior
from kstep_integrators.mechanics.bond_watch import Topology
from kstep_integrators.mechanics.scaled_bodies import Bodies
from kstep_integrators.notices import KStepWarning
from kstep_integrators.state import Correction, Evaluation, PhasePoint, PhaseState, Site
from kstep_integrators.step.barostat import VolumeMoves
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.pace import Pace
from kstep_integrators.step.run import Run
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.tuning import BurnIn
from kstep_integrators.trajectory_marks import TrajectoryMark

__all__ = ["FORMAT_VERSION", "read_checkpoint", "write_checkpoint"]

FORMAT_VERSION = 7
_KEY, _SUM = "kstep_integrators_checkpoint", "sha256"
_TENSOR, _TYPE, _DICT = "__tensor__", "__type__", "__dict__"
_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Bodies, BurnIn, Correction, Evaluation, Example, Grade, Lessons, LogMark, Marks, Pace,
        PhasePoint, PhaseState, Posterior, Run, Site, Stats, Topology, TrajectoryMark, Verdict,
        VolumeMoves,
    )
}  # fmt: skip

_PACKED = ("run", "marks", "lost")
_PLAIN = ("generators", "nsteps", "settings", "jump", "physics", "edited", "versions")
"""Fields of a checkpoint: those with tensors or of classes of their own, and those of JSON."""


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    What JSON cannot keep of ``atoms`` and ``results`` is left out and named in a warning.

    Parameters
    ----------
    path : str or Path
    checkpoint : Checkpoint
    """
    tensors: dict[str, Tensor] = {}
    texts, lost = [], list[str]()
    for one in checkpoint.atoms:
        text, left_out = encode_atoms(one)
        texts.append(text)
        lost += [name for name in left_out if name not in lost]
    results, lost_results = encode_values(checkpoint.results)
    lost += [f"the calculator's result {name!r}" for name in lost_results]
    if lost:
        warnings.warn(
            f"the checkpoint {path} leaves out {', '.join(lost)}, which JSON cannot keep; a run "
            "that is resumed from it goes on without",
            KStepWarning,
            stacklevel=2,
        )
    bare = replace(checkpoint, run=replaced(checkpoint.run, scheme=None))
    packed = {name: _pack(getattr(bare, name), name, tensors) for name in _PACKED}
    plain = {name: getattr(checkpoint, name) for name in _PLAIN}
    other = {"atoms": texts, "results": results, "options": checkpoint.options.to_json()}
    header = encode({"format_version": FORMAT_VERSION, **packed, **plain, **other})
    with atomic_file(path) as handle:
        handle.write(save(tensors, {_KEY: header, _SUM: _checksum(header, tensors)}))


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, made by another program, or of another format version.
    """
    path = path_of("path", path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(str(path), framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint; it is damaged or another kind of file: {error}"
        ) from error
    if _KEY not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file, but no checkpoint: it lacks the header entry {_KEY!r}"
        )
    if metadata.get(_SUM) != _checksum(metadata[_KEY], tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    header: dict[str, Any] = decode(metadata[_KEY], always_array=False)
    version = header.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format version {version!r}; this version of kstep-integrators "
            f"reads {FORMAT_VERSION}: finish the run with the version that it began with"
        )
    try:
        return _from_header(header, tensors)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} was written by kstep-integrators of another version: {error!r}"
        ) from error


def _from_header(header: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(
        atoms=tuple(decode_atoms(text) for text in header["atoms"]),
        results=decode_values(header["results"]),
        options=RunOptions.from_json(header["options"]),
        **{name: _unpack(header[name], tensors) for name in _PACKED},
        **{name: header[name] for name in _PLAIN},
    )


def _checksum(header: str, tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON of nested dataclasses, whose tensors go to ``tensors`` under their dotted names."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        packed = {
            part.name: _pack(getattr(value, part.name), f"{name}.{part.name}", tensors)
            for part in dataclasses.fields(value)
            if part.metadata.get("in_files", True)
        }
        return {_TYPE: type(value).__name__, **packed}
    if isinstance(value, dict):  # JSON would make its keys text
        return {_DICT: [[key, _pack(one, f"{name}.{key}", tensors)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return [_pack(one, f"{name}.{i}", tensors) for i, one in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):  # they were tuples: a frozen state holds no list
        return tuple(_unpack(one, tensors) for one in value)
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        # Memory of torch's own: products of matrices differ in the last bit by its alignment.
        return tensors[value[_TENSOR]].clone()
    if _DICT in value:
        return {key: _unpack(one, tensors) for key, one in value[_DICT]}
    parts = {name: _unpack(part, tensors) for name, part in value.items() if name != _TYPE}
    return _TYPES[value[_TYPE]](**parts)
