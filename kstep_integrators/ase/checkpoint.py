"""Checkpoints: everything that a run goes on from, and what differs where it does."""

from __future__ import annotations

import functools
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

from kstep_integrators.ase.outputs import Marks
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.identity import changed_settings
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "current_versions",
    "make_generator",
]

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
