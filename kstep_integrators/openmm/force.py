"""The function of the jump's ``PythonForce``: stages in, jumps and corrections out."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import openmm
import torch
from openmm import unit

from kstep_integrators import units
from kstep_integrators.jumps.base import JumpInfo
from kstep_integrators.mechanics.bond_watch import bond_changes
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.openmm import stages
from kstep_integrators.openmm.inner import Inner
from kstep_integrators.openmm.particles import Array, Particles
from kstep_integrators.openmm.source import Model, ModelSource
from kstep_integrators.openmm.subject import Subject
from kstep_integrators.openmm.transit import Transit
from kstep_integrators.physics.store import geometry
from kstep_integrators.state import Evaluation, EvaluationFailed, PhaseState
from kstep_integrators.step.guard import DynamicsFailed, Guard

__all__ = ["JumpForce"]

_THREADS = 64
"""Threads whose transits are kept."""

_log = logging.getLogger(__name__)

_Answer: TypeAlias = tuple[Transit, float, Array | None]
_Parameters: TypeAlias = Mapping[str, float]


class JumpForce:
    """Callable for ``openmm.PythonForce``; pickled, it is the path and hash of a model file.

    Parameters
    ----------
    source : ModelSource
    particles : Particles
    inner : Inner
        What a flow integrates beside the model.
    model : NetworkPotential or DirectJump, optional
        The model, if it is loaded. A copy that comes out of XML loads it at its first jump.

    Notes
    -----
    Nothing raises while the Context holds something else than positions: a problem is kept, the
    integrator is told that the jump does not stand, puts everything back, and asks for it.
    Threads may step Contexts of one System side by side: each has a transit of its own.
    """

    def __init__(
        self,
        source: ModelSource,
        particles: Particles,
        inner: Inner,
        model: Model | None = None,
    ) -> None:
        self.source, self.particles, self.inner = source, particles, inner
        self._subject = Subject(source, particles, inner, model)
        self._rest = np.zeros((len(particles.masses), 3))
        self._failures = self._changes = 0
        self._transits: dict[int, Transit] = {}
        self._stages: dict[int, Callable[[Transit, Array, _Parameters], _Answer]] = {
            stages.BOX: self._box,
            stages.POSITIONS: self._positions,
            stages.FORCES: self._forces,
            stages.FLOW: self._flow,
            stages.VELOCITIES: self._velocities,
            stages.CORRECTION: self._correction,
            stages.FAILED: self._failed,
            stages.ABSURD: self._absurd_energy,
            stages.BONDS: self._bonds,
        }

    def __reduce__(self) -> tuple[type[JumpForce], tuple[ModelSource, Particles, Inner]]:
        """Settings only."""
        return JumpForce, (self.source, self.particles, self.inner)

    def __call__(self, state: openmm.State) -> tuple[float, Array]:
        """Energy and forces, in name; :mod:`kstep_integrators.openmm.stages` says what they are."""
        parameters = state.getParameters()
        stage = round(parameters[stages.STAGE])
        if stage == stages.IDLE:
            return 0.0, self._rest
        thread = threading.get_ident()
        before = self._transits.get(thread, Transit())
        if stage == stages.REPORT:
            self._transits[thread] = dataclasses.replace(before, problem=None)
            if before.problem is not None:
                raise before.problem
            return 0.0, self._rest
        began = time.perf_counter()
        try:
            if before.problem is not None and stage not in (stages.BOX, stages.POSITIONS):
                raise before.problem
            given = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
            if self.inner.periodic and stage in (stages.BOX, stages.POSITIONS):
                vectors = state.getPeriodicBoxVectors(asNumpy=True)
                before = dataclasses.replace(before, box=vectors.value_in_unit(unit.nanometer))
            after, energy, vectors = self._stages[stage](before, given, parameters)
        except BaseException as error:  # noqa: BLE001  (Ctrl-C too must leave a Context in order)
            after = dataclasses.replace(before, problem=error)
            energy, vectors = _refusal(stage, stages.STOPPED), None
        spent = after.seconds + time.perf_counter() - began
        self._transits[thread] = dataclasses.replace(after, seconds=spent)
        if len(self._transits) > _THREADS:
            self._transits.pop(next(iter(self._transits)))
        return energy, self._rest if vectors is None else vectors

    def _box(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        told = np.zeros_like(self._rest)
        if before.box is not None:
            # OpenMM's boxes have no vector above the diagonal; the model leaves a particle out.
            told[:2] = before.box[np.tril_indices(3)].reshape(2, 3)
        return before, 0.0, told

    def _positions(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        state = self._subject.state(given, before.box)
        after = Transit(
            given,
            state,
            inner=before.known.get(geometry(state)),
            box=before.box,
            known=before.known,
            bonds=before.bonded.at(given, self._subject.covered(state)),
            bonded=before.bonded,
        )
        return after, before.seconds, None

    def _forces(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        _, state = before.here()
        return dataclasses.replace(before, forces=_tensor(given, state)), 0.0, None

    def _flow(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        origin, state = before.here()
        began = origin if before.box is None else self._subject.whole(origin, before.box)
        steps = round(parameters[stages.STEPS])
        jump = self._subject.jump(parameters[stages.STRIDE] / steps * units.PS, state)
        momenta = torch.from_numpy(given * units.NM_PER_PS).to(state.masses) * state.masses
        start = state.replace(momenta=momenta)
        try:
            landed, info = jump(start, before.physics(), before.inner, steps)
        except EvaluationFailed as error:
            return self._undone(before, stages.FLOW, f"potential: {error}")
        absurd = _absurd(start, landed, guarded=parameters[stages.GUARDED] > 0)
        absurd = info.failures.get(0, absurd)
        if absurd:
            return self._undone(before, stages.FLOW, absurd)
        # The sum that the platform makes as well, so that the landing is recognized.
        moved = landed.positions.cpu().numpy() / units.NM - began
        landing = origin + moved
        there = self._subject.state(landing, before.box)
        if before.inner is None and info.start is not None:
            before.known.put(geometry(start), info.start)
        if info.end is not None:
            before.known.put(geometry(there), info.end)
        verdict = stages.FINE
        if before.bonds is not None:
            # Those at the start of the step, until it is known to end here.
            before.bonded.put(landing, before.bonds)
            if bond_changes(before.bonds, self._subject.covered(there))[1]:
                verdict = stages.CHANGED
        after = dataclasses.replace(
            before,
            positions=landing,
            state=there,
            inner=info.end,
            velocities=_velocities(landed) - given,
            forces=None,
            predicted=_predicted(info),
        )
        return after, float(verdict), moved

    def _velocities(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        return dataclasses.replace(before, velocities=None), before.predicted, before.velocities

    def _correction(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        _, state = before.here()
        stride = parameters[stages.STRIDE] * units.PS
        jump = self._subject.jump(stride / round(parameters[stages.STEPS]), state)
        forces = _tensor(given, state)
        physics = Evaluation(torch.zeros_like(state.time), forces)
        try:
            inner = before.inner or jump.begin(state)
            if before.inner is None and inner is not None:
                before.known.put(geometry(state), inner)
            corrector = stages.CORRECTORS_BY_CODE[parameters[stages.CORRECTOR]]
            force = corrector(state, physics, inner, stride, jump).force
        except EvaluationFailed as error:
            return self._undone(before, stages.CORRECTION, f"potential: {error}")
        residual = 0.0
        if inner is not None and inner.forces is not None:
            residual = float((forces - inner.forces).square().sum())
        if force is None:
            return before, residual, None
        return before, residual, constrain(state, force).cpu().numpy() / units.KJ_PER_MOL_NM

    def _failed(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        problem = before.problem or DynamicsFailed(
            "a jump was undone, and the physics steps in its place are not finite or faster than "
            "1 A/fs too; the base step may be too long, or the start far from equilibrium. "
            "Positions and velocities are those before the step"
        )
        return dataclasses.replace(before, problem=problem), 0.0, None

    def _absurd_energy(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        limit = f"{Guard().max_energy_change:g} eV, or a tenth of it per atom beyond ten"
        return self._undone(before, stages.ABSURD, f"the total energy changed by more than {limit}")

    def _bonds(self, before: Transit, given: Array, parameters: _Parameters) -> _Answer:
        if before.bonds is None:
            return before, 0.0, None
        here = self._subject.covered(self._subject.state(given, before.box))
        bonds, told = bond_changes(before.bonds, here)
        before.bonded.put(given, bonds)
        if told:
            self._changes += 1
            if _milestone(self._changes):
                words = "; ".join(told.values())
                _log.warning(
                    "%s (%d steps with such changes so far); the model may not cover what follows",
                    words,
                    self._changes,
                )
        return before, float(bool(told)), None

    def _undone(self, before: Transit, stage: int, why: str) -> _Answer:
        self._failures += 1
        if _milestone(self._failures):
            _log.warning("a jump was undone: %s (%d so far)", why, self._failures)
        return before, _refusal(stage, stages.UNDONE), None


def _milestone(count: int) -> bool:
    """The first, the tenth, the hundredth."""
    return str(count).strip("0") == "1"


def _tensor(forces: Array, state: PhaseState) -> torch.Tensor:
    """Forces (kJ/mol/nm) in eV/angstrom, where the state is."""
    return torch.from_numpy(forces * units.KJ_PER_MOL_NM).to(state.masses)


def _predicted(info: JumpInfo) -> float:
    """Change of the potential's energy over a jump, kJ/mol; zero if it has none."""
    if info.start is None or info.end is None:
        return 0.0
    return float(info.end.energy - info.start.energy) / units.KJ_PER_MOL


def _velocities(state: PhaseState) -> Array:
    """(N, 3) nm/ps."""
    found: Array = (state.momenta / state.masses).cpu().numpy() / units.NM_PER_PS
    return found


def _absurd(before: PhaseState, after: PhaseState, guarded: bool) -> str:
    """Why a landing cannot stand; empty if it can."""
    if guarded:
        return Guard().check_jump(before, after).get(0, "")
    finite = bool((after.positions + after.momenta).isfinite().all())
    return "" if finite else "the jump ended where positions or momenta are not finite"


def _refusal(stage: int, verdict: int) -> float:
    return float(-verdict if stage == stages.CORRECTION else verdict)
