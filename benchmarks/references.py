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

from benchmarks.suite import Options, option
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

__all__ = ["CopiesPhysics", "Reference", "ReferenceOptions", "read_references"]

SAME_FORCE = 1e-3
"""eV/angstrom, by which the physics may miss the forces in the data: SCF from another guess."""


@dataclass(frozen=True)
class ReferenceOptions(Options):
    """Folders of reference trajectories."""

    data: tuple[Path, ...] = option((), "folders of trajectories, made by kstep simulate")
    prepared: tuple[Path, ...] = option((), "folders of force fields, made by kstep prep")
    dataset: Path | None = option(None, "made by kstep dataset; its training part is left out")
    molecules: tuple[str, ...] = option((), "only these")
    temperature: float = option(300.0, "K; of the trajectories and of thermostats")

    def references(self) -> list[Reference]:
        """The trajectories that nothing was fitted to."""
        return read_references(
            self.data, self.temperature, self.dataset, self.prepared, self.molecules
        )


@dataclass(frozen=True)
class Reference:
    """NVE frames of one molecule, other trajectories of which may have been trained on.

    The atoms have their bonds of fixed length and no calculator; time steps are from frame to
    frame, segments are rows of :func:`kstep_training.dataset.segments.row_type`.
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

    def physics(self) -> CopiesPhysics:
        """The physics of the data for many copies."""
        atoms = self.atoms.copy()
        atoms.calc = self.calculator()
        return CopiesPhysics(atoms)

    def check(self) -> None:
        """Refuse physics that do not give the forces of the data.

        ValueError: naming the difference.
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
        """Energies and forces of the frames, from the data."""
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


class CopiesPhysics:
    """One calculator for many copies of a molecule, one after the other.

    The atoms have their calculator; constraints do not matter.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.atoms.calc = atoms.calc
        self.evaluations = 0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energies and forces; NaN and a reason for geometries that cannot be computed."""
        began = time.perf_counter()
        evaluation, n = no_evaluation(state), len(self.atoms)
        asked = np.zeros(state.n_molecules, dtype=np.int64)
        for i in range(state.n_molecules):
            if which is not None and not bool(which[i]):
                continue
            rows = slice(i * n, (i + 1) * n)
            self.atoms.positions[:] = state.positions[rows].numpy()
            asked[i] = 1
            answer = ask(self.atoms, forces)
            if answer.failure is not None:
                evaluation.failures[i] = answer.failure
                continue
            evaluation.energy[i] = answer.energy
            if answer.forces is not None:
                evaluation.require_forces()[rows] = torch.from_numpy(answer.forces)
        self.evaluations += int(asked.sum())
        cost = Cost(asked, time.perf_counter() - began)
        if not forces:
            evaluation = Evaluation(evaluation.energy, None, evaluation.failures)
        return evaluation, cost


def read_references(
    folders: Sequence[Path],
    temperature_K: float,
    dataset: Path | None = None,
    prepared: Sequence[Path] = (),
    molecules: Sequence[str] = (),
) -> list[Reference]:
    """NVE trajectories that were not trained on; arguments as of :class:`ReferenceOptions`.

    Trajectories of the training and validation parts of the dataset, known by their names, are left
    out. Without it no molecule counts as trained on.

    ValueError: if nothing is left, or a force field is missing.
    """
    parts: dict[str, str] = {}
    trained: set[str] = set()
    if dataset is not None:
        shards = open_dataset(dataset).shards
        parts = {shard.name: shard.part for shard in shards}
        trained = {shard.molecule for shard in shards if shard.part == "train"}
    references: dict[str, Reference] = {}
    for trajectory, paths in sorted(find_trajectories(folders).items()):
        match = re.fullmatch(r"(.+)\.(\d+(?:\.\d+)?)K\.\d+", trajectory)
        if match is None or float(match[2]) != temperature_K:
            continue
        name, part = match[1], parts.get(trajectory, "unknown")
        if part in ("train", "validation") or (molecules and name not in molecules):
            continue
        for path in paths:
            run = read_npz(path)
            frames = labelled_frames(run, path)
            segments = [frames.rows[a:b] for a, b in frames.segments]
            if segments and name not in references:
                references[name] = _reference(name, name in trained, run, frames, prepared)
            if segments:
                references[name].segments.extend(segments)
    if not references:
        raise ValueError(
            f"no NVE trajectory at {temperature_K:g} K that was not trained on in "
            f"{[str(folder) for folder in folders]}"
        )
    for reference in references.values():
        reference.check()
    return [references[name] for name in sorted(references)]


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
