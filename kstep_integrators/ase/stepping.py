"""Steps of a run on its atoms: what their user has changed, one jump, and where it ends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from kstep_integrators.ase.atoms import (
    check_atoms,
    check_calculator,
    check_two,
    state_from_atoms,
    template_of,
)
from kstep_integrators.ase.checkpoint import Checkpoint
from kstep_integrators.ase.edits import Written, check_learnable
from kstep_integrators.ase.outputs import Marks
from kstep_integrators.ase.restart_file import write_restart
from kstep_integrators.ase.run_lines import burn_in_line, verification_line, volume_line
from kstep_integrators.ase.run_readings import RunReadings
from kstep_integrators.fields import replaced, to_device
from kstep_integrators.models.domain import warn_of_domain
from kstep_integrators.physics.calculation import forget
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.counting import Meter
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.state import EvaluationFailed, PhaseState, kinetic_energy
from kstep_integrators.step.guard import DynamicsFailed
from kstep_integrators.step.run import Run, advance, begin, moved_to
from kstep_integrators.step.run_learning import recorded_jump
from kstep_integrators.step.scheme import BoundScheme, Scheme
from kstep_integrators.step.stats import warn_of_changes

__all__ = ["SteppingDynamics"]

_log = logging.getLogger(__name__)


class SteppingDynamics(RunReadings):
    """Makes the steps of a run, and lets its atoms and their calculator stand where it is.

    The run is frozen and replaced as a whole; the atoms are the user's, who may change them between
    two steps.
    """

    rng: np.random.Generator
    _written: Written | None
    _physics: CalculatorPhysics | None
    _restart: Path
    _settings: dict[str, Any]

    def step(self) -> None:
        """Make one jump."""
        before, noise = self._current(), self.rng.bit_generator.state
        meter = Meter(before.scheme.physics, 1)
        try:
            after, (info,), changes = advance(before, self.rng, meter)
            scheme = self.scheme
            if self._learning is not None and not info.lost:
                after, scheme = self._learning.after_step(after, scheme, self._say)
        except BaseException:
            # The step is undone as a whole: made again, it is given the same noise.
            self.rng.bit_generator.state = noise
            self._run = before.charged(meter)
            if self._physics is not None:
                self._physics.serve(before.point.computed)
            raise
        if info.lost:
            self.rng.bit_generator.state = noise
            self._run = replaced(before, stats=after.stats)
            path = self._save() or write_restart(self.atoms, before.point, self._restart)
            raise DynamicsFailed(
                f"{info.lost[0]}. The last good state (step {self.nsteps}) is in {path}"
            )
        self._follow(scheme)
        self._run = after
        self._stand(after)
        self._dt()
        if before.burn_in is not None and after.burn_in is None:
            self._tell(burn_in_line(self.production_start, self.k, self.dt))
        if before.stats[0].volume_frozen is None and after.stats[0].volume_frozen is not None:
            self._tell(volume_line(after))
        if info.estimate_error is not None and bool(info.estimate_error.isfinite()):
            number, conserved = self.nsteps + 1, self.get_conserved_energy()
            error = float(info.estimate_error)
            self._tell(verification_line(number, after.stats[0], error, len(self.atoms), conserved))
        # Last: a warning may have been made an error, and the jump stands then too.
        where = f"step {self.nsteps + 1}"
        old, new = before.stats[0].residual_sum, after.stats[0].residual_sum
        warn_of_domain(self.jump, self.atoms, old, new, 3 * len(self.atoms))
        warn_of_changes(before.stats[0], after.stats[0], where, changes.get(0), info.reason)
        if self._learning is not None:
            self._learning.check_physics(self._say)

    def get_conserved_energy(self) -> float:
        """Total energy of the physics minus what has been put in from outside, eV.

        That is the heat of the thermostat, and what moves of the volume have changed the energy by.
        It is conserved to the error of the jumps; at constant energy it is the total energy. Of a
        corrector that averages positions it is that of which the motion is the true one: the
        potential's, and what the physics is above it at the averaged positions. Before the first
        step it costs the evaluation that the run starts with, afterwards none.
        """
        point = self._current().point
        total = point.potential_energy + kinetic_energy(point.state)
        return float(total.sum()) - self.transferred_energy

    def _refresh_properties(self) -> None:
        """Evaluate the physics at the first geometry; every jump evaluates its own landing."""
        if self._written is None:
            self._current()

    def _current(self) -> Run:
        """The run at ``atoms`` as the user left them."""
        run, written, atoms = self._run, self._written, self.atoms
        if run is not None and written is not None:
            changed = written.changed(atoms)
            moved = written.moved(atoms)
            if not changed and not moved and not written.kicked(atoms):
                return run
            if changed:
                # It may not look at what has changed, and serve what it knew before.
                forget(atoms.calc)
                check_atoms(atoms)
                if self._learning is not None:
                    check_learnable(changed, bool(atoms.pbc.any()))
            if run.stats[0].jumps and changed:
                _log.info("step %d: %s changed, evaluated anew", self.nsteps, ", ".join(changed))
            check_calculator(atoms)
            check_two(self.jump, atoms.calc)
        state = state_from_atoms(atoms, self.jump.device, self.get_time())
        if state.bonds is not None:
            # They may have been projected: logs are to show those that the run starts with.
            atoms.set_momenta(state.momenta.cpu().numpy(), apply_constraint=False)
        if run is None:
            self._run = begin(state, self._bind(state), self.options)
            if self._learning is not None:
                self._run, scheme = self._learning.begin(self._run, self.scheme, self._say)
                self._follow(scheme)
        elif written is None or changed:
            self._run = moved_to(run, state, self._bind(state))
        elif moved:
            self._run = moved_to(run, state, run.scheme)
        else:
            self._run = replaced(run, point=replaced(run.point, state=state))
        run = self._run
        if run.point.physics.failures:
            self._written = None  # there is no run at these positions
            raise EvaluationFailed("; ".join(run.point.physics.failures.values()))
        if self._physics is not None:  # a label may have been in its place
            self._physics.serve(run.point.computed)
        self._remember()
        return run

    def _bind(self, state: PhaseState) -> BoundScheme:
        """The scheme of a step of these atoms, on a physics of their own."""
        rule = self.scheme.metropolis
        kept = 2 if rule is None else rule.extra_chances + 2
        kept += self.scheme.barostat is not None
        self._physics = CalculatorPhysics(self.atoms, self.atoms.calc, kept)
        if self._learning is not None:
            return self.scheme.bind(state, self._learning.labelled(self._physics))
        return self.scheme.bind(state, self._physics)

    def _follow(self, scheme: Scheme) -> None:
        """Go on with the scheme that learning has come to."""
        self.__dict__.update(scheme=scheme, jump=scheme.jump)

    def _stand(self, run: Run) -> None:
        """Put the atoms and their calculator where the run is."""
        state = run.point.state
        positions, momenta = state.positions.cpu().numpy(), state.momenta.cpu().numpy()
        self.atoms.arrays["positions"][:] = positions
        if run.volume is not None:
            self.atoms.set_cell(state.cell[0].cpu().numpy())
        self.atoms.set_array("momenta", momenta, float, (3,))
        if self._physics is not None:
            self._physics.serve(run.point.computed)
        self._written = Written.of(self.atoms, positions, momenta)

    def _remember(self) -> None:
        """Keep what has been written to the atoms, to tell what their user changes."""
        if self._run is not None:
            state = self._run.point.state
            positions, momenta = state.positions.cpu().numpy(), state.momenta.cpu().numpy()
            self._written = Written.of(self.atoms, positions, momenta)

    def _tell(self, line: str | None) -> None:
        """Say something, if there is anything, in the log of the run too."""
        if line is not None:
            _log.info(line)
            self._say(line)

    def _go_on(self, kept: Checkpoint) -> None:
        """Stand where the run of a checkpoint stood."""
        point = kept.run.point.to(self.jump.device)
        templates = (template_of(self.atoms),)
        point = replaced(point, state=point.state.replace(templates=templates))
        bonds = to_device(kept.run.bonds, self.jump.device)
        scheme = self._bind(point.state)
        run = replaced(kept.run, scheme=scheme, point=point, bonds=bonds)
        if self._learning is not None:
            run, learned = self._learning.go_on(run, self.scheme)
            self._follow(learned)
        self._run = run
        if self._physics is not None:
            self._physics.adopt(point.computed_at, point.computed, kept.results)
        if not kept.edited:
            self._remember()
        self._dt()

    def _state(self) -> object | None:
        return None if self._run is None else self._run.point

    def _is_edited(self) -> bool:
        written, atoms = self._written, self.atoms
        if written is None:
            return True
        return bool(written.changed(atoms)) or written.moved(atoms) or written.kicked(atoms)

    def _snapshot(self, marks: Marks) -> Checkpoint:
        run, physics = self._run, self._physics
        if run is None or physics is None:
            raise ValueError("this run has not begun: it has no state to write")
        settings = self._settings
        if self._learning is not None:
            run = self._learning.with_waiting(run)
            settings = {**settings, "labels": self._learning.count}
        return Checkpoint(
            run=run,
            options=self.options,
            atoms=(self.atoms,),
            results=physics.results(run.point.computed),
            generators=(self.rng.bit_generator.state,),
            nsteps=self.nsteps,
            settings=settings,
            jump=recorded_jump(self.jump, self._learning is not None),
            physics=settings_of(self.atoms.calc),
            marks=(marks,),
            edited=self._written is None or bool(self._written.changed(self.atoms)),
        )
