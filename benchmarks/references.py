"""Reference trajectories that nothing was fitted to, with the physics that made them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.constraints import FixBondLengths
from torch import Tensor

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import (
    OpenMMCalculator,
    PySCFCalculator,
    fixed_bonds,
    xtb_calculator,
)
from kstep_integrators.calculators.semiempirical import METHODS
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.physics.calculation import ask
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, PhaseState, no_evaluation
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.internal_coordinates import internal_coordinates
from kstep_training.dataset.make_dataset import find_trajectories
from kstep_training.dataset.segments import labelled_frames
from kstep_training.prep.prepared import read_prepared
from kstep_training.trajectory import read_npz

__all__ = ["Reference", "WindowPhysics", "read_references"]

SAME_FORCE = 1e-3
"""eV/angstrom, by which the physics may miss the forces in the data: SCF from another guess."""


@dataclass(frozen=True)
class Reference:
    """NVE frames of one molecule.

    Attributes
    ----------
    name : str
    trained : bool
        Whether other trajectories of it were trained on.
    atoms : ase.Atoms
        With its bonds of fixed length, if it has any; without calculator.
    method : str
    timestep_fs : float
        From frame to frame.
    segments : list of numpy.ndarray
        Rows of :func:`kstep_training.dataset.segments.row_type`.
    coordinates : dict
        ``bonds`` and ``angles``.
    system : openmm.System or None
    """

    name: str
    trained: bool
    atoms: Atoms
    method: str
    timestep_fs: float
    coordinates: dict[str, list[list[int]]]
    system: Any
    segments: list[npt.NDArray[np.void]] = field(default_factory=list)

    def calculator(self) -> Any:
        """A new calculator of the physics of the data."""
        charge = int(self.atoms.info["charge"])
        if self.system is not None:
            return OpenMMCalculator(self.system)
        if self.method in METHODS:
            return xtb_calculator(self.method, charge=charge)
        xc, basis = self.method.split("/")
        method, functional = ("hf", None) if xc == "hf" else (None, xc)
        return PySCFCalculator(method, xc=functional, basis=basis, charge=charge)

    def check(self) -> None:
        """Refuse physics that do not give the forces of the data.

        Raises
        ------
        ValueError
            Naming the difference.
        """
        row = self.segments[0][0]
        atoms = self.atoms.copy()
        atoms.set_constraint()
        atoms.positions[:] = row["positions"]
        atoms.calc = self.calculator()
        worst = float(np.abs(atoms.get_forces() - row["forces"]).max())
        if not worst < SAME_FORCE:
            raise ValueError(
                f"{self.name}: forces of {self.method} differ from those of the data by "
                f"{worst:.2g} eV/A; was it made with another method or force field?"
            )

    def state(self, rows: npt.NDArray[np.void]) -> PhaseState:
        """Frames as one state of many molecules."""
        states = []
        for row in rows:
            atoms = self.atoms.copy()
            atoms.positions[:] = row["positions"]
            atoms.set_velocities(row["velocities"])
            states.append(state_from_atoms(atoms))
        return join_states(states)

    def evaluation(self, rows: npt.NDArray[np.void]) -> Evaluation:
        """What the data knows of them."""
        forces = torch.from_numpy(np.concatenate(list(rows["forces"])))
        return Evaluation(torch.from_numpy(rows["energy"].copy()), forces)

    def windows(self, k: int, count: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        """Up to ``count`` pairs of frames k steps apart, spread evenly over the segments."""
        pairs = [(s, i) for s in self.segments for i in range(len(s) - k)]
        if not pairs:
            raise ValueError(f"{self.name} has no segment of more than {k} steps")
        chosen = np.unique(np.linspace(0, len(pairs) - 1, count).round().astype(int))
        starts = np.array([pairs[i][0][pairs[i][1]] for i in chosen])
        ends = np.array([pairs[i][0][pairs[i][1] + k] for i in chosen])
        return starts, ends


class WindowPhysics:
    """One calculator for many copies of a molecule, one after the other.

    Parameters
    ----------
    reference : Reference
    """

    def __init__(self, reference: Reference) -> None:
        self.atoms = reference.atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = reference.calculator()
        self.evaluations = 0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energies and forces; NaN and a reason for geometries that cannot be computed."""
        began = time.perf_counter()
        found = no_evaluation(state)
        energy, force = found.energy, found.forces
        failures = {}
        evaluations = np.zeros(state.n_molecules, dtype=np.int64)
        n = len(self.atoms)
        for i in range(state.n_molecules):
            if which is not None and not bool(which[i]):
                continue
            rows = slice(i * n, (i + 1) * n)
            self.atoms.positions[:] = state.positions[rows].numpy()
            evaluations[i] = 1
            answer = ask(self.atoms, True)
            if answer.failure is not None or answer.forces is None:
                failures[i] = str(answer.failure)
                continue
            energy[i] = answer.energy
            if force is not None:
                force[rows] = torch.from_numpy(answer.forces)
        cost = Cost(evaluations, time.perf_counter() - began)
        self.evaluations += int(evaluations.sum())
        return Evaluation(energy, force, failures), cost


def read_references(
    folders: Sequence[Path],
    temperature_K: float,
    dataset: Path | None = None,
    prepared: Sequence[Path] = (),
    molecules: Sequence[str] = (),
) -> list[Reference]:
    """NVE trajectories that were not trained on.

    Parameters
    ----------
    folders : sequence of Path
        Made by ``kstep simulate``.
    temperature_K : float
        Others are left out.
    dataset : Path, optional
        Made by ``kstep dataset``: trajectories of its training and validation parts, known by
        their names, are left out. Without it no molecule counts as trained on.
    prepared : sequence of Path
        Made by ``kstep prep``: force fields of trajectories that were made with one.
    molecules : sequence of str
        Only these, if any.

    Raises
    ------
    ValueError
        If nothing is left, or a force field is missing.
    """
    parts: dict[str, str] = {}
    trained: set[str] = set()
    if dataset is not None:
        shards = open_dataset(dataset).shards
        parts = {shard.name: shard.part for shard in shards}
        trained = {shard.molecule for shard in shards if shard.part == "train"}
    found: dict[str, Reference] = {}
    for trajectory, paths in sorted(find_trajectories(folders).items()):
        match = re.fullmatch(r"(.+)\.(\d+(?:\.\d+)?)K\.\d+", trajectory)
        if match is None or float(match[2]) != temperature_K:
            continue
        name, part = match[1], parts.get(trajectory, "unknown")
        if part in ("train", "validation"):
            continue
        if molecules and name not in molecules:
            continue
        for path in paths:
            run = read_npz(path)
            frames = labelled_frames(run, path)
            segments = [frames.rows[a:b] for a, b in frames.segments]
            if segments and name not in found:
                found[name] = _reference(name, name in trained, run, frames, prepared)
            if segments:
                found[name].segments.extend(segments)
    if not found:
        raise ValueError(
            f"no NVE trajectory at {temperature_K:g} K that was not trained on in "
            f"{[str(folder) for folder in folders]}"
        )
    for reference in found.values():
        reference.check()
    return [found[name] for name in sorted(found)]


def _reference(
    name: str, trained: bool, run: Any, frames: Any, prepared: Sequence[Path]
) -> Reference:
    method, charge = str(run.metadata["method"]), int(run.metadata["charge"])
    lowest = frames.rows[int(frames.rows["energy"].argmin())]["positions"]
    atoms = Atoms(run.numbers, positions=lowest, masses=run.masses, info={"charge": charge})
    system = None
    if method not in METHODS and "/" not in method:
        homes = [folder / name for folder in prepared if (folder / name / "system.xml").is_file()]
        if not homes:
            raise ValueError(
                f"{name} was simulated with {method}; give the folder of its force field with "
                "--prepared"
            )
        system = read_prepared(homes[0]).system
    if run.metadata.get("constraints"):
        constraint: FixBondLengths = fixed_bonds(system)
        atoms.set_constraint(constraint)
    return Reference(
        name, trained, atoms, method, frames.timestep_fs,
        internal_coordinates(run.numbers, lowest), system,
    )  # fmt: skip
