"""Baseline data: Langevin trajectories and distorted geometries labelled by GFN-xTB.

One molecule is one task and one shard. A finished shard is never computed again, so an interrupted
run resumes where it stopped; what failed is named with its reason in ``manifest.json`` and the
other molecules go on.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from kstep_integrators import units
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.structures import bonded_pairs
from kstep_training.manifest import open_manifest, write_manifest
from kstep_training.prep import Molecule, conformers
from kstep_training.trajectory import Trajectory, write_npz

__all__ = ["SimulateSettings", "bonds", "sample_molecule", "simulate"]

MAX_FORCE = 40.0
"""Frames with a larger force component (eV/angstrom) carry no useful label."""


@dataclass(frozen=True)
class SimulateSettings:
    """What is sampled per molecule; times in fs, lengths in angstrom, temperatures in K."""

    method: str = "GFN2-xTB"
    temperatures: tuple[float, ...] = (300.0, 500.0, 800.0)
    frames_per_atom: int = 12
    min_frames: int = 60
    max_frames: int = 200
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.02
    equilibration_steps: int = 200
    interval_steps: int = 15
    conformers: int = 4
    distorted_fraction: float = 0.25
    distortions: tuple[float, ...] = (0.05, 0.1, 0.15)
    seed: int = 0


def bonds(atoms: Atoms, scale: float = 1.3) -> frozenset[tuple[int, int]]:
    """Pairs of atoms closer than ``scale`` times the sum of their covalent radii."""
    return frozenset((int(i), int(j)) for i, j in bonded_pairs(atoms, scale))


def _heavy_broken(atoms: Atoms, reference: frozenset[tuple[int, int]]) -> bool:
    """Whether a bond of the reference graph is stretched beyond recognition."""
    return bool(reference - bonds(atoms, scale=1.75))


class _Frames:
    """Grows the arrays of one shard."""

    def __init__(self) -> None:
        self.rows: list[tuple[npt.NDArray[Any], ...]] = []

    def add(self, atoms: Atoms, temperature: float, time: float) -> None:
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
        if np.isfinite(energy) and np.abs(forces).max() < MAX_FORCE:
            self.rows.append(
                (
                    atoms.get_positions(),
                    atoms.get_velocities(),
                    forces,
                    np.array(energy),
                    np.array(temperature),
                    np.array(time),
                )
            )

    def trajectory(self, atoms: Atoms, metadata: dict[str, Any]) -> Trajectory:
        x, v, f, e, temperature, time = (
            np.array(column) for column in zip(*self.rows, strict=True)
        )
        return Trajectory(
            numbers=atoms.numbers.astype(np.int64),
            masses=atoms.get_masses(),
            positions=x,
            velocities=v,
            forces=f,
            energies=e,
            temperature=temperature,
            time=time,
            has_label=np.ones(len(x), dtype=bool),
            metadata=metadata,
        )


def sample_molecule(molecule: Molecule, settings: SimulateSettings) -> Trajectory:
    """Labelled geometries of one molecule.

    From GFN-xTB-relaxed conformers, Langevin dynamics at each temperature of the settings, one
    frame every ``interval_steps``; then copies of random frames with Gaussian displacements of
    every atom. A bond that breaks ends its run (reason in ``metadata["ended_early"]``) and the next
    conformer goes on with what is missing.

    Raises
    ------
    ValueError
        If no frame survives.
    """
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import thermalize_momenta
    from ase.optimize import FIRE

    rng = np.random.default_rng([settings.seed, *molecule.name.encode()])
    starts = conformers(molecule.smiles, settings.conformers, seed=settings.seed)
    n_atoms = len(starts[0])
    wanted = int(
        np.clip(settings.frames_per_atom * n_atoms, settings.min_frames, settings.max_frames)
    )
    frames, ended = _Frames(), list[str]()
    for atoms in starts:
        atoms.calc = xtb_calculator(settings.method, atoms.info.get("charge", 0))
        FIRE(atoms, logfile=None).run(fmax=0.05, steps=300)
        frames.add(atoms, 0.0, 0.0)

    for temperature in settings.temperatures:
        left, attempt = wanted, 0
        per_run = -(-wanted // len(starts))
        while left > 0 and attempt < 4 * len(starts):
            atoms = starts[attempt % len(starts)].copy()
            attempt += 1
            graph = bonds(atoms)
            atoms.calc = xtb_calculator(settings.method, atoms.info.get("charge", 0))
            thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
            dynamics = Langevin(
                atoms,
                settings.timestep_fs * units.FS,
                temperature_K=temperature,
                friction=settings.friction_per_fs / units.FS,
                fixcm=False,
                rng=rng,
            )
            try:
                dynamics.run(settings.equilibration_steps)
                for _ in range(min(left, per_run)):
                    dynamics.run(settings.interval_steps)
                    if _heavy_broken(atoms, graph):
                        ended.append(f"{temperature:g} K: a bond broke")
                        break
                    frames.add(atoms, temperature, dynamics.get_time())
                    left -= 1
            except (CalculationFailed, RuntimeError) as error:
                ended.append(f"{temperature:g} K: {error}")

    if not frames.rows:
        raise ValueError(f"{molecule.name}: no usable frame ({'; '.join(ended) or 'no run'})")
    thermal = len(frames.rows)
    atoms = starts[0].copy()
    atoms.calc = xtb_calculator(settings.method, atoms.info.get("charge", 0))
    for index in rng.integers(0, thermal, size=int(settings.distorted_fraction * thermal)):
        amplitude = rng.choice(settings.distortions)
        atoms.positions = frames.rows[index][0] + rng.normal(0.0, amplitude, (n_atoms, 3))
        atoms.set_momenta(np.zeros((n_atoms, 3)))
        try:
            frames.add(atoms, 0.0, 0.0)
        except (CalculationFailed, RuntimeError) as error:
            ended.append(f"distorted: {error}")
    metadata = {
        "method": settings.method,
        "name": molecule.name,
        "smiles": molecule.smiles,
        "ended_early": ended,
        "settings": asdict(settings),
        "versions": {"python": platform.python_version(), "tblite": _tblite_version()},
    }
    return frames.trajectory(starts[0], metadata)


def _tblite_version() -> str:
    from importlib.metadata import version

    return version("tblite")


def _task(job: tuple[Molecule, SimulateSettings, Path]) -> tuple[str, dict[str, Any]]:
    molecule, settings, folder = job
    try:
        trajectory = sample_molecule(molecule, settings)
    except Exception as error:  # noqa: BLE001  (a worker reports; the others go on)
        return molecule.name, {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    write_npz(folder / f"{molecule.name}.npz", trajectory)
    return molecule.name, {
        "status": "done",
        "frames": len(trajectory),
        "ended_early": trajectory.metadata["ended_early"],
    }


def simulate(
    molecules: Sequence[Molecule],
    folder: str | Path,
    settings: SimulateSettings,
    workers: int = 1,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sample every molecule into ``folder/NAME.npz``, several at a time.

    Parameters
    ----------
    molecules : sequence of Molecule
    folder : path
        Finished shards in it are kept and skipped, if they were made with the same settings.
    settings : SimulateSettings
    workers : int
        Processes, each with one OpenMP thread: small molecules gain nothing from more.

    Yields
    ------
    name, report : str, dict
        As each molecule ends; the reports are also kept in ``folder/manifest.json``.

    Raises
    ------
    ValueError
        If the folder holds shards made with other settings.
    """
    folder = Path(folder)
    manifest = open_manifest(folder, settings)
    todo = []
    for molecule in molecules:
        if (folder / f"{molecule.name}.npz").exists():
            yield molecule.name, manifest["molecules"].get(molecule.name, {"status": "done"})
        else:
            todo.append((molecule, settings, folder))
    if not todo:
        return
    # The OpenMP runtime reads its thread count once, when tblite is imported in the worker.
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for name, report in pool.imap_unordered(_task, todo):
            manifest["molecules"][name] = report
            write_manifest(folder, manifest)
            yield name, report
