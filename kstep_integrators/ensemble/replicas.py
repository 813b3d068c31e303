"""What became of each molecule of an ensemble, in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory, write

from kstep_integrators.state import Carry
from kstep_integrators.step.stats import Stats

__all__ = ["EnsembleResult", "Replica", "ReplicaFiles", "atoms_of"]


@dataclass(frozen=True)
class Replica:
    """One molecule of an ensemble.

    Attributes
    ----------
    atoms : ase.Atoms
        Its last state, with the physical energy and forces that are known there. The time
        travelled is in ``atoms.info["time"]`` (ASE units).
    stats : Stats
        Its own; wall-clock times are its share of those of the batch.
    transferred_energy : float
        Heat that the thermostat has put in, eV.
    failure : str or None
        Why it could not go on to the end; None if it did.
    """

    atoms: Atoms
    stats: Stats
    transferred_energy: float = 0.0
    failure: str | None = None


@dataclass(frozen=True)
class EnsembleResult:
    """What became of an ensemble.

    Attributes
    ----------
    replicas : tuple of Replica
        In the order of the molecules given.
    """

    replicas: tuple[Replica, ...]

    @property
    def failures(self) -> dict[int, str]:
        """Replicas that did not go on to the end, and why."""
        return {
            number: replica.failure
            for number, replica in enumerate(self.replicas)
            if replica.failure is not None
        }

    @property
    def physics_evaluations(self) -> int:
        """Of all replicas."""
        return sum(replica.stats.physics_evaluations for replica in self.replicas)

    @property
    def jump_seconds(self) -> float:
        """Wall-clock time in jumps."""
        return sum(replica.stats.jump_seconds for replica in self.replicas)

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time in physics evaluations."""
        return sum(replica.stats.physics_seconds for replica in self.replicas)


def atoms_of(carry: Carry, templates: Sequence[Atoms]) -> list[Atoms]:
    """The molecules of a carry as Atoms, with what the physics found there.

    Parameters
    ----------
    carry : Carry
    templates : sequence of ase.Atoms
        One for each molecule: constraints, info and arrays are theirs.
    """
    state = carry.state.to(torch.device("cpu"))
    physics = carry.physics.to(torch.device("cpu"))
    sizes = torch.bincount(state.batch).tolist()
    positions, momenta = state.positions.split(sizes), state.momenta.split(sizes)
    forces = [None] * len(sizes) if physics.forces is None else physics.forces.split(sizes)
    made = []
    for i, template in enumerate(templates):
        atoms = template.copy()
        atoms.set_positions(positions[i].numpy(), apply_constraint=False)
        atoms.set_momenta(momenta[i].numpy(), apply_constraint=False)
        atoms.info["time"] = float(state.time[i])
        known = {"energy": float(physics.energy[i])}
        if np.isfinite(known["energy"]):
            mine = forces[i]
            found = {} if mine is None else {"forces": mine.numpy().copy()}
            atoms.calc = SinglePointCalculator(atoms, **known, **found)
        made.append(atoms)
    return made


class ReplicaFiles:
    """One ASE trajectory for each replica, whole after every frame.

    Parameters
    ----------
    folder : str or Path
        Made if need be; it gets ``0000.traj``, ``0001.traj``, ...
    count : int
        Replicas.

    Raises
    ------
    FileExistsError
        If the folder holds trajectories of an earlier run.
    """

    def __init__(self, folder: str | Path, count: int) -> None:
        self.folder = Path(folder)
        digits = max(4, len(str(count - 1)))
        self.paths = [self.folder / f"{number:0{digits}}.traj" for number in range(count)]
        self.folder.mkdir(parents=True, exist_ok=True)
        old = sorted(path.name for path in self.folder.glob("*.traj"))
        if old:
            raise FileExistsError(
                f"the folder {self.folder} holds trajectories already ({', '.join(old[:5])}); "
                "give another one, or move them away"
            )

    def add(self, replica: int, atoms: Atoms) -> None:
        """Append a frame."""
        # Opened for each frame: no limit on the number of replicas, and nothing left to lose.
        with Trajectory(self.paths[replica], "a") as trajectory:
            trajectory.write(atoms)

    def restart(self, replica: int, atoms: Atoms) -> Path:
        """Write the last good state of a replica that cannot go on, beside its trajectory."""
        path = self.paths[replica].with_suffix(".restart.traj")
        write(path, atoms)
        return path
