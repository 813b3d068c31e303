"""What becomes of a stride: it stands, or physics steps replace it, or a test decides."""

from __future__ import annotations

from kstep_integrators.openmm import stages
from kstep_integrators.openmm.plan import Plan
from kstep_integrators.openmm.stride import ask, evaluate, stride
from kstep_integrators.openmm.words import Words

__all__ = ["controlled", "put_back", "tested", "watched"]


def controlled(words: Words, plan: Plan) -> None:
    """A jump that does not stand is made with velocity Verlet on the physics."""
    with stride(words, plan):
        _energy_change(words)
        # step(NaN) is zero
        words.set("failed", f"{stages.UNDONE}*(1 - step(energy_limit - abs(change)))")
        _add_up(words, plan, "1 - failed")
        with words.when("failed > 0"):
            ask(words, stages.ABSURD)
            words.set("stage", f"{stages.IDLE}")
    with words.when(f"failed = {stages.UNDONE}"):
        put_back(words, plan)
        _physics_steps(words, plan)


def tested(words: Words, plan: Plan) -> None:
    """{ }: the physical energy accepts or rejects, with extra chances before a momentum flip.

    As :func:`kstep_integrators.step.metropolis.metropolized`.
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
        words.set("open", "0")
        words.set("chance", "chance + 1")
        with stride(words, plan):
            _energy_change(words)
            # Neither infinite nor NaN; what lies behind a failure is out of reach.
            words.set("failed", f"{stages.UNDONE}*(1 - step(1e300 - abs(change)))")
            _add_up(words, plan, "(1 - failed)*delta(chance - 1)")
            words.set("accepted_at", "chance*(1 - failed)*step(limit - change)")
            words.set("open", "(1 - failed)*delta(accepted_at)*step(chances - chance)")
    words.set("accepted", "accepted + 1 - delta(accepted_at)")
    words.set("flips", "flips + delta(accepted_at)")
    words.set("failures", "failures + step(failed - 1)")
    with words.when("accepted_at < 1"):
        put_back(words, plan)
        words.set("watched", "0")
        words.each("v", "-v")
        if plan.corrects:
            words.each("correction", "start_correction")
        words.set("known", "start_known")


def watched(words: Words, plan: Plan) -> None:
    """Bonds that are others at the end of a step, where the jump has said so or not been asked."""
    with words.when("watched > 0"):
        ask(words, stages.BONDS, "dx", "told")
        words.set("stage", f"{stages.IDLE}")
        words.set("bond_changes", "bond_changes + delta(told - 1)")
        words.set("failed", f"max(failed, {stages.STOPPED}*step(told - {stages.STOPPED}))")


def _energy_change(words: Words) -> None:
    """Total energy at the landing over that at the start of the step."""
    words.total("kinetic", "0.5*m*v*v")
    words.set("change", "potential + kinetic - start_potential - start_kinetic")


def put_back(words: Words, plan: Plan) -> None:
    """To the start of the step."""
    words.each("x", "start_x")
    words.each("v", "start_v")
    if plan.needs_forces:
        words.each("force", "start_force")
    words.set("potential", "start_potential")
    words.set("known", "0")


def _physics_steps(words: Words, plan: Plan) -> None:
    """k velocity-Verlet steps, one evaluation each; with constraints, RATTLE."""
    words.set("count", "0")
    with words.loop("count < base_steps"):
        words.each("v", "v + 0.5*dt/base_steps*force/m")
        words.each("x", "x + dt/base_steps*v")
        if plan.constrained:
            words.each("here", "x")
            words.integrator.addConstrainPositions()
            words.each("v", "v + (x - here)*base_steps/dt")
        evaluate(words, plan)
        words.each("v", "v + 0.5*dt/base_steps*force/m")
        if plan.constrained:
            words.integrator.addConstrainVelocities()
        words.set("count", "count + 1")
    words.total("fast", "step(abs(v) - speed_limit)")
    words.set("fallbacks", "fallbacks + 1")
    sound = "delta(fast)*step(1e300 - abs(potential))"
    words.set("failed", f"select({sound}, {stages.UNDONE}, {stages.STOPPED})")
    words.set("watched", f"delta(failed - {stages.UNDONE})")


def _add_up(words: Words, plan: Plan, counts: str) -> None:
    """How well the model predicted the physics, over all landings that count."""
    words.set("landings", f"landings + {counts}")
    words.set("residual_squares", f"residual_squares + select({counts}, residual, 0)")
    if plan.predicts_energy:
        error = "(predicted - potential + start_potential)^2"
        words.set("error_squares", f"error_squares + select({counts}, {error}, 0)")
