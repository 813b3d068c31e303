"""A run of one or many molecules, and one step of it: all that changes from step to step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from kstep_integrators import units
from kstep_integrators.fields import GLOBAL, MOLECULE, PARTS, Layout, replaced, scoped, select
from kstep_integrators.learning.lessons import Lessons
from kstep_integrators.mechanics.bond_watch import Topology, bond_changes, find_bonds
from kstep_integrators.mechanics.scaled_bodies import cell_volume
from kstep_integrators.physics.counting import Meter
from kstep_integrators.physics.protocol import Physics
from kstep_integrators.state import PhasePoint, PhaseState, Reasons, kinetic_energy, mask_of
from kstep_integrators.step.arrival import first_point, verified
from kstep_integrators.step.barostat import Barostat, VolumeMoves, begin_moves, try_volume
from kstep_integrators.step.info import StepInfo, split_info
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.pace import Pace, begin_pace, next_pace, trouble_of
from kstep_integrators.step.scheme import BoundScheme, Scheme
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.stepper import step
from kstep_integrators.step.tuning import BurnIn, begin_tuning
from kstep_integrators.thermostats.noise import Noise

__all__ = ["Run", "advance", "begin", "moved_to", "under_barostat"]


@dataclass(frozen=True)
class Run:
    """A run between two steps.

    Attributes
    ----------
    scheme : BoundScheme
        The parts of its steps; no matter of a checkpoint, which keeps the options instead.
    point : PhasePoint
        Where it stands, and what is known there.
    bonds : Topology
        Those of the point, but for changes that have been reported.
    k : int
        Base steps of a stride, once a burn-in is over.
    burn_in : BurnIn or None
        While the stride is being tuned.
    stats : tuple of B Stats
    heat : tuple of B float
        Heat that the thermostat has put into each molecule, and what moves of the volume have
        changed its energy by, eV.
    molecules : tuple of B int
        Number of each molecule among those that the run began with.
    nsteps : int
    production_start : int or None
        Step at which the stride was frozen after a burn-in.
    verdict : Verdict or None
        Of the last step under a Metropolis test.
    lessons : Lessons or None
        What has been learned, in a run that learns.
    pace : Pace or None
        The stride of such a run, until it is frozen.
    volume : VolumeMoves or None
        Moves of the volume, in a run with a barostat.
    """

    scheme: BoundScheme = scoped(GLOBAL)
    point: PhasePoint = scoped(PARTS)
    bonds: Topology = scoped(PARTS)
    k: int = scoped(GLOBAL)
    burn_in: BurnIn | None = scoped(GLOBAL)
    stats: tuple[Stats, ...] = scoped(MOLECULE)
    heat: tuple[float, ...] = scoped(MOLECULE)
    molecules: tuple[int, ...] = scoped(MOLECULE)
    nsteps: int = scoped(GLOBAL, default=0)
    production_start: int | None = scoped(GLOBAL, default=None)
    verdict: Verdict | None = scoped(PARTS, default=None)
    lessons: Lessons | None = scoped(GLOBAL, default=None)
    pace: Pace | None = scoped(GLOBAL, default=None)
    volume: VolumeMoves | None = scoped(PARTS, default=None)

    @property
    def next_k(self) -> int:
        """Base steps of the next stride."""
        if self.burn_in is not None:
            return self.burn_in.k
        return self.k if self.pace is None else self.pace.k

    def charged(self, meter: Meter) -> Run:
        """The run with evaluations counted that no step has reported."""
        shares = zip(self.stats, meter.evaluations.tolist(), strict=True)
        seconds = meter.seconds / len(self.stats)
        return replaced(self, stats=tuple(one.charged(made, seconds) for one, made in shares))

    def without(self, lost: Reasons, scheme: Scheme, physics: Physics) -> Run:
        """The run of the molecules that are left, with their own physics; at least one."""
        keep = ~mask_of(lost, self.point.physics.energy)
        left = select(self, Layout(keep, self.point.state.batch))
        return replaced(left, scheme=scheme.bind(left.point.state, physics))


def begin(state: PhaseState, scheme: BoundScheme, options: RunOptions) -> Run:
    """Evaluate the physics at the first state of a run.

    Molecules that have no energy there are in ``point.physics.failures``.
    """
    meter = Meter(scheme.physics, state.n_molecules)
    point = first_point(state, scheme, meter, _first_k(options, scheme.timestep) * scheme.timestep)
    count = state.n_molecules
    run = Run(
        scheme=scheme,
        point=point,
        bonds=find_bonds(state),
        k=options.first_k,
        burn_in=None if options.tuning is None else begin_tuning(options.tuning),
        stats=(Stats(),) * count,
        heat=(0.0,) * count,
        molecules=tuple(range(count)),
        volume=None if scheme.barostat is None else begin_moves(scheme.barostat, state),
    )
    return _weighed(run.charged(meter))


def _first_k(options: RunOptions, timestep: float) -> int:
    """Base steps of the first stride."""
    learning = options.learning
    if learning is None:
        return options.first_k
    return begin_pace(options.first_k, timestep, learning.grow).k


def moved_to(run: Run, state: PhaseState, scheme: BoundScheme) -> Run:
    """The run at a state that its user has set: evaluated there, its bonds found anew."""
    meter = Meter(scheme.physics, state.n_molecules)
    point = first_point(state, scheme, meter, run.next_k * scheme.timestep)
    volume, barostat = run.volume, scheme.barostat
    if volume is not None and barostat is not None:  # bodies may have been wrapped, or be others
        volume = replaced(volume, bodies=begin_moves(barostat, state).bodies)
    pace = None if run.pace is None else replaced(run.pace, energies=())
    moved = replaced(run, scheme=scheme, point=point, bonds=find_bonds(state), volume=volume)
    moved = replaced(moved, pace=pace)
    return _weighed(moved.charged(meter))


def under_barostat(run: Run, before: Barostat | None) -> Run:
    """The run whose user may have changed its barostat: sizes of moves are adapted anew then."""
    barostat = run.scheme.barostat
    if barostat == before:
        return run
    if barostat is not None:
        stats = tuple(dataclasses.replace(one, volume_frozen=None) for one in run.stats)
        moves = begin_moves(barostat, run.point.state)
        return _weighed(replaced(run, volume=moves, stats=stats))
    nothing: dict[str, Any] = {"volume": None, "density": None, "volume_frozen": None}
    stats = tuple(dataclasses.replace(one, **nothing) for one in run.stats)
    return replaced(run, volume=None, stats=stats)


def advance(run: Run, rng: Noise, meter: Meter) -> tuple[Run, list[StepInfo], Reasons]:
    """One step of a run.

    Parameters
    ----------
    run : Run
    rng : Noise
    meter : Meter
        Of the physics of its scheme. If the step is interrupted, it says what has been spent.

    Returns
    -------
    Run
        Molecules that were lost are where they were; their statistics have the reason.
    list of StepInfo
        Of each molecule; ``lost`` has those that cannot go on.
    dict of int to str
        Bonds that broke or formed, in which molecules.

    Raises
    ------
    ValueError
        If the thermostat cannot act on the state.
    """
    point, info = step(run.point, run.scheme, run.next_k, rng, meter)
    interval = run.scheme.verify_interval
    if interval and (run.nsteps + 1) % interval == 0:
        info = replaced(info, estimate_error=verified(point, run.scheme))
    bonds, changes = bond_changes(run.bonds, point.state)
    parts = split_info(info, point.state.batch, len(run.stats))
    stats, heat = list(run.stats), list(run.heat)
    for i, part in enumerate(parts):
        if part.lost:
            spent = 0 if part.evaluations is None else int(part.evaluations.sum())
            one = stats[i].charged(spent, part.physics_seconds)
            stats[i] = dataclasses.replace(one, last_problem=part.reason)
            continue
        stats[i] = stats[i].add(part, bonds_changed=i in changes)
        if part.heat is not None:
            heat[i] += float(part.heat[0])
    k, burn_in, production_start = run.k, run.burn_in, run.production_start
    if burn_in is not None and info.verdict is not None:
        evaluations = 0 if info.evaluations is None else int(info.evaluations.sum())
        burn_in = burn_in.add(info.verdict, evaluations)
        if burn_in.over:
            k, burn_in, production_start = burn_in.best, None, run.nsteps + 1
    pace = run.pace
    if pace is not None:
        rule, last = run.scheme.metropolis, point.correction
        stride = run.next_k * run.scheme.timestep
        force = info.residual if run.scheme.corrector.needs_forces else None
        if last is not None:
            force = last.force
        kelvin = None if rule is None else rule.temperature_K
        trouble = trouble_of(info, point.state, stride, force, kelvin)
        energy = None
        if force is not None and rule is None and not info.lost:
            conserved = float((point.potential_energy + kinetic_energy(point.state)).sum())
            energy = (conserved - sum(heat)) / len(point.state.numbers)
        pace = next_pace(pace, trouble, run.nsteps + 1, energy, run.scheme.timestep)
    after = replaced(
        run,
        point=point,
        bonds=bonds,
        k=k,
        burn_in=burn_in,
        stats=tuple(stats),
        heat=tuple(heat),
        nsteps=run.nsteps + 1,
        production_start=production_start,
        verdict=info.verdict,
        pace=pace,
    )
    if run.volume is not None and not info.lost:
        after = _with_volume(after, run.volume, rng, meter)
    return after, parts, changes


def _with_volume(run: Run, moves: VolumeMoves, rng: Noise, meter: Meter) -> Run:
    """The run after the move of the volume that is due, if one is."""
    scheme, point, barostat = run.scheme, run.point, run.scheme.barostat
    if barostat is None or run.nsteps % barostat.interval:
        return run
    spent, seconds = meter.evaluations, meter.seconds
    there, moved, failure = try_volume(point, barostat, moves, rng, meter, scheme.needs_forces)
    (stats,), (heat,) = run.stats, run.heat
    stats = stats.charged(int((meter.evaluations - spent).sum()), meter.seconds - seconds)
    stats = stats.with_volume_move(there is not None, failure)
    if moved.frozen and not moves.frozen:
        stats = dataclasses.replace(stats, volume_frozen=run.nsteps)
    if there is not None:
        heat += float(there.physics.energy[0] - point.physics.energy[0])
        run = replaced(run, point=there, scheme=scheme.at(there.state))
    return _weighed(replaced(run, stats=(stats,), heat=(heat,), volume=moved))


def _weighed(run: Run) -> Run:
    """The run with volume and density of its cell in the statistics, if it has a barostat."""
    if run.volume is None:
        return run
    state = run.point.state
    volume, mass = cell_volume(state.cell[0]), float(state.masses.sum())
    (stats,) = run.stats
    stats = dataclasses.replace(stats, volume=volume, density=mass / volume / units.G_PER_CM3)
    return replaced(run, stats=(stats,))
