"""One step as the program of a CustomIntegrator: O C J C O, or O { C J C } O.

From top to bottom: the step, what the program knows, and how a step begins. The stride, what
becomes of it, and the heat bath are in ``program_stride``, ``program_control`` and
``program_heat_bath``. Between steps the integrator keeps, in its own variables, what it knows at
the positions where it stands: the physical forces, the correcting ones, the energy. Checkpoints and
states hold them, and a step asks first whether they still belong to the positions.
"""

from __future__ import annotations

from typing import Final

import torch

from kstep_integrators import units
from kstep_integrators.openmm.program_control import controlled_stride, metropolis_test
from kstep_integrators.openmm.program_heat_bath import draw_noise, half_bath, last_half_bath
from kstep_integrators.openmm.program_stride import StrideProgram
from kstep_integrators.openmm.program_writer import PREFIX
from kstep_integrators.openmm.stages import CORRECTOR_CODES, Stage, Verdict

__all__ = ["StepProgram"]

_VERSION: Final = 3
"""Of the program, in saved XML too; the first had no number, and its baths cooled constraints."""

_UNDONE, _STOPPED = Verdict.UNDONE.value, Verdict.STOPPED.value

_KICK: Final = 1e-12
"""Of the kinetic energy; a CMMotionRemover with nothing to remove changes rounding errors only."""


class StepProgram(StrideProgram):
    """The program of a step, from the parts of a scheme and the System that it moves.

    Parameters
    ----------
    integrator : openmm.CustomIntegrator
        Without variables and computations; :meth:`write` adds them.
    group : int
        Force group of the jump.
    scheme : Scheme
        Jump, corrector, thermostat (Langevin or none), guard and Metropolis test.
    k : int
        Base steps.
    system : openmm.System
    parameters : sequence of str
        Of the Context, that the physics depends on.

    Examples
    --------
    >>> import openmm
    >>> from kstep_integrators.step.make_scheme import make_scheme
    >>> from kstep_integrators.step.options import RunOptions
    >>> hydrogen = openmm.System()
    >>> _ = hydrogen.addParticle(1.008), hydrogen.addParticle(1.008)
    >>> scheme = make_scheme("organic-gfn2", RunOptions(k=4, corrector="none"))
    >>> integrator = openmm.CustomIntegrator(0.001)
    >>> StepProgram(integrator, 31, scheme, 4, hydrogen, []).write()
    >>> integrator.getComputationStep(0)[1:]
    ['kstep_last_x', 'x']
    """

    def write(self) -> None:
        """Add the step to the integrator: O C J C O, or O { C J C } O."""
        self._variables()
        self.each("last_x", "x")
        self.each("last_v", "v")
        if self.barostat:
            # It may fail, or what follows it: the positions before belong to the box before.
            self.ask(Stage.BOX, "last_box")
            self.idle()
        if self.bath:
            self.total("moved", "(x - kept)^2 + (v - kept_v)^2")
            self.set("noise_start", "select(moved, moved + jumps, noise_start)")
        self.integrator.addUpdateContextState()
        if self.bath:
            draw_noise(self)
        self._announce()
        self._refresh()
        if self.constrained:
            # What setVelocities has set may stretch them; all else keeps to them.
            self.integrator.addConstrainVelocities()
        if self.bath:
            half_bath(self, "noise")
            if self.constrained:
                self.integrator.addConstrainVelocities()
        self._remember()
        if self.metropolis is None:
            controlled_stride(self)
        else:
            metropolis_test(self)
        if self.bath:
            last_half_bath(self, self.constrained)
        with self.when(f"failed >= {_STOPPED}"):
            self.each("x", "start_x")
            self.each("v", "start_v")
            # Everything is in place again: what is raised here leaves a sound Context.
            self.ask(Stage.FAILED)
            self.ask(Stage.REPORT)
        self.each("kept", "x")
        self.each("kept_v", "v")
        self.set("jumps", "jumps + 1")

    def _variables(self) -> None:
        """Declare all variables, with their values before the first step."""
        atoms = torch.tensor([self.n_particles], dtype=torch.float64)
        limit = float(self.guard.energy_limit(atoms)[0])
        self.numbers(
            program=_VERSION,
            base_steps=self.k,
            energy_limit=limit / units.KJ_PER_MOL,
            speed_limit=self.guard.max_speed / units.NM_PER_PS,
            coordinates=3 * self.n_particles,
            predicts="energy" in self.jump.predicts,
        )
        # What is kept from step to step, and whether it still holds.
        self.numbers(fresh=0, changed=0, kicked=0, origin=0, kept_dt=0, known=0, failed=0)
        # The step that is being made.
        self.numbers(potential=0, start_potential=0, kinetic=0, start_kinetic=0, change=0)
        self.numbers(residual=0, predicted=0, count=0, fast=0, watched=0, bond_change=0)
        self.numbers(undone=0, absurd=0, outcome=0, ignored=0, undisturbed=0)
        # Totals of the run, for the statistics.
        self.numbers(jumps=0, evaluations=0, fallbacks=0, accepted=0, flips=0, failures=0)
        self.numbers(bond_changes=0, landings=0, residual_squares=0, error_squares=0, seconds=0)
        self.vectors("kept", "kept_v", "here", "dx", "dv", "start_x", "start_v", "last_x", "last_v")
        if self.periodic:
            self.vectors("box", "kept_box")
        if self.barostat:
            self.vectors("last_box")
        if self.needs_forces:
            self.vectors("force", "start_force", "correction", "start_correction")
        if self.metropolis is not None:
            self.numbers(limit=0, chance=0, open=0, accepted_at=0, start_known=0)
            self.numbers(chances=self.metropolis.extra_chances)
        if self.bath:
            self.numbers(kT=0, friction=0, decay=0, seed=0, moved=0, noise_start=0, drawn=0)
            self.vectors("noise", "last_noise")
        for index in range(len(self.parameters)):
            self.numbers(**{f"parameter{index}": 0.0})

    def _announce(self) -> None:
        """Tell the jump of the step."""
        self.set("k", f"{self.k}")
        self.set("stride", "dt")
        self.set("corrector", f"{CORRECTOR_CODES[self.corrector.name]:g}")
        self.set("guarded", "1" if self.metropolis is None else "0")

    def _refresh(self) -> None:
        """Evaluate the physics anew if what is kept belongs to other positions, or another box.

        They change by ``setPositions``, minimization, states and checkpoints that are loaded, other
        integrators, barostats, ``setParameter``, ``setPeriodicBoxVectors``; comparing them finds it
        all. The box is no variable of a program: the jump gets it with the positions, and gives it
        back.
        """
        self.total("changed", "(x - kept)^2")
        self.total("kicked", "0.5*m*(v - kept_v)^2")
        self.set("changed", "changed + (dt - kept_dt)^2 + 1 - fresh")
        if self.periodic:
            self.ask(Stage.BOX, "box")
            self.idle()
            self.total("ignored", "(box - kept_box)^2")
            self.set("changed", "changed + ignored")
        for index, name in enumerate(self.parameters):
            # Names of other forces: not to be mistaken for those of the program.
            kept = f"{PREFIX}parameter{index}"
            self.integrator.addComputeGlobal(
                f"{PREFIX}changed", f"{PREFIX}changed + ({name} - {kept})^2"
            )
        # No correction is known where the potential has failed: no jump starts there.
        self.set("failed", f"{_UNDONE}*(1 - known)" if self.kicks_before else "0")
        with self.when("changed > 0"):
            if self.constrained:
                self.each("x", "x")  # the reference that the platform takes
                self.integrator.addConstrainPositions()
            self.evaluate()
            self.each("kept", "x")
            self.set("kept_dt", "dt")
            if self.periodic:
                self.each("kept_box", "box")
            for index, name in enumerate(self.parameters):
                self.integrator.addComputeGlobal(f"{PREFIX}parameter{index}", name)
            self.set("fresh", "1")
            if self.kicks_before:
                self.ask(Stage.POSITIONS)
                self.correct()
                self.set("failed", "outcome")
                self.set("known", "delta(failed)")

    def _remember(self) -> None:
        """Note where the step starts, what is known there, and if the last one ended there.

        ``origin`` is another number after everything that moves or kicks particles between steps,
        and stays through steps: two states with one origin are of one undisturbed trajectory.
        """
        # An error of the physics may end the program anywhere: nothing kept is true by then.
        self.each("kept", "x + 1")
        self.each("start_x", "x")
        self.each("start_v", "v")
        if self.needs_forces:
            self.each("start_force", "force")
        self.set("start_potential", "potential")
        self.total("start_kinetic", "0.5*m*v*v")
        self.set("undisturbed", f"delta(changed)*step({_KICK}*start_kinetic - kicked)")
        start = "start_potential + start_kinetic + 1000*(jumps + 1)"
        self.set("origin", f"select(undisturbed, origin, {start})")
