"""A stride in the program of a step: C J C, what it needs before it and how it is undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import openmm

from kstep_integrators.openmm.program_writer import ProgramWriter
from kstep_integrators.openmm.stages import PARAMETERS, Stage, Verdict
from kstep_integrators.openmm.system import BAROSTATS
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.thermostats import NoThermostat

__all__ = ["StrideProgram"]

_HALF_KICK: Final = "v + 0.5*dt*correction/m"

_UNDONE, _STOPPED = Verdict.UNDONE.value, Verdict.STOPPED.value


class StrideProgram(ProgramWriter):
    """The computations of a stride, from the parts of a scheme and the System that it moves.

    Parameters
    ----------
    integrator : openmm.CustomIntegrator
        That they are added to.
    group : int
        Force group of the jump.
    scheme : Scheme
        Jump, corrector, thermostat (Langevin or none), guard and Metropolis test.
    k : int
        Base steps.
    system : openmm.System
    parameters : sequence of str
        Of the Context, that the physics depends on.
    """

    def __init__(
        self,
        integrator: openmm.CustomIntegrator,
        group: int,
        scheme: Scheme,
        k: int,
        system: openmm.System,
        parameters: Sequence[str],
    ) -> None:
        super().__init__(integrator, group, PARAMETERS)
        self.jump, self.corrector, self.metropolis = (
            scheme.jump,
            scheme.corrector,
            scheme.metropolis,
        )
        self.guard, self.k, self.parameters = scheme.control.guard, k, parameters
        self.needs_forces, self.corrects = scheme.needs_forces, scheme.corrector.needs_forces
        self.kicks_before = self.corrects and scheme.corrector.kicks_before
        self.bath = not isinstance(scheme.thermostat, NoThermostat)
        self.n_particles = system.getNumParticles()
        self.constrained = system.getNumConstraints() > 0
        self.periodic = bool(system.usesPeriodicBoundaryConditions())
        self.barostat = any(isinstance(force, BAROSTATS) for force in system.getForces())

    @contextmanager
    def stride(self) -> Iterator[None]:
        """C J C with one evaluation. What is added inside is done where it has landed.

        ``failed`` says whether it has.
        """
        if self.kicks_before:
            self.each("v", _HALF_KICK)
        self.make_jump()
        with self.when("failed < 1"):
            self.evaluate()
            if self.needs_forces:
                self.correct()
                self.set("failed", "outcome")
                self.set("known", "delta(failed)")
                if self.corrects:
                    self.each("v", _HALF_KICK)
            yield

    def make_jump(self) -> None:
        """J: positions and velocities go to the jump, and the change of both comes back.

        It lands on the constraints by itself. After a failure at the start it is not made.
        """
        self.each("here", "x")
        self.ask(Stage.POSITIONS, provided=f"step({_UNDONE} - failed)")
        self.set("seconds", "seconds + ignored")
        if self.jump.needs_forces:
            self.each("x", "force")
            self.ask(Stage.FORCES, provided="delta(failed)")
        self.each("x", "v")
        self.ask(Stage.JUMP, "dx", "outcome", provided="delta(failed)")
        self.set("watched", "max(0, -outcome)")
        self.set("failed", "max(failed, outcome)")
        self.ask(Stage.VELOCITIES, "dv", "predicted", provided="delta(failed)")
        self.each("x", "here + dx")
        self.each("v", "v + dv")
        self.idle()

    def evaluate(self) -> None:
        """One evaluation of the physics: all force groups but the jump's."""
        if self.needs_forces:
            self.each("force", "f")
        self.set("potential", "energy")
        self.set("evaluations", "evaluations + 1")

    def correct(self) -> None:
        """C: the correcting force, where the jump was last asked or has landed."""
        self.each("here", "x")
        self.each("x", "force")
        self.ask(Stage.CORRECTION, "correction", "residual")
        self.each("x", "here")
        self.idle()
        self.set("outcome", "max(0, -residual)")

    def correct_again(self) -> None:
        """C where physics steps have ended, for the next step."""
        self.each("here", "x")
        self.each("x", "force")
        self.ask(Stage.CORRECTION, "dx", "residual", provided=f"undone*step({_UNDONE} - failed)")
        self.each("x", "here")
        self.idle()
        self.each("correction", "select(undone, dx, correction)")
        self.set("outcome", "max(0, -residual)")
        self.set("known", "select(undone, delta(outcome), known)")
        self.set("failed", f"max(failed, {_STOPPED}*delta(outcome - {_STOPPED}))")

    def compare_energies(self) -> None:
        """Compare the total energy at the landing with that at the start of the step."""
        self.total("kinetic", "0.5*m*v*v")
        self.set("change", "potential + kinetic - start_potential - start_kinetic")

    def add_up(self, counts: str) -> None:
        """Sum up the errors of the model, over all landings that count."""
        self.set("landings", f"landings + {counts}")
        self.set("residual_squares", f"residual_squares + select({counts}, residual, 0)")
        if "energy" in self.jump.predicts:
            error = "(predicted - potential + start_potential)^2"
            self.set("error_squares", f"error_squares + select({counts}, {error}, 0)")

    def back_to_the_start(self, velocities: str) -> None:
        """Undo the stride, where ``undone`` says so, with these velocities."""
        self.each("x", "select(undone, start_x, x)")
        self.each("v", f"select(undone, {velocities}, v)")
        if self.needs_forces:
            self.each("force", "select(undone, start_force, force)")
        self.set("potential", "select(undone, start_potential, potential)")
