"""The scheme of a run that learns: its first potential, a better one, and the last."""

from __future__ import annotations

import dataclasses

from kstep_integrators import units
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.learning.adapted import AdaptedPotential
from kstep_integrators.learning.learner import Learner, first_lessons
from kstep_integrators.learning.settings import Learning
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.pace import begin_pace
from kstep_integrators.step.run import Run
from kstep_integrators.step.scheme import Scheme

__all__ = ["begin_learning", "frozen", "rebound", "scheme_with", "under"]


def begin_learning(run: Run, learner: Learner, options: RunOptions) -> Run:
    """The run before its first step, with nothing learned."""
    settings = options.learning or Learning()
    pace = begin_pace(options.first_k, run.scheme.timestep, settings.grow)
    return replaced(run, lessons=first_lessons(learner), pace=pace)


def scheme_with(scheme: Scheme, potential: AdaptedPotential, learning: bool) -> Scheme:
    """The scheme with another potential inside its flow.

    Parameters
    ----------
    scheme : Scheme
    potential : AdaptedPotential
    learning : bool
        Whether forces are wanted as labels.
    """
    jump = FlowJump(potential, scheme.jump.timestep)
    return dataclasses.replace(scheme, jump=jump, label_forces=scheme.label_forces and learning)


def rebound(run: Run, scheme: Scheme, learner: Learner) -> tuple[Run, Scheme]:
    """A run and its scheme, with the potential that its lessons have come to."""
    lessons = run.lessons
    if lessons is None:
        return run, scheme
    last = lessons.grades[-1] if lessons.grades else None
    record = {"labels": lessons.labels, "residual": None if last is None else last.residual}
    potential = learner.potential.with_weights(lessons.weights, record)
    scheme = scheme_with(scheme, potential, lessons.learning)
    point = replaced(run.point, inner=None, correction=None)
    bound = scheme.bind(point.state, run.scheme.physics)
    return replaced(run, point=point, scheme=bound), scheme


def under(run: Run, options: RunOptions, stride: float) -> Run:
    """The run when its user has changed its options.

    Its stride goes on from what it was to the one that is asked for now; or stays, if a Metropolis
    test is asked for and the potential is frozen already.

    Parameters
    ----------
    run : Run
        With the scheme of these options.
    options : RunOptions
    stride : float
        Of now, ASE time units.
    """
    lessons, pace, base = run.lessons, run.pace, run.scheme.timestep
    if lessons is None or pace is None:
        return run
    settings = options.learning or Learning()
    new = begin_pace(options.first_k, base, settings.grow)
    if new.levels != pace.levels:
        short = [i for i, k in enumerate(new.levels) if k * base <= stride * (1.0 + 1e-9)]
        pace = replaced(new, level=max(short, default=0) if settings.grow else new.level)
        run = replaced(run, pace=replaced(pace, step=run.nsteps))
    if lessons.learning or run.scheme.metropolis is None:
        return run
    return replaced(run, k=run.next_k, pace=None, production_start=run.nsteps)


def frozen(run: Run) -> tuple[Run, str]:
    """The run whose potential changes no more; under a Metropolis test, its stride neither."""
    lessons, step = run.lessons, run.nsteps
    assert lessons is not None  # noqa: S101  (asked by the caller)
    run = replaced(run, lessons=replaced(lessons, frozen_at=step, pending=(), held=()))
    said = f"step {step}: {lessons.labels} labels learned, the potential is frozen"
    if run.scheme.metropolis is None:
        return run, said
    k = run.next_k
    run = replaced(run, k=k, pace=None, production_start=step)
    stride = k * run.scheme.timestep / units.FS
    return run, f"{said}, k = {k} ({stride:g} fs) from here on; production starts here"
