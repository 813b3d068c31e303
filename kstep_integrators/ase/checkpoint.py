"""Checkpoints: everything that a run goes on from, in one file, written atomically.

Tensors as safetensors, the rest as a JSON header in the same file, as in model files; nothing is
pickled. A checksum over both tells a damaged file.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
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
from kstep_integrators.ase.outputs import LogMark, Marks, TrajectoryMark
from kstep_integrators.fields import replaced
from kstep_integrators.files import atomic_file
from kstep_integrators.mechanics.bond_watch import Topology
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.identity import changed_settings
from kstep_integrators.state import Correction, Evaluation, PhasePoint, PhaseState
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.tuning import BurnIn

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CheckpointError",
    "current_versions",
    "make_generator",
    "read_checkpoint",
    "write_checkpoint",
]

FORMAT_VERSION = 3
_KEY, _SUM = "kstep_integrators_checkpoint", "sha256"
_TENSOR, _TYPE, _DICT = "__tensor__", "__type__", "__dict__"
_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        BurnIn, Correction, Evaluation, LogMark, Marks, PhasePoint, PhaseState, Run, Stats,
        Topology, TrajectoryMark, Verdict,
    )
}  # fmt: skip
_PHYSICS = ("openmm", "pyscf", "tblite", "xtb")
_NUMPY = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, foreign, or of another format version.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CheckpointError, KStepDynamics
    >>> try:
    ...     KStepDynamics.resume("no-such-run.ckpt", LennardJones())
    ... except CheckpointError as error:
    ...     print(error)
    there is no checkpoint no-such-run.ckpt
    """


def current_versions() -> dict[str, str]:
    """Versions of the packages that decide the bits of a run, physics only if it is in use."""
    always = ("kstep-integrators", "ase", "numpy", "torch")
    used = [name for name in _PHYSICS if name in sys.modules]
    return {name: _version(name) for name in ("python", *always, *used)}


@functools.cache
def _version(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "not installed"


@dataclass(frozen=True)
class Checkpoint:
    """A run between two steps: of one molecule, or of an ensemble.

    Attributes
    ----------
    run : Run
        Without its scheme, which the options make again; tensors on the CPU.
    options : RunOptions
    atoms : tuple of ase.Atoms
        Of each molecule that the run began with, without calculators.
    results : dict
        All that the calculator of a single molecule computed where the run stands.
    generators : tuple of mapping
        States of the random bit generators, as numpy gives them.
    nsteps : int
    settings : dict
        What is written where and how often, and other arguments that are no options of a step.
    jump : dict
        From :func:`kstep_integrators.jumps.make.record_jump`.
    physics : dict of str to str
        Settings of the physics, from :func:`kstep_integrators.physics.identity.settings_of`.
    marks : tuple of Marks
        How much of trajectory and log of each molecule had been written.
    edited : bool
        True if the user had changed the atoms otherwise than by moving them since the run stood
        there: what is known of the point is not that of the atoms.
    lost : dict of int to dict
        Molecules of an ensemble that could not go on: ``"failure"``, ``"stats"``, ``"heat"``; their
        ``atoms`` are those of the last good state.
    versions : dict
        Of the packages it was written with.
    """

    run: Run
    options: RunOptions
    atoms: tuple[Atoms, ...]
    results: dict[str, Any]
    generators: tuple[Mapping[str, Any], ...]
    nsteps: int
    settings: dict[str, Any]
    jump: dict[str, Any]
    physics: dict[str, str]
    marks: tuple[Marks, ...]
    edited: bool = False
    lost: dict[int, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=current_versions)

    def require(self, path: str | Path, ensemble: bool) -> None:
        """Refuse the checkpoint of an ensemble for a single run, and the other way round.

        Raises
        ------
        CheckpointError
            The message says what it is of, and what resumes it.
        """
        if self.settings.get("ensemble", False) == ensemble:
            return
        if ensemble:
            kind, other = "one run", "KStepDynamics"
        else:
            kind, other = f"an ensemble of {len(self.atoms)}", "Ensemble"
        raise CheckpointError(f"{path} is a checkpoint of {kind}; go on with {other}.resume")

    def under(self, physics: Mapping[str, str]) -> Checkpoint:
        """The checkpoint for a run that goes on with some physics, after a warning of what differs.

        Parameters
        ----------
        physics : mapping of str to str
            Its settings, from :func:`kstep_integrators.physics.identity.settings_of`. If they are
            others, what the first physics computed is left behind, and the run begins with an
            evaluation.
        """
        versions = [
            f"{name} {version}, now {_version(name)}"
            for name, version in self.versions.items()
            if version != _version(name)
        ]
        others = changed_settings(self.physics, physics)
        if others:
            versions.append(f"another calculator ({'; '.join(others)})")
        if versions:
            anew = ", and is evaluated anew where it stands" if others else ""
            warnings.warn(
                f"the checkpoint was written with {'; '.join(versions)}: the run may not go on as "
                f"it would have{anew}",
                KStepWarning,
                stacklevel=3,
            )
        return replace(self, edited=True, results={}) if others else self


def make_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator of numpy in a given state.

    Parameters
    ----------
    state : mapping
        ``generator.bit_generator.state``.

    Raises
    ------
    ValueError
        If the bit generator is not one of numpy's own.
    """
    name = state.get("bit_generator")
    if name not in _NUMPY:
        raise ValueError(
            f"a checkpoint cannot keep the bit generator {name!r}, it keeps those of numpy "
            f"({', '.join(_NUMPY)}); pass rng=numpy.random.default_rng(seed)"
        )
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)


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
        return tensors[value[_TENSOR]]
    if _DICT in value:
        return {key: _unpack(one, tensors) for key, one in value[_DICT]}
    parts = {name: _unpack(part, tensors) for name, part in value.items() if name != _TYPE}
    return _TYPES[value[_TYPE]](**parts)
