"""The results of an ensemble, and its molecules as Atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.state import PhasePoint
from kstep_integrators.step.stats import Stats

__all__ = ["EnsembleResult", "Replica", "atoms_of"]


@dataclass(frozen=True)
class Replica:
    """One molecule of an ensemble.

    Attributes
    ----------
    atoms : ase.Atoms
        Its last state, with the physical energy and forces that are known there. The time
        travelled is in ``atoms.info["time"]`` (ASE units, as ``"time_unit"`` says), and the
        temperature of its heat bath in ``atoms.info["temperature_K"]`` where replicas have
        different ones.
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
    """The results of an ensemble.

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


def atoms_of(point: PhasePoint, templates: Sequence[Atoms]) -> list[Atoms]:
    """The molecules of a point as Atoms, with the physical energies and forces there.

    Parameters
    ----------
    point : PhasePoint
    templates : sequence of ase.Atoms
        One for each molecule: constraints, info and arrays are theirs.
    """
    state = point.state.to(torch.device("cpu"))
    physics = point.physics.to(torch.device("cpu"))
    sizes = torch.bincount(state.batch).tolist()
    positions, momenta = state.positions.split(sizes), state.momenta.split(sizes)
    forces = [None] * len(sizes) if physics.forces is None else physics.forces.split(sizes)
    estimated = point.estimated.tolist()
    made = []
    for i, template in enumerate(templates):
        atoms = template.copy()
        atoms.set_positions(positions[i].numpy(), apply_constraint=False)
        atoms.set_momenta(momenta[i].numpy(), apply_constraint=False)
        atoms.info.update(time=float(state.time[i]), time_unit="ase")
        if state.bath_kelvin is not None:
            atoms.info["temperature_K"] = float(state.bath_kelvin[i])
        known = {"energy": float(physics.energy[i])}
        if np.isfinite(known["energy"]):
            mine = forces[i]
            results = {} if mine is None else {"forces": mine.numpy().copy()}
            atoms.calc = SinglePointCalculator(atoms, **known, **results)
            note_estimates(atoms, estimated[i])
        made.append(atoms)
    return made
