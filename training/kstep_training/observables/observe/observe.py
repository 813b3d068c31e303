"""An observable along trajectories: the command ``kstep observe``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from rich.console import Console
from rich.markup import escape

from kstep_integrators.files import atomic_file, write_text_atomically
from kstep_integrators.observables.observable import Observable
from kstep_integrators.observables.spectrum_observable import SpectrumObservable
from kstep_integrators.units import FS
from kstep_training.evaluate.frames import MDANALYSIS_SUFFIXES, read_trajectory
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.inputs.format_units import GivenUnits
from kstep_training.keys import setting
from kstep_training.manifest import keep_identity
from kstep_training.observables.observe.averages import Average, averaged
from kstep_training.observables.observe.observed_picture import draw_observed
from kstep_training.options import override
from kstep_training.progress import progress_bar

__all__ = ["ObserveSettings", "observed", "run_observe"]

Array = npt.NDArray[np.float64]

PART = 128
"""Frames between two saves."""


@dataclass(frozen=True)
class ObserveSettings:
    """Frames of the trajectories that are looked at, and their time.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    every: int = setting(1, "take one frame of so many")
    skip: int = setting(0, "frames at the beginning of each trajectory that are left out")
    interval_fs: float = setting(
        0.0, "time between two frames, for files that do not say; 0: theirs, or none", "fs"
    )
    time_unit: str | None = setting(None, "unit of the time in files that leave it open")
    lammps_units: str | None = setting(None, "units of dumps of LAMMPS that do not say")
    element: str | None = setting(None, "of spectra that know several edges: whose is asked for")

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, expected at least 1")
        if self.skip < 0:
            raise ValueError(f"skip is {self.skip}, expected at least 0")
        if not 0.0 <= self.interval_fs < float("inf"):
            raise ValueError(f"interval_fs is {self.interval_fs}, expected a number from 0")


def run_observe(
    model: str | Path,
    trajectories: Sequence[Path],
    overrides: Sequence[str],
    output: Path,
    topology: Path | None = None,
) -> dict[str, Any]:
    """Apply an observable to trajectories: arrays, averages with error bars, and a picture.

    Parameters
    ----------
    model : str or Path
        File made by ``kstep fit`` of a folder of labels.
    trajectories : sequence of Path
        Independent runs of the same molecule or dimer. Couplings have one sign in all of them.
    overrides : sequence of str
        ``key=value``, the fields of :class:`ObserveSettings`.
    output : Path
        Folder: one NPZ for each trajectory, ``summary.json``, ``observed.png``. Run again with the
        same folder, what is done is kept.
    topology : Path, optional
        Of DCD files and the like.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    ModelFileError, FileNotFoundError
        For a model or trajectory that cannot be read.
    ValueError
        For frames that the observable was not made for, or settings out of their range.
    """
    settings = override(ObserveSettings, overrides)
    observable = Observable.load(model, element=settings.element)
    names = [path.name for path in trajectories]
    if len({*names}) < len(names):
        raise ValueError(f"trajectories are named {names}; expected names that differ")
    identity = {
        "observable": observable.digest,
        "settings": asdict(settings),
        "trajectories": {path.name: _digest(path) for path in trajectories},
        "topology": None if topology is None else _digest(topology),
        "first": names[0],  # whose first frame gives couplings their signs
    }
    keep_identity(output / "observe.json", identity, f"{output} holds an observation")
    runs: list[dict[str, Array]] = []
    reference: Atoms | None = None
    for path in trajectories:
        frames, time = _frames(path, settings, topology)
        reference = frames[0] if reference is None else reference
        if not np.array_equal(frames[0].numbers, reference.numbers):
            raise ValueError(
                f"{path} is of {frames[0].get_chemical_formula()}, with other atoms or in another "
                f"order than {names[0]}, which is of {reference.get_chemical_formula()}; expected "
                "runs of the same molecules, which can be averaged over: observe others apart"
            )
        with progress_bar(f"frames of {path.name}", len(frames)) as update:
            values = observed(observable, frames, reference, output / "parts" / path.name, update)
        values["time_fs"] = np.full(len(frames), np.nan) if time is None else time / FS
        with atomic_file(output / f"{path.name}.npz") as handle:
            np.savez(handle, **values)  # type: ignore[arg-type]
        runs.append(values)
    average = averaged(runs, observable.kind)
    summary = _summary(observable, names, average)
    write_text_atomically(output / "summary.json", json.dumps(summary, indent=1))
    draw_observed(observable, runs, average, output / "observed.png")
    _say(observable, average, output)
    return summary


def observed(
    observable: Observable,
    frames: Sequence[Atoms],
    reference: Atoms,
    parts: Path,
    update: Callable[[int], None],
) -> dict[str, Array]:
    """Values of an observable for the frames of a trajectory, saved part by part.

    Parameters
    ----------
    observable : Observable
    frames : sequence of ase.Atoms
    reference : ase.Atoms
        The same molecules, by which the sign of couplings is fixed.
    parts : Path
        Folder of the parts; those that are there are kept.
    update : callable
        Is told how many frames are done.

    Returns
    -------
    dict of str to (F, ...) array
    """
    parts.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, Array]] = []
    for start in range(0, len(frames), PART):
        file = parts / f"{start:07d}.npz"
        if not file.exists():
            values = _measured(observable, frames[start : start + PART], reference, start)
            with atomic_file(file) as handle:
                np.savez(handle, **values)  # type: ignore[arg-type]
        with np.load(file, allow_pickle=False) as arrays:
            made.append({name: arrays[name] for name in arrays})
        update(min(len(frames), start + PART))
    return {name: np.concatenate([part[name] for part in made]) for name in made[0]}


def _measured(
    observable: Observable, frames: Sequence[Atoms], reference: Atoms, start: int
) -> dict[str, Array]:
    """Values of some frames; errors say of which one, the first being number ``start``."""
    try:
        return observable.measure(frames, reference)
    except ValueError:
        for number, atoms in enumerate(frames, start=start):
            try:
                observable.measure([atoms], reference)
            except ValueError as error:
                raise ValueError(
                    f"frame {number} of those that are looked at, counted from 0: {error}"
                ) from error
        raise


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _frames(
    path: Path, settings: ObserveSettings, topology: Path | None
) -> tuple[list[Atoms], Array | None]:
    """Frames that are looked at, and their time in ASE units."""
    if path.suffix in (".npz", *MDANALYSIS_SUFFIXES):
        record = read_trajectory(path, topology, settings.interval_fs)
        frames = [
            Atoms(record.numbers, x, cell=record.cell, pbc=record.pbc) for x in record.positions
        ]
        time: Array | None = record.time
    else:
        found = read_frames(path, GivenUnits(settings.time_unit, None, settings.lammps_units))
        frames = found.atoms
        time = found.time
        if settings.interval_fs:
            time = np.arange(len(frames), dtype=np.float64) * float(settings.interval_fs * FS)
    chosen = slice(settings.skip, None, settings.every)
    if not frames[chosen]:
        raise ValueError(
            f"{path} has {len(frames)} frames, and skip={settings.skip} leaves none; expected one "
            "at least"
        )
    return frames[chosen], None if time is None else time[chosen]


def _summary(observable: Observable, names: list[str], average: Average) -> dict[str, Any]:
    header = observable.header
    energies = observable.energies if isinstance(observable, SpectrumObservable) else None
    return {
        "observable": header.name,
        "kind": observable.kind,
        "unit": observable.unit,
        "method": header.method,
        "trajectories": names,
        **({} if energies is None else {"energies": energies.tolist()}),
        **{key: value for key, value in asdict(average).items() if key != "autocorrelation"},
    }


def _say(observable: Observable, average: Average, output: Path) -> None:
    console = Console()
    known = "" if average.effective_samples is None else f", {average.effective_samples:.0f} worth"
    text = f"{average.frames} frames{known}; "
    if np.ndim(average.mean) == 0:
        error = "unknown" if average.error is None else f"{1000 * float(average.error):.2f}"
        mean, spread = 1000 * float(average.mean), 1000 * float(average.spread)
        unit = f"m{observable.unit}"
        text += f"mean {observable.kind} {mean:.2f} +- {error} {unit}, spread {spread:.2f} {unit}; "
    console.print(f"{text}see {escape(str(output))}", highlight=False, soft_wrap=True)
