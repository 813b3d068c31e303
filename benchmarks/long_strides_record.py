"""Runs of `benchmarks.long_strides` as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_integrators.files import atomic_file

__all__ = ["Record", "Run", "missing", "read_record", "write_record"]


@dataclass(frozen=True)
class Run:
    """Which run: the method, the seed of the start, and the leg, which goes on from the last."""

    key: str
    seed: int
    leg: int = 0


@dataclass(frozen=True)
class Record:
    """One run of one molecule.

    Attributes
    ----------
    times : (E,) ASE time units
    energies : (E,) eV
        Total energies of the physics at these times.
    positions : (F, N, 3) angstrom
    momenta : (F, N, 3) ASE units
        At equal intervals; not finite where there are none.
    masses : (N,) u
    facts : dict
        Evaluations, fallbacks, what went wrong.
    """

    times: NDArray[np.float64]
    energies: NDArray[np.float64]
    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    masses: NDArray[np.float64]
    facts: dict[str, Any]


def _path(cache: Path, run: Run, name: str) -> Path:
    return cache / "runs" / f"{run.key}.{name}.{run.seed}.{run.leg}.npz"


def missing(cache: Path, run: Run, names: Sequence[str]) -> list[str]:
    """Molecules that have no file of this run."""
    return [name for name in names if not _path(cache, run, name).exists()]


def write_record(cache: Path, run: Run, name: str, record: Record) -> None:
    """Keep a run; the file is there whole or not at all."""
    path = _path(cache, run, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {key: value for key, value in vars(record).items() if key != "facts"}
    with atomic_file(path) as file:
        np.savez(file, facts=np.array(json.dumps(record.facts)), **arrays)


def read_record(cache: Path, run: Run, name: str) -> Record | None:
    """A run, or None if it was not made."""
    path = _path(cache, run, name)
    if not path.exists():
        return None
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files if key != "facts"}
        return Record(**arrays, facts=json.loads(str(file["facts"])))
