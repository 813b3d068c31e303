"""What becomes of a stride: it stands, or physics steps replace it, or a test decides."""

from __future__ import annotations

from kstep_integrators.openmm import stages
from kstep_integrators.openmm.plan import Plan
from kstep_integrators.openmm.stride import ask, evaluate, stride
from kstep_integrators.openmm.words import Words

__all__ = ["controlled", "tested", "watched"]


def controlled(words: Words, plan: Plan) -> None:
    """A jump that does not stand is made with velocity Verlet on the physics."""
    stride(words, plan)
    with words.when("failed < 1"):
        words.total("kinetic", "0.5*m*v*v")
        words.set("change", "potential + kinetic - start_potential - start_kinetic")
        words.set("failed", f"{stages.UNDONE}")
        with words.when("abs(change) <= energy_limit"):
            words.set("failed", f"{stages.FINE}")
            _add_up(words, plan)
        with words.when("failed > 0"):
            ask(words, stages.ABSURD)
            words.set("stage", f"{stages.IDLE}")
    with words.when(f"failed = {stages.UNDONE}"):
        _put_back(words, plan)
        _physics_steps(words, plan)
    with words.when(f"failed >= {stages.STOPPED}"):
        _put_back(words, plan)


def tested(words: Words, plan: Plan) -> None:
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
        stride(words, plan)
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
                    _add_up(words, plan)
                words.set("open", "step(chances - chance)")
                with words.when("change <= limit"):
                    words.set("accepted_at", "chance")
                    words.set("open", "0")
    with words.when("accepted_at > 0"):
        words.set("accepted", "accepted + 1")
    with words.when("accepted_at < 1"):
        _put_back(words, plan)
        words.set("watched", "0")
        words.set("flips", "flips + 1")
        words.each("v", "-v")
        if plan.corrects:
            words.each("correction", "start_correction")
        words.set("known", "start_known")
    with words.when("failed > 0"):
        words.set("failures", "failures + 1")


def watched(words: Words, plan: Plan) -> None:
    """Bonds that are others at the end of a step, where the jump has said so or not been asked."""
    with words.when("watched > 0"):
        ask(words, stages.BONDS, "dx", "told")
        words.set("stage", f"{stages.IDLE}")
        with words.when(f"told >= {stages.STOPPED}"):
            words.set("failed", f"{stages.STOPPED}")
            _put_back(words, plan)
        with words.when("told = 1"):
            words.set("bond_changes", "bond_changes + 1")


def _put_back(words: Words, plan: Plan) -> None:
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
    words.set("watched", "1")
    words.total("fast", "step(abs(v) - speed_limit)")
    words.set("fallbacks", "fallbacks + 1")
    words.set("failed", f"{stages.STOPPED}")
    with words.when("fast < 1"), words.when("abs(potential) < 1e300"):
        words.set("failed", f"{stages.UNDONE}")


def _add_up(words: Words, plan: Plan) -> None:
    """How well the model predicted the physics, over all landings."""
    words.set("landings", "landings + 1")
    words.set("residual_squares", "residual_squares + residual")
    if plan.predicts_energy:
        words.set("error_squares", "error_squares + (predicted - potential + start_potential)^2")
