"""The parts of a trajectory: equilibration, segments, distorted copies of their frames.

A part is a function of the last frame of the part before it and of the seed alone, so that a chain
of parts can be cut anywhere and gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_training.simulate.ase_dynamics import ASEEngine
from kstep_training.simulate.engine import Array, Engine, Frame, Run, TrajectoryEnded
from kstep_training.simulate.mm_dynamics import MMEngine
from kstep_training.simulate.recorder import Recorder
from kstep_training.trajectory import Trajectory

__all__ = ["distorted", "equilibrate", "segment"]

MAX_FORCE = 40.0
"""Distorted copies with a larger force component (eV/angstrom) have no useful label."""


def _engine(run: Run) -> Engine:
    return MMEngine(run) if run.settings.physics == "mm" else ASEEngine(run)


def _recorder(run: Run, engine: Engine, start: Array, conserved: bool = False) -> Recorder:
    numbers = run.prepared.conformers[0].numbers.astype(np.int64)
    return Recorder(engine, run.temperature, numbers, start, conserved)


def equilibrate(run: Run) -> Trajectory:
    """Langevin dynamics from a relaxed conformer and from velocities of the temperature.

    Returns
    -------
    Trajectory
        About 100 frames, first that of the relaxed conformer. With ``mm``, velocities are half a
        step behind the positions.

    Raises
    ------
    TrajectoryEnded
        If the molecule becomes ten times as hot as asked for, or not finite, if one of its bonds
        breaks, or if forces cannot be computed.
    """
    engine = _engine(run)
    start = engine.relaxed(run.number % len(run.prepared.conformers))
    velocities = engine.thermal(start, run.seed(1))
    engine.langevin(start, velocities, run.settings.friction_per_ps, run.seed(0))
    recorder = _recorder(run, engine, start)
    steps = run.steps(run.settings.equilibration_ps)
    interval = max(1, steps // 100)
    recorder.advance(steps, interval)
    return _trajectory(run, engine, recorder.frames, "equilibration", interval)


def segment(run: Run, start: Array, before: Trajectory, index: int) -> Trajectory:
    """One segment of production, from the end of the part before it.

    Parameters
    ----------
    run : Run
    start : (n_atoms, 3) angstrom
        First positions of the equilibration.
    before : Trajectory
        The equilibration, for segment 0; else the segment before. Langevin segments go on from its
        last frame, NVE segments from where ``refresh_ps`` of Langevin dynamics has led from there.
    index : int
        Number of the segment, from 0.

    Returns
    -------
    Trajectory
        Times begin at 0, and the centre of mass at the origin; it may move and the molecule may
        turn, with the momenta that the thermostat gave them. In NVE, positions and velocities are
        of the same times. Forces are without those of the constraints.

    Raises
    ------
    TrajectoryEnded
        As for :func:`equilibrate`; in NVE also if the total energy changes by more than 0.1 eV per
        atom (by 1 eV, for small molecules).
    """
    settings, engine = run.settings, _engine(run)
    nve = settings.production == "nve"
    x, v = before.positions[-1], before.velocities[-1]
    if index and nve:
        engine.langevin(x, v, settings.friction_per_ps, run.seed(2, index))
        refresh = _recorder(run, engine, start)
        steps = run.steps(settings.refresh_ps)
        refresh.advance(steps, max(1, steps // 10))
        x, v = refresh.frames[-1].positions, refresh.frames[-1].velocities
    x = x - np.average(x, axis=0, weights=engine.masses)
    if nve:
        engine.verlet(x, v)
    else:
        engine.langevin(x, v, settings.production_friction_per_ps, run.seed(3, index))
    recorder = _recorder(run, engine, start, conserved=nve)
    # Whole intervals: frames of production are equally far apart.
    interval = settings.interval_steps
    recorder.advance(-(-run.steps(settings.segment_ps) // interval) * interval, interval)
    return _trajectory(run, engine, recorder.frames, "production", interval, segment=index)


def distorted(run: Run, production: Sequence[Trajectory]) -> Trajectory | None:
    """Labelled copies of random frames with a Gaussian displacement of every coordinate.

    Parameters
    ----------
    run : Run
    production : sequence of Trajectory
        The segments of the run.

    Returns
    -------
    Trajectory or None
        Velocities, temperatures and times are zero. Copies whose forces are beyond ``MAX_FORCE`` or
        cannot be computed are left out; None if no copy is left.
    """
    settings, engine = run.settings, _engine(run)
    rng = np.random.default_rng(run.seed(4))
    x = np.concatenate([segment.positions for segment in production])
    kept = []
    for index in rng.integers(0, len(x), size=round(settings.distorted_fraction * len(x))):
        shift = rng.normal(0.0, rng.choice(settings.distortions), x[index].shape)
        try:
            frame = engine.label(x[index] + shift)
        except TrajectoryEnded:
            continue
        if np.isfinite(frame.energy) and np.abs(frame.forces).max() < MAX_FORCE:
            kept.append(frame)
    if not kept:
        return None
    return _trajectory(run, engine, kept, "distorted", 0)


def _trajectory(
    run: Run, engine: Engine, frames: Sequence[Frame], stage: str, interval: int, **more: Any
) -> Trajectory:
    prepared = run.prepared
    x, v, f, energies, time = (np.array(column) for column in zip(*frames, strict=True))
    first = prepared.conformers[0]
    temperature = 0.0 if stage == "distorted" else run.temperature
    return Trajectory(
        numbers=first.numbers.astype(np.int64),
        masses=engine.masses,
        positions=x,
        velocities=v,
        forces=f,
        energies=energies,
        temperature=np.full(len(x), temperature),
        time=time,
        has_label=np.ones(len(x), dtype=bool),
        metadata={
            "method": engine.method,
            "stage": stage,
            "name": prepared.name,
            "smiles": first.info["smiles"],
            "charge": int(first.info["charge"]),
            "multiplicity": int(first.info.get("multiplicity", 1)),
            "constraints": run.constraints,
            "timestep_fs": 1000.0 * run.timestep_ps,
            "interval_steps": interval,
            "trajectory": run.number,
            "settings": asdict(run.settings),
            "versions": dict(engine.versions),
            **more,
        },
    )
