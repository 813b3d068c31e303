"""One step as the program of a CustomIntegrator: O C J C O, or O { C J C } O.

Between steps the integrator keeps, in its own variables, what it knows at the positions where it
stands: the physical forces, the correcting ones, the energy. Checkpoints and states hold them, and
a step asks first whether they still belong to the positions.
"""

from __future__ import annotations

from kstep_integrators import units
from kstep_integrators.openmm import stages
from kstep_integrators.openmm.outcome import controlled, put_back, tested, watched
from kstep_integrators.openmm.plan import Plan
from kstep_integrators.openmm.stride import ask, evaluate
from kstep_integrators.openmm.words import Words
from kstep_integrators.step.guard import Guard

__all__ = ["write_program"]


def write_program(words: Words, plan: Plan) -> None:
    """Declare the variables and write the step."""
    guard = Guard()
    limit = guard.max_energy_change * max(plan.n_particles / 10.0, 1.0) / units.KJ_PER_MOL
    _declare(words, plan, limit, guard.max_speed / units.NM_PER_PS)
    words.each("last_x", "x")
    words.each("last_v", "v")
    words.integrator.addUpdateContextState()
    _refresh(words, plan)
    if plan.constrained:
        # What setVelocities has set may stretch them; all else keeps to them.
        words.integrator.addConstrainVelocities()
    if plan.thermostat:
        _bathe(words, plan)
    words.set("steps", f"{plan.k}")
    words.set("stride", "dt")
    words.set("corrector", f"{plan.corrector}")
    words.set("watched", "0")
    words.set("guarded", "1" if plan.extra_chances is None else "0")
    _remember(words, plan)
    if plan.extra_chances is None:
        controlled(words, plan)
    else:
        tested(words, plan)
    watched(words, plan)
    with words.when(f"failed >= {stages.STOPPED}"):
        put_back(words, plan)
        # Everything is in place again: what is raised here leaves a sound Context.
        ask(words, stages.FAILED)
        ask(words, stages.REPORT)
    words.each("kept", "x")
    words.set("jumps", "jumps + 1")
    if plan.thermostat:
        _bathe(words, plan)


def _declare(words: Words, plan: Plan, energy_limit: float, speed_limit: float) -> None:
    words.numbers(base_steps=plan.k, energy_limit=energy_limit, speed_limit=speed_limit)
    words.numbers(coordinates=3 * plan.n_particles, predicts=plan.predicts_energy)
    words.numbers(fresh=0, changed=0, kept_dt=0, known=0, failed=0, ignored=0)
    words.numbers(potential=0, start_potential=0, kinetic=0, start_kinetic=0, change=0)
    words.numbers(residual=0, predicted=0, count=0, fast=0)
    words.numbers(jumps=0, evaluations=0, fallbacks=0, accepted=0, flips=0, failures=0)
    words.numbers(watched=0, told=0, bond_changes=0)
    words.numbers(landings=0, residual_squares=0, error_squares=0, seconds=0)
    words.vectors("kept", "here", "dx", "dv", "start_x", "start_v", "last_x", "last_v")
    if plan.periodic:
        words.vectors("box", "kept_box")
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
    """Evaluate the physics anew if positions, stride, box or parameters are not those of the kept.

    They change by ``setPositions``, minimization, states and checkpoints that are loaded, other
    integrators, ``setParameter``, ``setPeriodicBoxVectors``; comparing them finds it all. The box
    is no variable of a program: the jump is told it with the positions, and tells it.
    """
    words.total("changed", "(x - kept)^2")
    words.set("changed", "changed + (dt - kept_dt)^2 + 1 - fresh")
    if plan.periodic:
        ask(words, stages.BOX, "box")
        words.set("stage", f"{stages.IDLE}")
        words.total("ignored", "(box - kept_box)^2")
        words.set("changed", "changed + ignored")
    integrator = words.integrator
    for index, name in enumerate(plan.parameters):
        # Names of other forces: not to be mistaken for those of the program.
        integrator.addComputeGlobal(
            f"{words.prefix}changed",
            f"{words.prefix}changed + ({name} - {words.prefix}parameter{index})^2",
        )
    with words.when("changed > 0"):
        if plan.constrained:
            words.each("x", "x")  # the reference that the platform takes
            words.integrator.addConstrainPositions()
        evaluate(words, plan)
        words.each("kept", "x")
        words.set("kept_dt", "dt")
        if plan.periodic:
            words.each("kept_box", "box")
        for index, name in enumerate(plan.parameters):
            integrator.addComputeGlobal(f"{words.prefix}parameter{index}", name)
        words.set("known", "0")
        words.set("fresh", "1")


def _bathe(words: Words, plan: Plan) -> None:
    """O: half a stride of Langevin dynamics."""
    words.set("decay", "exp(-0.5*friction*dt)")
    words.each("v", "decay*v + sqrt((1 - decay*decay)*kT/m)*gaussian")
    if plan.constrained:
        words.integrator.addConstrainVelocities()


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
