"""The heat bath in the program of a step: its noise, and O at the start and at the end."""

from __future__ import annotations

from kstep_integrators.openmm.program_writer import PREFIX, ProgramWriter
from kstep_integrators.openmm.stages import NOISE, Stage

__all__ = ["draw_noise", "half_bath", "last_half_bath"]


def draw_noise(program: ProgramWriter) -> None:
    """Noise of the whole step, from what the integrator knows: OpenMM's is in no State.

    It begins anew where something else has moved or kicked particles between steps.
    """
    # Where nobody has given one: an integrator out of XML, or part of another.
    program.set("seed", f"select(seed, seed, {2**31} + floor({2**52}*uniform))")
    for name, value in {"seed": "seed", "start": "noise_start", "kT": "kT"}.items():
        program.set(NOISE[name].removeprefix(PREFIX), value)
    draw = NOISE["draw"].removeprefix(PREFIX)
    program.set(draw, "2*jumps")
    program.ask(Stage.NOISE, "noise", "drawn")
    program.set(draw, "2*jumps + 1")
    program.ask(Stage.NOISE, "last_noise")
    program.idle()


def half_bath(program: ProgramWriter, noise: str) -> None:
    """O: half a stride of Langevin dynamics."""
    program.set("decay", "exp(-0.5*friction*dt)")
    program.each("v", f"decay*v + sqrt((1 - decay*decay)*kT/m)*{noise}")


def last_half_bath(program: ProgramWriter, constrained: bool) -> None:
    """O where the step ends, on the constraints there.

    Reference and CPU project velocities on the bonds that they have last constrained by
    themselves: those of the start of the step, which the jump has turned since. To constrain
    its landing again would show them, but SETTLE turns by less than a right angle only, and
    both go as far as the tolerance. The jump's force projects exactly, where it has landed or
    was shown the end of physics steps. (A Metropolis test takes no constraints.)
    """
    half_bath(program, "last_noise")
    if not constrained:
        return
    program.each("here", "x")
    program.each("x", "v")
    program.ask(Stage.RATTLE, "dv")
    program.each("v", "v + dv")
    program.each("x", "here")
    program.idle()
    program.set("failed", "max(failed, ignored)")
