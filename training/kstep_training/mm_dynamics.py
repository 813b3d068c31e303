"""Force-field dynamics of one molecule with OpenMM: Langevin equilibration, NVE segments.

A *part* is an equilibration or a segment. It is a function of the last frame of the part before it
and of the seed alone, so that a chain of parts can be cut anywhere and gone on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import openmm

from kstep_integrators import units
from kstep_training.mm_recorder import Recorder
from kstep_training.prepared import Prepared
from kstep_training.trajectory import Trajectory

__all__ = ["MMSettings", "Run", "equilibrate", "segment"]

TOLERANCE = 1e-8
"""Relative, of constrained lengths."""


@dataclass(frozen=True)
class MMSettings:
    """What is simulated of each molecule.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    temperatures: list[float] = field(default_factory=lambda: [300.0])
    """Kelvin."""
    trajectories: int = 4
    """At each temperature, from the conformers in turn."""
    segments: int = 5
    """Of NVE, in each trajectory."""
    timestep_fs: float | None = None
    """Null: 2 fs if bonds with hydrogen are constrained, else 0.5 fs."""
    equilibration_ps: float = 5.0
    refresh_ps: float = 1.0
    """Langevin dynamics between two segments."""
    segment_ps: float = 2.0
    interval_steps: int = 1
    """Steps from frame to frame of a segment; an equilibration keeps about 100 frames."""
    friction_per_ps: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("trajectories", "segments", "interval_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("equilibration_ps", "refresh_ps", "segment_ps", "friction_per_ps"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not self.temperatures or min(self.temperatures) <= 0.0:
            raise ValueError(f"temperatures are {self.temperatures}, expected positive ones, in K")
        if self.timestep_fs is not None and not self.timestep_fs > 0.0:
            raise ValueError(f"timestep_fs is {self.timestep_fs}, expected a positive number")


@dataclass(frozen=True)
class Run:
    """One trajectory.

    Attributes
    ----------
    prepared : Prepared
    prep : dict
        Settings of the stage ``prep``: ``forcefield``, ``constraints`` and more.
    settings : MMSettings
    temperature : float
        Kelvin.
    number : int
        Of the trajectory, from 0.
    """

    prepared: Prepared
    prep: Mapping[str, Any]
    settings: MMSettings
    temperature: float
    number: int

    @property
    def timestep_ps(self) -> float:
        """Of the settings, or what the constraints allow."""
        allowed = 2.0 if self.prep["constraints"] else 0.5
        return (self.settings.timestep_fs or allowed) / 1000.0

    def steps(self, picoseconds: float) -> int:
        """Whole steps, at least one."""
        return max(1, round(picoseconds / self.timestep_ps))

    def seed(self, *stage: int) -> int:
        """A seed for OpenMM, different for every stage of every trajectory."""
        name = self.prepared.name.encode()
        entropy = [self.settings.seed, round(1000 * self.temperature), self.number, *stage, *name]
        return int(np.random.default_rng(entropy).integers(1, 2**31 - 1))


def _velocity_verlet(timestep_ps: float) -> openmm.CustomIntegrator:
    """Velocity Verlet with constraints (RATTLE): positions and velocities of the same time.

    OpenMM's own VerletIntegrator is a leapfrog, whose velocities are half a step behind.
    """
    integrator = openmm.CustomIntegrator(timestep_ps)
    integrator.addPerDofVariable("free", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("free", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m + (x - free)/dt")
    integrator.addConstrainVelocities()
    integrator.setConstraintTolerance(TOLERANCE)
    return integrator


def _langevin(run: Run, seed: int) -> openmm.Integrator:
    integrator = openmm.LangevinMiddleIntegrator(
        run.temperature, run.settings.friction_per_ps, run.timestep_ps
    )
    integrator.setRandomNumberSeed(seed)
    integrator.setConstraintTolerance(TOLERANCE)
    return integrator


def _context(run: Run, integrator: openmm.Integrator) -> openmm.Context:
    # In double precision and reproducible; a molecule of this size gains nothing from the others.
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(run.prepared.system, integrator, platform)


def equilibrate(run: Run) -> Trajectory:
    """Langevin dynamics (LFMiddle) from a conformer and from velocities of the temperature.

    Returns
    -------
    Trajectory
        About 100 frames. Velocities are half a step behind the positions.

    Raises
    ------
    Exploded
        If the molecule becomes ten times as hot as asked for, or not finite.

    Notes
    -----
    Zhang et al., J. Phys. Chem. A 123, 6056 (2019), doi:10.1021/acs.jpca.9b02771.
    """
    context = _context(run, _langevin(run, run.seed(0)))
    starts = run.prepared.conformers
    context.setPositions(starts[run.number % len(starts)].positions / units.NM)
    context.applyConstraints(TOLERANCE)
    context.setVelocitiesToTemperature(run.temperature, run.seed(1))
    recorder = Recorder(context, run.temperature, conserved=False)
    steps = run.steps(run.settings.equilibration_ps)
    recorder.advance(steps, max(1, steps // 100))
    return _trajectory(run, recorder, "equilibration")


def segment(run: Run, before: Trajectory, index: int) -> Trajectory:
    """One segment of NVE, from the end of the part before it.

    Parameters
    ----------
    run : Run
    before : Trajectory
        The equilibration, for segment 0; else the segment before, whose last frame first goes
        through ``refresh_ps`` of Langevin dynamics.
    index : int
        Number of the segment, from 0.

    Returns
    -------
    Trajectory
        Positions and velocities of the same times, which begin at 0; the centre of mass begins at
        the origin. Forces are those of the force field, without those of the constraints.

    Raises
    ------
    Exploded
        If the total energy changes by more than 0.1 eV per atom (by 1 eV, for small molecules), or
        the molecule becomes ten times as hot as asked for, or not finite.
    """
    x, v = before.positions[-1] / units.NM, before.velocities[-1] / units.NM_PER_PS
    if index:
        context = _context(run, _langevin(run, run.seed(2, index)))
        context.setPositions(x)
        context.setVelocities(v)
        refresh = Recorder(context, run.temperature, conserved=False)
        steps = run.steps(run.settings.refresh_ps)
        refresh.advance(steps, max(1, steps // 10))
        x, v, *_ = refresh.rows[-1]
    context = _context(run, _velocity_verlet(run.timestep_ps))
    context.setPositions(x - np.average(x, axis=0, weights=before.masses))
    context.setVelocities(v)
    context.applyConstraints(TOLERANCE)
    context.applyVelocityConstraints(TOLERANCE)
    recorder = Recorder(context, run.temperature, conserved=True)
    recorder.advance(run.steps(run.settings.segment_ps), run.settings.interval_steps)
    return _trajectory(run, recorder, "production", segment=index)


def _trajectory(run: Run, recorder: Recorder, stage: str, **metadata: Any) -> Trajectory:
    prepared = run.prepared
    x, v, f, energies, time = (np.array(column) for column in zip(*recorder.rows, strict=True))
    start = prepared.conformers[0]
    return Trajectory(
        numbers=start.numbers.astype(np.int64),
        masses=recorder.masses,
        positions=x * units.NM,
        velocities=v * units.NM_PER_PS,
        forces=f * units.KJ_PER_MOL_NM,
        energies=energies * units.KJ_PER_MOL,
        temperature=np.full(len(x), run.temperature),
        time=time * units.PS,
        has_label=np.ones(len(x), dtype=bool),
        metadata={
            "method": run.prep["forcefield"],
            "stage": stage,
            "name": prepared.name,
            "smiles": start.info["smiles"],
            "charge": int(start.info["charge"]),
            "constraints": run.prep["constraints"],
            "timestep_fs": 1000.0 * run.timestep_ps,
            "trajectory": run.number,
            "settings": asdict(run.settings),
            "versions": {"openmm": openmm.__version__},
            **metadata,
        },
    )
