"""Checkpoints of an ensemble: its run, and the replicas that were lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.ase.checkpoint import Checkpoint
from kstep_integrators.ase.outputs import Marks
from kstep_integrators.ensemble.replicas import Replica
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run

__all__ = ["lost_replicas", "snapshot"]


def snapshot(
    run: Run,
    options: RunOptions,
    templates: Sequence[Atoms],
    replicas: Sequence[Replica],
    generators: Sequence[np.random.Generator],
    settings: dict[str, Any],
    jump: dict[str, Any],
    physics: dict[str, str],
    marks: tuple[Marks, ...],
) -> Checkpoint:
    """Everything that an ensemble goes on from.

    Parameters
    ----------
    run : Run
        Of the replicas that are left.
    options : RunOptions
    templates, replicas : sequence
        One for each molecule that the run began with.
    generators : sequence of numpy.random.Generator
        Of the replicas that are left, and of replica exchange.
    settings : dict
        As in :class:`~kstep_integrators.ase.checkpoint.Checkpoint`.
    jump : dict
        Record of it.
    physics : dict of str to str
        Settings of the physics.
    marks : tuple of Marks
        Of the files of each molecule.
    """
    lost = {
        number: {
            "failure": one.failure,
            "stats": one.stats,
            "heat": one.transferred_energy,
            "results": dict(one.atoms.calc.results) if one.atoms.calc is not None else {},
        }
        for number, one in enumerate(replicas)
        if one.failure is not None
    }
    atoms = tuple(
        template if one.failure is None else one.atoms
        for template, one in zip(templates, replicas, strict=True)
    )
    return Checkpoint(
        run=run,
        options=options,
        atoms=tuple(one.copy() for one in atoms),
        results={},
        generators=tuple(rng.bit_generator.state for rng in generators),
        nsteps=run.nsteps,
        settings=settings,
        jump=jump,
        physics=physics,
        marks=marks,
        lost=lost,
    )


def lost_replicas(kept: Checkpoint) -> dict[int, Replica]:
    """Replicas of a checkpoint that could not go on, by their numbers."""
    replicas = {}
    for number, one in kept.lost.items():
        atoms = kept.atoms[number].copy()
        atoms.calc = SinglePointCalculator(atoms, **one["results"]) if one["results"] else None
        replicas[number] = Replica(atoms, one["stats"], one["heat"], one["failure"])
    return replicas
