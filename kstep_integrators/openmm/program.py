"""One step as the program of a CustomIntegrator: O C J C O, or O { C J C } O.

Between steps the integrator keeps, in its own variables, what it knows at the positions where it
stands: the physical forces, the correcting ones, the energy. Checkpoints and states hold them, and
a step asks first whether they still belong to the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kstep_integrators import units
from kstep_integrators.control import Guard
from kstep_integrators.openmm import stages
from kstep_integrators.openmm.words import Words

__all__ = ["Plan", "write_program"]


@dataclass(frozen=True)
class Plan:
    """What a step is composed of.

    Attributes
    ----------
    group : int
        Force group of the jump.
    k : int
        Base steps.
    corrector : float
        Its code.
    corrects : bool
        Whether there is one.
    extra_chances : int or None
        None: no Metropolis test.
    thermostat : bool
    parameters : sequence of str
        Of the Context, that the physics depends on.
    n_particles : int
    """

    group: int
    k: int
    corrector: float
    corrects: bool
    extra_chances: int | None
    thermostat: bool
    parameters: Sequence[str]
    n_particles: int

    @property
    def needs_forces(self) -> bool:
        """As in :attr:`kstep_integrators.scheme.Scheme.needs_forces`."""
        return self.corrects or self.extra_chances is None


def aliases(group: int) -> dict[str, str]:
    """Names of the program for what belongs to the jump's force."""
    return {
        "answer": f"f{group}",
        "verdict": f"energy{group}",
        "stage": stages.STAGE,
        "steps": stages.STEPS,
        "stride": stages.STRIDE,
        "corrector": stages.CORRECTOR,
        "guarded": stages.GUARDED,
    }


def write_program(words: Words, plan: Plan) -> None:
    """Declare the variables and write the step."""
    guard = Guard()
    limit = guard.max_energy_change * max(plan.n_particles / 10.0, 1.0) / units.KJ_PER_MOL
    _declare(words, plan, limit, guard.max_speed / units.NM_PER_PS)
    words.each("last_x", "x")
    words.each("last_v", "v")
    words.integrator.addUpdateContextState()
    _refresh(words, plan)
    if plan.thermostat:
        _bathe(words)
    words.set("steps", f"{plan.k}")
    words.set("stride", "dt")
    words.set("corrector", f"{plan.corrector}")
    words.set("guarded", "1" if plan.extra_chances is None else "0")
    _remember(words, plan)
    if plan.extra_chances is None:
        _controlled(words, plan)
    else:
        _tested(words, plan)
    with words.when(f"failed >= {stages.STOPPED}"):
        # Everything is in place again: what is raised here leaves a sound Context.
        _ask(words, stages.FAILED)
        _ask(words, stages.REPORT)
    words.each("kept", "x")
    words.set("jumps", "jumps + 1")
    if plan.thermostat:
        _bathe(words)


def _declare(words: Words, plan: Plan, energy_limit: float, speed_limit: float) -> None:
    words.numbers(base_steps=plan.k, energy_limit=energy_limit, speed_limit=speed_limit)
    words.numbers(coordinates=3 * plan.n_particles)
    words.numbers(fresh=0, changed=0, kept_dt=0, known=0, failed=0, ignored=0)
    words.numbers(potential=0, start_potential=0, kinetic=0, start_kinetic=0, change=0)
    words.numbers(residual=0, predicted=0, count=0, fast=0)
    words.numbers(jumps=0, evaluations=0, fallbacks=0, accepted=0, flips=0, failures=0)
    words.numbers(landings=0, residual_squares=0, error_squares=0, seconds=0)
    words.vectors("kept", "here", "dx", "dv", "start_x", "start_v", "last_x", "last_v")
    if plan.needs_forces:
        words.vectors("force", "start_force", "correction", "start_correction")
    if plan.extra_chances is not None:
        words.numbers(limit=0, chance=0, open=0, accepted_at=0, start_known=0)
        words.numbers(chances=plan.extra_chances)
    if plan.thermostat or plan.extra_chances is not None:
        words.numbers(kT=0, friction=0, decay=0)
    for index in range(len(plan.parameters)):
        words.numbers(**{f"parameter{index}": 0.0})


def _refresh(words: Words, plan: Plan) -> None:
    """Evaluate the physics anew if positions, stride or parameters are not those of what is kept.

    They change by ``setPositions``, minimization, states and checkpoints that are loaded, other
    integrators, ``setParameter``; comparing the positions finds them all.
    """
    words.total("changed", "(x - kept)^2")
    words.set("changed", "changed + (dt - kept_dt)^2 + 1 - fresh")
    integrator = words.integrator
    for index, name in enumerate(plan.parameters):
        # Names of other forces: not to be mistaken for those of the program.
        integrator.addComputeGlobal(
            f"{words.prefix}changed",
            f"{words.prefix}changed + ({name} - {words.prefix}parameter{index})^2",
        )
    with words.when("changed > 0"):
        _evaluate(words, plan)
        words.each("kept", "x")
        words.set("kept_dt", "dt")
        for index, name in enumerate(plan.parameters):
            integrator.addComputeGlobal(f"{words.prefix}parameter{index}", name)
        words.set("known", "0")
        words.set("fresh", "1")


def _evaluate(words: Words, plan: Plan) -> None:
    """One evaluation of the physics: all force groups but the jump's."""
    if plan.needs_forces:
        words.each("force", "f")
    words.set("potential", "energy")
    words.set("evaluations", "evaluations + 1")


def _bathe(words: Words) -> None:
    """O: half a stride of Langevin dynamics."""
    words.set("decay", "exp(-0.5*friction*dt)")
    words.each("v", "decay*v + sqrt((1 - decay*decay)*kT/m)*gaussian")


def _ask(words: Words, stage: int, vector: str = "dx", number: str = "ignored") -> None:
    words.set("stage", f"{stage}")
    words.each(vector, "answer")
    words.set(number, "verdict")


def _remember(words: Words, plan: Plan) -> None:
    """Where the step starts, and what is known there."""
    # An error of the physics may end the program anywhere: nothing that is kept is true by then.
    words.each("kept", "x + 1")
    words.each("start_x", "x")
    words.each("start_v", "v")
    if plan.needs_forces:
        words.each("start_force", "force")
    words.set("start_potential", "potential")
    words.total("start_kinetic", "0.5*m*v*v")


def _stride(words: Words, plan: Plan) -> None:
    """C J C with one evaluation. ``failed`` says whether the landing stands."""
    words.set("failed", f"{stages.FINE}")
    if plan.corrects:
        with words.when("known < 1"):
            _ask(words, stages.POSITIONS)
            _correct(words)
        with words.when("failed < 1"):
            words.each("v", "v + 0.5*dt*correction/m")
    with words.when("failed < 1"):
        _flow(words)
    with words.when("failed < 1"):
        _evaluate(words, plan)
        if plan.needs_forces:
            _correct(words)
        words.set("known", "1")
    if plan.corrects:
        with words.when("failed < 1"):
            words.each("v", "v + 0.5*dt*correction/m")


def _flow(words: Words) -> None:
    """J. The jump is told positions and velocities, and asked for the change of both."""
    words.each("here", "x")
    _ask(words, stages.POSITIONS)
    words.set("seconds", "seconds + ignored")
    words.each("x", "v")
    _ask(words, stages.FLOW, "dx", "failed")
    _ask(words, stages.VELOCITIES, "dv", "predicted")
    words.each("x", "here + dx")
    words.each("v", "v + dv")
    words.set("stage", f"{stages.IDLE}")


def _correct(words: Words) -> None:
    """The correcting force at the positions that the jump was last told or has landed at."""
    words.each("here", "x")
    words.each("x", "force")
    _ask(words, stages.CORRECTION, "correction", "residual")
    words.each("x", "here")
    words.set("stage", f"{stages.IDLE}")
    words.set("failed", "max(0, -residual)")


def _controlled(words: Words, plan: Plan) -> None:
    """A jump that does not stand is made with velocity Verlet on the physics."""
    _stride(words, plan)
    with words.when("failed < 1"):
        words.total("kinetic", "0.5*m*v*v")
        words.set("change", "potential + kinetic - start_potential - start_kinetic")
        words.set("failed", f"{stages.UNDONE}")
        with words.when("abs(change) <= energy_limit"):
            words.set("failed", f"{stages.FINE}")
            _add_up(words)
        with words.when("failed > 0"):
            _ask(words, stages.ABSURD)
            words.set("stage", f"{stages.IDLE}")
    with words.when(f"failed = {stages.UNDONE}"):
        _put_back(words, plan)
        _physics_steps(words, plan)
    with words.when(f"failed >= {stages.STOPPED}"):
        _put_back(words, plan)


def _add_up(words: Words) -> None:
    """How well the model predicted the physics, over all landings."""
    words.set("landings", "landings + 1")
    words.set("residual_squares", "residual_squares + residual")
    words.set("error_squares", "error_squares + (predicted - potential + start_potential)^2")


def _put_back(words: Words, plan: Plan) -> None:
    """To the start of the step."""
    words.each("x", "start_x")
    words.each("v", "start_v")
    if plan.needs_forces:
        words.each("force", "start_force")
    words.set("potential", "start_potential")
    words.set("known", "0")


def _physics_steps(words: Words, plan: Plan) -> None:
    """k velocity-Verlet steps, one evaluation each."""
    words.set("count", "0")
    with words.loop("count < base_steps"):
        words.each("v", "v + 0.5*dt/base_steps*force/m")
        words.each("x", "x + dt/base_steps*v")
        _evaluate(words, plan)
        words.each("v", "v + 0.5*dt/base_steps*force/m")
        words.set("count", "count + 1")
    words.total("fast", "step(abs(v) - speed_limit)")
    words.set("fallbacks", "fallbacks + 1")
    words.set("failed", f"{stages.STOPPED}")
    with words.when("fast < 1"), words.when("abs(potential) < 1e300"):
        words.set("failed", f"{stages.UNDONE}")


def _tested(words: Words, plan: Plan) -> None:
    """{ }: the physical energy accepts or rejects, with extra chances before a momentum flip.

    As :func:`kstep_integrators.metropolis.metropolized`.
    """
    if plan.corrects:
        words.each("start_correction", "correction")
    words.set("start_known", "known")
    # uniform is in [0, 1): the argument of the logarithm is never zero.
    words.set("limit", "-kT*log(1 - uniform)")
    words.set("chance", "0")
    words.set("accepted_at", "0")
    words.set("open", "1")
    with words.loop("open > 0"):
        _stride(words, plan)
        words.set("open", "0")
        words.set("chance", "chance + 1")
        with words.when("failed < 1"):
            words.total("kinetic", "0.5*m*v*v")
            words.set("change", "potential + kinetic - start_potential - start_kinetic")
            words.set("failed", f"{stages.UNDONE}")
            # Neither infinite nor NaN; what lies behind a failure is out of reach.
            with words.when("abs(change) < 1e300"):
                words.set("failed", f"{stages.FINE}")
                with words.when("chance = 1"):
                    _add_up(words)
                words.set("open", "step(chances - chance)")
                with words.when("change <= limit"):
                    words.set("accepted_at", "chance")
                    words.set("open", "0")
    with words.when("accepted_at > 0"):
        words.set("accepted", "accepted + 1")
    with words.when("accepted_at < 1"):
        _put_back(words, plan)
        words.set("flips", "flips + 1")
        words.each("v", "-v")
        if plan.corrects:
            words.each("correction", "start_correction")
        words.set("known", "start_known")
    with words.when("failed > 0"):
        words.set("failures", "failures + 1")
