"""The stage ``sample``: labelled geometries of prepared molecules and of clusters of them.

Unlike those of ``kstep simulate`` the geometries are of no trajectory: many short walks begin at
conformers with bonds turned and stretched, and at molecules put together at random. Every molecule
and every cluster is one shard, ``production/NAME.npz``, a function of the settings and of its name,
so that a folder is made in as many stretches as one likes. Clusters are named after their
molecules, ``water+w012``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.markup import escape

from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import RelaxationFailed, relax
from kstep_training.manifest import open_manifest
from kstep_training.options import override
from kstep_training.prep.prepared import Prepared, prepared_folders, read_prepared
from kstep_training.progress import followed
from kstep_training.reported_tasks import reported_tasks
from kstep_training.sample.clusters import Member, compositions, placed
from kstep_training.sample.distort import Array, bonds_of
from kstep_training.sample.settings import SampleSettings
from kstep_training.sample.walk import Drawn, draw
from kstep_training.trajectory import Trajectory, write_npz

__all__ = ["run_sample", "sample"]

FMAX, RELAXATION_STEPS = 0.1, 60
"""Largest force on an atom of a relaxed conformer, eV/angstrom, and steps to get there."""
CONFORMERS = 6
"""Of each molecule, that walks begin at."""
SOME = 25
"""Shards between two entries in the manifest."""


@dataclass(frozen=True)
class _Made:
    """Settings that the shards of a folder are made with, and the code of a user's physics."""

    prep: dict[str, Any]
    sample: SampleSettings
    function: str | None = None


@dataclass(frozen=True)
class _Job:
    molecules: tuple[Path, ...]
    settings: SampleSettings
    folder: Path

    @property
    def name(self) -> str:
        return "+".join(path.name for path in self.molecules)

    @property
    def shard(self) -> Path:
        return self.folder / "production" / f"{self.name}.npz"


def _task(job: _Job) -> dict[str, Any]:
    """Make one shard, in a worker; report what is in it."""
    try:
        rng = np.random.default_rng([job.settings.seed, *job.name.encode()])
        atoms, drawn, said = _drawn(job, [read_prepared(path) for path in job.molecules], rng)
        report = {
            "status": "done" if len(drawn) else "failed",
            "frames": len(drawn),
            "rearranged": len(drawn.rearranged),
            "refused": dict(drawn.refused),
            **said,
        }
        if not len(drawn):
            return report | {"reason": f"no geometry was kept: {dict(drawn.refused)}"}
        write_npz(job.shard, _trajectory(job, atoms, drawn))
    except Exception as error:  # noqa: BLE001  (a worker reports; the others go on)
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}", "frames": 0}
    return report


def _drawn(
    job: _Job, prepared: Sequence[Prepared], rng: np.random.Generator
) -> tuple[Atoms, Drawn, dict[str, Any]]:
    settings, physics = job.settings, make_physics(job.settings)
    relaxed = [_relaxed(one, settings, few=len(prepared) > 1) for one in prepared]
    numbers = [conformers[0].numbers for conformers in relaxed]
    pairs: list[tuple[int, int]] = []
    turnable = []
    for place, one in enumerate(prepared):
        first = sum(len(kinds) for kinds in numbers[:place])
        bonds = [(a.index, b.index) for a, b in one.topology.bonds()]
        pairs += [(i + first, j + first) for i, j in bonds]
        parts = bonds_of(one.topology.getNumAtoms(), bonds)
        turnable += [(i + first, j + first, [n + first for n in side]) for i, j, side in parts]
    charge = sum(int(one.conformers[0].info["charge"]) for one in prepared)
    spins = {int(one.conformers[0].info.get("multiplicity", 1)) for one in prepared} - {1}
    if len(prepared) > 1 and spins:
        raise ValueError(f"{job.name} has molecules of multiplicities {spins}, expected 1")
    info = {"charge": charge, "multiplicity": next(iter(spins), 1)}
    atoms = Atoms(np.concatenate(numbers), np.zeros((sum(map(len, numbers)), 3)), info=info)
    atoms.calc = physics(atoms)

    def start(rng: np.random.Generator) -> Array:
        chosen = [conformers[int(rng.integers(len(conformers)))] for conformers in relaxed]
        positions = [one.positions for one in chosen]
        return (
            placed(numbers, positions, settings.contacts, rng)
            if len(chosen) > 1
            else positions[0].copy()
        )

    frames = settings.cluster_frames if len(prepared) > 1 else settings.frames
    drawn = draw(atoms, start, pairs, turnable, settings, frames, rng)
    return atoms, drawn, {"atoms": len(atoms), "charge": charge}


def _relaxed(prepared: Prepared, settings: SampleSettings, few: bool) -> list[Atoms]:
    """Conformers near minima of the physics; what cannot be brought there is taken as it is."""
    made = []
    for conformer in prepared.conformers[: 2 if few else CONFORMERS]:
        atoms = conformer.copy()
        atoms.calc = make_physics(settings)(atoms)
        try:
            relax(atoms, FMAX, RELAXATION_STEPS, prepared.name)
        except RelaxationFailed:
            atoms.positions = conformer.positions
        made.append(atoms)
    return made


def _trajectory(job: _Job, atoms: Atoms, drawn: Drawn) -> Trajectory:
    physics = make_physics(job.settings)
    x = np.array(drawn.positions)
    alone = Atoms(atoms.numbers)
    return Trajectory(
        numbers=atoms.numbers.astype(np.int64),
        masses=alone.get_masses(),
        positions=x,
        velocities=np.zeros_like(x),
        forces=np.array(drawn.forces),
        energies=np.array(drawn.energies),
        temperature=np.array(drawn.temperature),
        time=np.zeros(len(x)),
        has_label=np.ones(len(x), dtype=bool),
        charges=np.array(drawn.charges) if drawn.charges else None,
        metadata={
            "method": physics.method,
            "stage": "distorted",
            "name": job.name,
            "smiles": ".".join(_smiles(path) for path in job.molecules),
            "charge": int(atoms.info["charge"]),
            "multiplicity": int(atoms.info["multiplicity"]),
            "constraints": None,
            "rearranged": drawn.rearranged,
            "settings": {"sample": asdict(job.settings)},
            "versions": {**physics.versions, "ase": version("ase")},
        },
    )


def _smiles(path: Path) -> str:
    return str(read_prepared(path).conformers[0].info["smiles"])


def sample(
    prepared: str | Path,
    folder: str | Path,
    settings: SampleSettings,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[int, Iterator[tuple[str, dict[str, Any]]]]:
    """Label geometries of each molecule in a folder made by the stage ``prep``, and of clusters.

    Parameters
    ----------
    prepared : path
        Output of :func:`kstep_training.prep.prepare.prepare`.
    folder : path
        Finished shards in it are kept and skipped, if they were made with the same settings.
    settings : SampleSettings
    workers : int
        Local processes, one shard each at a time.
    scheduler : str, optional
        Address of a Dask cluster, whose workers take the place of the local processes.

    Returns
    -------
    total : int
        Number of shards.
    reports : iterator of (str, dict)
        Name and report of each as it is finished; the reports are also in
        ``folder/manifest.json``. One that failed is tried again in the next stretch.

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the folder holds shards made with other settings, or a molecule that is to be alone is
        none of them.
    ConnectionError
        While iterating, if the scheduler does not answer or goes away.
    """
    prepared, folder = Path(prepared).resolve(), Path(folder).resolve()
    paths = {path.name: path for path in prepared_folders(prepared)}
    prep = json.loads((prepared / "manifest.json").read_text())
    if unknown := sorted({*settings.alone} - {*paths}):
        raise ValueError(f"alone has {unknown}, expected names of molecules in {prepared}")
    function = make_physics(settings).identity if ":" in settings.physics else None
    manifest = open_manifest(folder, _Made(prep["settings"], settings, function), (), "shards")
    (folder / "production").mkdir(exist_ok=True)
    reports = {name: prep["molecules"][name] for name in paths}
    members = [
        Member(name, report["atoms"], report["charge"])
        for name, report in reports.items()
        if name not in settings.alone
    ]
    chosen = compositions(
        members, settings.clusters, settings.cluster_atoms, settings.charges, settings.seed
    )
    names: list[tuple[str, ...]] = [*((name,) for name in paths), *chosen]
    # In an order that says nothing, so that what a stretch has made stands for the whole.
    np.random.default_rng(settings.seed).shuffle(names)
    jobs = [_Job(tuple(paths[one] for one in some), settings, folder) for some in names]
    return len(jobs), _each(jobs, folder, manifest, workers, scheduler)


def _each(
    jobs: Sequence[_Job],
    folder: Path,
    manifest: dict[str, Any],
    workers: int,
    scheduler: str | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    todo = []
    for job in jobs:
        known = manifest["shards"].get(job.name, {"status": "new"})
        if known["status"] == "done" and job.shard.exists():
            yield job.name, known
        else:
            todo.append(job)
    yield from reported_tasks(
        _task, todo, folder, manifest, workers, scheduler, "shards", {"frames": 0}, SOME
    )


def run_sample(
    source: Path,
    overrides: Sequence[str],
    output: Path | None,
    workers: int,
    scheduler: str | None = None,
) -> None:
    """Label geometries of prepared molecules, with progress and problems on the console.

    Parameters
    ----------
    source : Path
        Folder made by ``kstep prep``.
    overrides : sequence of str
        ``key=value``, the fields of :class:`kstep_training.sample.settings.SampleSettings`.
    output : Path or None
        Folder of the shards, by default ``SOURCE_samples``. Run again with the same folder,
        finished ones are kept.
    workers : int
    scheduler : str, optional

    Raises
    ------
    FileNotFoundError
        If there is no prepared molecule.
    ValueError
        If the settings or the folder cannot be used.
    ConnectionError
        If the scheduler does not answer.
    """
    console = Console()
    settings = override(SampleSettings, overrides)
    output = output or Path(f"{source.resolve().name}_samples")
    total, reports = sample(source, output, settings, workers, scheduler)
    ended: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for name, report in followed(reports, "molecules and clusters", total):
        ended[report["status"]] += 1
        sums.update(frames=report["frames"], rearranged=report.get("rearranged", 0))
        if report["status"] != "done":
            problem = f"[yellow]failed[/] {escape(name)}: {escape(report['reason'])}"
            console.print(problem, highlight=False, soft_wrap=True)
    console.print(
        f"{sums['frames']} geometries of {ended['done']} molecules and clusters in "
        f"{escape(str(output))}, {sums['rearranged']} of them with other bonds than named; "
        f"{ended['failed']} failed",
        highlight=False,
        soft_wrap=True,
    )
