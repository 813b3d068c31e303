"""The fate of a stride in the program of a step: it stands, is made anew, or is tested."""

from __future__ import annotations

from kstep_integrators.openmm.program_stride import StrideProgram
from kstep_integrators.openmm.stages import Stage, Verdict

__all__ = ["controlled_stride", "metropolis_test"]

_UNDONE, _STOPPED = Verdict.UNDONE.value, Verdict.STOPPED.value


def controlled_stride(program: StrideProgram) -> None:
    """C J C, or velocity Verlet on the physics in place of a jump that does not stand."""
    program.set("absurd", "0")
    with program.stride():
        program.compare_energies()
        # step(NaN) is zero
        program.set("absurd", "delta(failed)*(1 - step(energy_limit - abs(change)))")
        program.set("failed", f"failed + {_UNDONE}*absurd")
        program.add_up("delta(failed)")
    with program.when("failed + watched > 0"):
        _physics_steps(program)
        _count_bond_changes(program)
        if program.kicks_before:
            program.correct_again()


def metropolis_test(program: StrideProgram) -> None:
    """{ }: the physical energy accepts or rejects, with extra chances before a momentum flip.

    As :func:`kstep_integrators.step.metropolis.metropolized`.
    """
    if program.corrects:
        program.each("start_correction", "correction")
    program.set("start_known", "known")
    # In [0, 1): the argument of the logarithm is never zero.
    program.set("limit", "-kT*log(1 - drawn)")
    program.set("chance", "0")
    program.set("accepted_at", "0")
    program.set("open", "1")
    with program.loop("open > 0"):
        program.set("open", "0")
        program.set("chance", "chance + 1")
        with program.stride():
            program.compare_energies()
            # Neither infinite nor NaN; what lies behind a failure is out of reach.
            absurd = f"{_UNDONE}*(1 - step(1e300 - abs(change)))"
            program.set("failed", f"max(failed, {absurd})")
            program.add_up("delta(failed)*delta(chance - 1)")
            program.set("accepted_at", "chance*delta(failed)*step(limit - change)")
            program.set("open", "delta(failed)*delta(accepted_at)*step(chances - chance)")
    program.set("accepted", "accepted + 1 - delta(accepted_at)")
    program.set("flips", "flips + delta(accepted_at)")
    program.set("failures", "failures + step(failed - 1)")
    program.set("undone", "delta(accepted_at)")
    program.back_to_the_start("-start_v")
    if program.corrects:
        program.each("correction", "select(undone, start_correction, correction)")
    program.set("known", "select(undone, start_known, known)")
    with program.when("watched*(1 - undone) > 0"):
        _count_bond_changes(program)


def _physics_steps(program: StrideProgram) -> None:
    """In place of a jump undone k velocity-Verlet steps, one evaluation each, or RATTLE."""
    program.ask(Stage.ABSURD, provided="absurd")
    program.idle()
    program.set("undone", f"delta(failed - {_UNDONE})")
    program.back_to_the_start("start_v")
    program.set("count", "base_steps*(1 - undone)")
    with program.loop("count < base_steps"):
        program.each("v", "v + 0.5*dt/base_steps*force/m")
        program.each("x", "x + dt/base_steps*v")
        if program.constrained:
            program.each("here", "x")
            program.integrator.addConstrainPositions()
            program.each("v", "v + (x - here)*base_steps/dt")
        program.evaluate()
        program.each("v", "v + 0.5*dt/base_steps*force/m")
        if program.constrained:
            program.integrator.addConstrainVelocities()
        program.set("count", "count + 1")
    program.total("fast", "step(abs(v) - speed_limit)")
    program.set("fallbacks", "fallbacks + undone")
    unsound = "undone*(1 - delta(fast)*step(1e300 - abs(potential)))"
    program.set("failed", f"select({unsound}, {_STOPPED}, failed)")


def _count_bond_changes(program: StrideProgram) -> None:
    """Count bonds that broke or formed, where the jump saw any or was not asked."""
    program.ask(Stage.BONDS, "dx", "bond_change", provided=f"step({_UNDONE} - failed)")
    program.idle()
    program.set("bond_changes", "bond_changes + delta(bond_change - 1)")
    program.set("failed", f"max(failed, {_STOPPED}*step(bond_change - {_STOPPED}))")
