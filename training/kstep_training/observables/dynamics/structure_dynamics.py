"""Runs of several molecules by ``kstep run``, whose frames are labelled."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from kstep_training.inputs.molecules import read_molecule
from kstep_training.keys import setting
from kstep_training.run.run import dynamics_run
from kstep_training.run.settings import RunSettings
from kstep_training.tasks import map_tasks

__all__ = ["StructureSettings", "structure_dynamics"]


@dataclass(frozen=True)
class StructureSettings:
    """Molecules, and the Metropolized runs of each under GFN2-xTB.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> settings = StructureSettings(molecules=["C=C"], trajectories=2, temperature_K=500.0)
    >>> settings.run(1).seed, settings.run(1).metropolize
    (1, True)
    """

    molecules: list[str] = setting(
        ["C=C", "C=O", "CO", "CC#N", "CN", "NC=O", "CC=C", "CCO", "COC"],
        "bundled names, geometry files or SMILES strings",
    )
    model: str = setting("organic-gfn2", "bundled name or file of the model that makes the jumps")
    trajectories: int = setting(8, "runs of each molecule")
    k: int = setting(8, "base steps of a jump")
    timestep_fs: float = setting(0.5, "base step", "fs")
    temperature_K: float = setting(400.0, "temperature of the runs", "K")
    equilibration_ps: float = setting(1.0, "dynamics before the first frame", "ps")
    length_ps: float = setting(0.66, "length of a run", "ps")
    interval_fs: float = setting(48.0, "time between frames, rounded to whole strides", "fs")
    seed: int = setting(0, "seed of the first run of each molecule; those after it count up")

    def __post_init__(self) -> None:
        if not self.molecules:
            raise ValueError("molecules are [], expected one at least, such as [C=C, methanol]")
        if self.trajectories < 1:
            raise ValueError(f"trajectories is {self.trajectories}, expected at least 1")
        self.run(0)

    def run(self, number: int) -> RunSettings:
        """Settings of one of the runs of a molecule.

        Raises
        ------
        ValueError
            If they are out of range.
        """
        return RunSettings(
            physics="GFN2-xTB",
            thermostat="langevin",
            metropolize=True,
            k=self.k,
            timestep_fs=self.timestep_fs,
            temperature_K=self.temperature_K,
            equilibration_ps=self.equilibration_ps,
            length_ps=self.length_ps,
            interval_fs=self.interval_fs,
            seed=self.seed + number,
        )


@dataclass(frozen=True)
class _Job:
    model: str
    molecule: str
    settings: RunSettings
    folder: Path


def _task(job: _Job) -> Path:
    """Make or finish one run, in a worker."""
    with redirect_stdout(io.StringIO()):  # progress of many runs at once is no picture
        dynamics_run(job.model, job.molecule, job.settings, job.folder)
    return job.folder / "run.traj"


def structure_dynamics(
    settings: StructureSettings,
    folder: str | Path,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[int, Iterator[tuple[str, Path | Exception]]]:
    """Run each molecule some times, from its relaxed geometry with momenta of its own.

    Parameters
    ----------
    settings : StructureSettings
    folder : path
        Of the folders of the runs, ``PLACE.MOLECULE.NUMBER`` as they are listed. Finished ones are
        kept, and others gone on with.
    workers : int
        Local processes, one run each at a time.
    scheduler : str, optional
        Address of a Dask cluster, whose workers take the place of the local processes.

    Returns
    -------
    total : int
        Number of runs.
    runs : iterator of (str, Path or Exception)
        Folder name, and trajectory or what has ended the run, of each run as it ends.

    Raises
    ------
    ValueError
        If a molecule cannot be read. What cannot be run is an exception among the results.

    Examples
    --------
    >>> import tempfile
    >>> settings = StructureSettings(["methanol"], trajectories=1, length_ps=0.02, interval_fs=4.0,
    ...                              equilibration_ps=0.02)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     total, runs = structure_dynamics(settings, place)
    ...     [(name, path)] = runs
    >>> total, name, path.name
    (1, '0.methanol.0', 'run.traj')
    """
    folder = Path(folder).resolve()
    jobs = []
    names = [read_molecule(molecule).name for molecule in settings.molecules]
    # The first of all molecules before the second of any: what is there early is of every kind.
    for number in range(settings.trajectories):
        for place, (molecule, name) in enumerate(zip(settings.molecules, names, strict=True)):
            run = settings.run(number)
            jobs.append(_Job(settings.model, molecule, run, folder / f"{place}.{name}.{number}"))
    results = map_tasks(_task, jobs, workers, scheduler)
    return len(jobs), ((job.folder.name, result) for job, result in results)
