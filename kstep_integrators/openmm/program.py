"""One step as the program of a CustomIntegrator: O C J C O, or O { C J C } O.

From top to bottom: what the program knows, the step, and its parts in the order in which they come.
Between steps the integrator keeps, in its own variables, what it knows at the positions where it
stands: the physical forces, the correcting ones, the energy. Checkpoints and states hold them, and
a step asks first whether they still belong to the positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import openmm
import torch

from kstep_integrators import units
from kstep_integrators.openmm.program_writer import PREFIX, ProgramWriter
from kstep_integrators.openmm.stages import CORRECTOR_CODES, NOISE, PARAMETERS, Stage, Verdict
from kstep_integrators.openmm.system import BAROSTATS
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.thermostats import NoThermostat

__all__ = ["StepProgram"]

_HALF_KICK: Final = "v + 0.5*dt*correction/m"

_VERSION: Final = 3
"""Of the program, in saved XML too; the first had no number, and its baths cooled constraints."""

_UNDONE, _STOPPED = Verdict.UNDONE.value, Verdict.STOPPED.value

_KICK: Final = 1e-12
"""Of the kinetic energy; a CMMotionRemover with nothing to remove changes rounding errors only."""


class StepProgram(ProgramWriter):
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
            self._draw()
        self._announce()
        self._refresh()
        if self.constrained:
            # What setVelocities has set may stretch them; all else keeps to them.
            self.integrator.addConstrainVelocities()
        if self.bath:
            self._heat_bath("noise")
            if self.constrained:
                self.integrator.addConstrainVelocities()
        self._remember()
        if self.metropolis is None:
            self._controlled_stride()
        else:
            self._metropolis_test()
        if self.bath:
            self._final_heat_bath()
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
            self._evaluate()
            self.each("kept", "x")
            self.set("kept_dt", "dt")
            if self.periodic:
                self.each("kept_box", "box")
            for index, name in enumerate(self.parameters):
                self.integrator.addComputeGlobal(f"{PREFIX}parameter{index}", name)
            self.set("fresh", "1")
            if self.kicks_before:
                self.ask(Stage.POSITIONS)
                self._correct()
                self.set("failed", "outcome")
                self.set("known", "delta(failed)")

    def _draw(self) -> None:
        """Noise of the whole step, from what the integrator knows: OpenMM's is in no State.

        It begins anew where something else has moved or kicked particles between steps.
        """
        # Where nobody has given one: an integrator out of XML, or part of another.
        self.set("seed", f"select(seed, seed, {2**31} + floor({2**52}*uniform))")
        for name, value in {"seed": "seed", "start": "noise_start", "kT": "kT"}.items():
            self.set(NOISE[name].removeprefix(PREFIX), value)
        draw = NOISE["draw"].removeprefix(PREFIX)
        self.set(draw, "2*jumps")
        self.ask(Stage.NOISE, "noise", "drawn")
        self.set(draw, "2*jumps + 1")
        self.ask(Stage.NOISE, "last_noise")
        self.idle()

    def _heat_bath(self, noise: str) -> None:
        """O: half a stride of Langevin dynamics."""
        self.set("decay", "exp(-0.5*friction*dt)")
        self.each("v", f"decay*v + sqrt((1 - decay*decay)*kT/m)*{noise}")

    def _final_heat_bath(self) -> None:
        """O where the step ends, on the constraints there.

        Reference and CPU project velocities on the bonds that they have last constrained by
        themselves: those of the start of the step, which the jump has turned since. To constrain
        its landing again would show them, but SETTLE turns by less than a right angle only, and
        both go as far as the tolerance. The jump's force projects exactly, where it has landed or
        was shown the end of physics steps. (A Metropolis test takes no constraints.)
        """
        self._heat_bath("last_noise")
        if not self.constrained:
            return
        self.each("here", "x")
        self.each("x", "v")
        self.ask(Stage.RATTLE, "dv")
        self.each("v", "v + dv")
        self.each("x", "here")
        self.idle()
        self.set("failed", "max(failed, ignored)")

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

    def _controlled_stride(self) -> None:
        """C J C, or velocity Verlet on the physics in place of a jump that does not stand."""
        self.set("absurd", "0")
        with self._stride():
            self._energy_change()
            # step(NaN) is zero
            self.set("absurd", "delta(failed)*(1 - step(energy_limit - abs(change)))")
            self.set("failed", f"failed + {_UNDONE}*absurd")
            self._add_up("delta(failed)")
        with self.when("failed + watched > 0"):
            self._physics_steps()
            self._count_bond_changes()
            if self.kicks_before:
                self._correct_again()

    def _metropolis_test(self) -> None:
        """{ }: the physical energy accepts or rejects, with extra chances before a momentum flip.

        As :func:`kstep_integrators.step.metropolis.metropolized`.
        """
        if self.corrects:
            self.each("start_correction", "correction")
        self.set("start_known", "known")
        # In [0, 1): the argument of the logarithm is never zero.
        self.set("limit", "-kT*log(1 - drawn)")
        self.set("chance", "0")
        self.set("accepted_at", "0")
        self.set("open", "1")
        with self.loop("open > 0"):
            self.set("open", "0")
            self.set("chance", "chance + 1")
            with self._stride():
                self._energy_change()
                # Neither infinite nor NaN; what lies behind a failure is out of reach.
                absurd = f"{_UNDONE}*(1 - step(1e300 - abs(change)))"
                self.set("failed", f"max(failed, {absurd})")
                self._add_up("delta(failed)*delta(chance - 1)")
                self.set("accepted_at", "chance*delta(failed)*step(limit - change)")
                self.set("open", "delta(failed)*delta(accepted_at)*step(chances - chance)")
        self.set("accepted", "accepted + 1 - delta(accepted_at)")
        self.set("flips", "flips + delta(accepted_at)")
        self.set("failures", "failures + step(failed - 1)")
        self.set("undone", "delta(accepted_at)")
        self._back_to_the_start("-start_v")
        if self.corrects:
            self.each("correction", "select(undone, start_correction, correction)")
        self.set("known", "select(undone, start_known, known)")
        with self.when("watched*(1 - undone) > 0"):
            self._count_bond_changes()

    @contextmanager
    def _stride(self) -> Iterator[None]:
        """C J C with one evaluation. What is added inside is done where it has landed.

        ``failed`` says whether it has.
        """
        if self.kicks_before:
            self.each("v", _HALF_KICK)
        self._jump()
        with self.when("failed < 1"):
            self._evaluate()
            if self.needs_forces:
                self._correct()
                self.set("failed", "outcome")
                self.set("known", "delta(failed)")
                if self.corrects:
                    self.each("v", _HALF_KICK)
            yield

    def _jump(self) -> None:
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

    def _evaluate(self) -> None:
        """One evaluation of the physics: all force groups but the jump's."""
        if self.needs_forces:
            self.each("force", "f")
        self.set("potential", "energy")
        self.set("evaluations", "evaluations + 1")

    def _correct(self) -> None:
        """C: the correcting force, where the jump was last asked or has landed."""
        self.each("here", "x")
        self.each("x", "force")
        self.ask(Stage.CORRECTION, "correction", "residual")
        self.each("x", "here")
        self.idle()
        self.set("outcome", "max(0, -residual)")

    def _correct_again(self) -> None:
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

    def _energy_change(self) -> None:
        """Compare the total energy at the landing with that at the start of the step."""
        self.total("kinetic", "0.5*m*v*v")
        self.set("change", "potential + kinetic - start_potential - start_kinetic")

    def _add_up(self, counts: str) -> None:
        """Sum up the errors of the model, over all landings that count."""
        self.set("landings", f"landings + {counts}")
        self.set("residual_squares", f"residual_squares + select({counts}, residual, 0)")
        if "energy" in self.jump.predicts:
            error = "(predicted - potential + start_potential)^2"
            self.set("error_squares", f"error_squares + select({counts}, {error}, 0)")

    def _back_to_the_start(self, velocities: str) -> None:
        """Undo the stride, where ``undone`` says so, with these velocities."""
        self.each("x", "select(undone, start_x, x)")
        self.each("v", f"select(undone, {velocities}, v)")
        if self.needs_forces:
            self.each("force", "select(undone, start_force, force)")
        self.set("potential", "select(undone, start_potential, potential)")

    def _physics_steps(self) -> None:
        """In place of a jump undone k velocity-Verlet steps, one evaluation each, or RATTLE."""
        self.ask(Stage.ABSURD, provided="absurd")
        self.idle()
        self.set("undone", f"delta(failed - {_UNDONE})")
        self._back_to_the_start("start_v")
        self.set("count", "base_steps*(1 - undone)")
        with self.loop("count < base_steps"):
            self.each("v", "v + 0.5*dt/base_steps*force/m")
            self.each("x", "x + dt/base_steps*v")
            if self.constrained:
                self.each("here", "x")
                self.integrator.addConstrainPositions()
                self.each("v", "v + (x - here)*base_steps/dt")
            self._evaluate()
            self.each("v", "v + 0.5*dt/base_steps*force/m")
            if self.constrained:
                self.integrator.addConstrainVelocities()
            self.set("count", "count + 1")
        self.total("fast", "step(abs(v) - speed_limit)")
        self.set("fallbacks", "fallbacks + undone")
        unsound = "undone*(1 - delta(fast)*step(1e300 - abs(potential)))"
        self.set("failed", f"select({unsound}, {_STOPPED}, failed)")

    def _count_bond_changes(self) -> None:
        """Count bonds that broke or formed, where the jump saw any or was not asked."""
        self.ask(Stage.BONDS, "dx", "bond_change", provided=f"step({_UNDONE} - failed)")
        self.idle()
        self.set("bond_changes", "bond_changes + delta(bond_change - 1)")
        self.set("failed", f"max(failed, {_STOPPED}*step(bond_change - {_STOPPED}))")
