"""The function of the jump's ``PythonForce``: it answers each stage of a step."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import openmm
import torch
from openmm import unit

from kstep_integrators import units
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.source import CalculatorSource
from kstep_integrators.mechanics.bond_watch import bond_changes
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.notices import milestone
from kstep_integrators.openmm.solute import Array, Model, Solute
from kstep_integrators.openmm.stages import CORRECTORS_BY_CODE, NOISE, Exchange, Stage, Verdict
from kstep_integrators.openmm.system import BoundModel, Particles, Source
from kstep_integrators.physics.store import geometry
from kstep_integrators.state import (
    Evaluation,
    EvaluationFailed,
    PhaseState,
    residual_of,
    velocities,
)
from kstep_integrators.step.guard import DynamicsFailed, Guard, check_finite

__all__ = ["JumpForce"]

_THREADS = 64
"""Threads whose exchanges are kept."""

_log = logging.getLogger(__name__)

_Answer: TypeAlias = tuple[Exchange, float, Array | None]
_Parameters: TypeAlias = Mapping[str, float]


class JumpForce:
    """Callable for ``openmm.PythonForce``; pickled, it is the path and hash of a model file.

    Or a calculator that has computed nothing yet.

    Parameters
    ----------
    source : ModelSource or CalculatorSource
    particles : Particles
    solute : Solute
    model : NetworkPotential, DirectJump or CalculatorPotential, optional
        The model, if it is loaded. A copy that comes out of XML loads it at its first jump.

    Notes
    -----
    Nothing raises while the Context holds something else than positions: a problem is kept, the
    program learns that the jump does not stand, puts everything back, and asks for it. Threads may
    step Contexts of one System side by side: each has an exchange of its own.
    """

    def __init__(
        self,
        source: Source,
        particles: Particles,
        solute: Solute,
        model: Model | None = None,
    ) -> None:
        self.source, self.particles, self.solute = source, particles, solute
        self._model = BoundModel(source, particles, solute, model)
        self._zero = np.zeros((len(particles.masses), 3))
        self._failures = self._changes = 0
        # Networks may be asked by several threads at once; calculators hold what they were asked.
        alone = isinstance(source, CalculatorSource) or bool(solute.forces)
        self._turn: AbstractContextManager[Any] = threading.Lock() if alone else nullcontext()
        self._exchanges: dict[int, Exchange] = {}
        self._answers: dict[Stage, Callable[[Exchange, Array, _Parameters], _Answer]] = {
            Stage.BOX: self._box,
            Stage.POSITIONS: self._positions,
            Stage.FORCES: self._forces,
            Stage.JUMP: self._jump,
            Stage.VELOCITIES: self._velocities,
            Stage.CORRECTION: self._correction,
            Stage.FAILED: self._failed,
            Stage.ABSURD: self._absurd_energy,
            Stage.BONDS: self._bonds,
            Stage.RATTLE: self._rattle,
        }

    def __reduce__(self) -> tuple[type[JumpForce], tuple[Source, Particles, Solute]]:
        """Settings only."""
        return JumpForce, (self.source, self.particles, self.solute)

    def __call__(self, state: openmm.State) -> tuple[float, Array]:
        """Energy and forces, in name: the answer of :class:`~.stages.Stage`."""
        parameters = state.getParameters()
        number = round(parameters["kstep_stage"])
        if number == Stage.IDLE:
            return 0.0, self._zero
        if number == Stage.NOISE:
            return self._noise(parameters)
        stage, thread = Stage(number), threading.get_ident()
        before = self._exchanges.get(thread, Exchange())
        if stage == Stage.REPORT:
            self._exchanges[thread] = replaced(before, problem=None)
            if before.problem is not None:
                raise before.problem
            return 0.0, self._zero
        began = time.perf_counter()
        try:
            if before.problem is not None and stage not in (Stage.BOX, Stage.POSITIONS):
                raise before.problem
            # Four times a step, and a hundred times faster than getPositions.
            given = np.empty_like(self._zero)
            state._getVectorAsNumpy(openmm.State.Positions, given)  # noqa: SLF001
            if self.solute.periodic and stage in (Stage.BOX, Stage.POSITIONS):
                box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
                before = replaced(before, box=box)
            with self._turn:
                after, energy, vectors = self._answers[stage](before, given, parameters)
        except BaseException as error:  # noqa: BLE001  (Ctrl-C too must leave a Context in order)
            after = replaced(before, problem=error)
            energy, vectors = _refusal(stage, Verdict.STOPPED), None
        spent = after.seconds + time.perf_counter() - began
        self._exchanges[thread] = replaced(after, seconds=spent)
        if len(self._exchanges) > _THREADS:
            self._exchanges.pop(next(iter(self._exchanges)))
        return energy, self._zero if vectors is None else vectors

    def _noise(self, parameters: _Parameters) -> tuple[float, Array]:
        """Numbers that follow from the seed, the draw, and all that tells Contexts apart.

        So a state continues with the noise that its run had, and two replicas that were started
        from one state at other temperatures or parameters have noise of their own.
        """
        values = [f"{name}={parameters[where]!r}" for name, where in NOISE.items()]
        values += [f"{name}={parameters[name]!r}" for name in sorted(parameters.keys())
                   if not name.startswith("kstep_")]  # fmt: skip
        key = hashlib.blake2b(";".join(values).encode(), digest_size=16).digest()
        source = np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64)))
        return source.random(), source.standard_normal(self._zero.shape)

    def _box(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        answer = np.zeros_like(self._zero)
        if before.box is not None:
            # OpenMM's boxes have no vector above the diagonal; the model leaves a particle out.
            answer[:2] = before.box[np.tril_indices(3)].reshape(2, 3)
        return before, 0.0, answer

    def _positions(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        state, inner, last = before.state, before.inner, before.positions
        there = last is not None and before.box is None and np.array_equal(given, last)
        if state is None or not there:
            state = self._model.state(given, before.box)
            inner = before.known.get(geometry(state))
        after = Exchange(
            given,
            state,
            inner=inner,
            box=before.box,
            known=before.known,
            bonds=before.bonded.at(given, self._model.covered(state)),
            bonded=before.bonded,
        )
        return after, before.seconds, None

    def _forces(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        _, state = before.here()
        return replaced(before, forces=_tensor(given, state)), 0.0, None

    def _jump(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        origin, state = before.here()
        began = origin if before.box is None else self._model.unwrapped(origin, before.box)
        k = round(parameters["kstep_k"])
        jump = self._model.jump(parameters["kstep_stride"] / k * units.PS, state)
        momenta = torch.from_numpy(given * units.NM_PER_PS).to(state.masses) * state.masses
        start = state.replace(momenta=momenta)
        try:
            landed, info = jump(start, before.physics(), before.inner, k)
        except EvaluationFailed as error:
            return self._undone(before, Stage.JUMP, f"potential: {error}")
        guarded = parameters["kstep_guarded"] > 0
        failures = Guard().check_jump(start, landed) if guarded else check_finite(landed)
        failures |= info.failures
        if failures:
            return self._undone(before, Stage.JUMP, failures[0])
        # The sum that the platform makes as well, so that the landing is recognized.
        moved = landed.positions.cpu().numpy() / units.NM - began
        landing = origin + moved
        there = self._model.state(landing, before.box)
        if before.inner is None and info.start is not None:
            before.known.put(geometry(start), info.start)
        if info.end is not None:
            before.known.put(geometry(there), info.end)
        verdict = Verdict.STANDS
        if before.bonds is not None:
            # Those at the start of the step, until it is known to end here.
            before.bonded.put(landing, before.bonds)
            if bond_changes(before.bonds, self._model.covered(there))[1]:
                verdict = Verdict.BONDS_CHANGED
        predicted = info.energy_change
        after = replaced(
            before,
            positions=landing,
            state=there,
            inner=info.end,
            velocities=velocities(landed).cpu().numpy() / units.NM_PER_PS - given,
            forces=None,
            predicted=0.0 if predicted is None else float(predicted) / units.KJ_PER_MOL,
        )
        return after, float(verdict), moved

    def _velocities(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        return replaced(before, velocities=None), before.predicted, before.velocities

    def _correction(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        _, state = before.here()
        stride = parameters["kstep_stride"] * units.PS
        jump = self._model.jump(stride / round(parameters["kstep_k"]), state)
        physics = Evaluation(torch.zeros_like(state.time), _tensor(given, state))
        try:
            inner = before.inner or jump.begin(state)
            if before.inner is None and inner is not None:
                before.known.put(geometry(state), inner)
            corrector = CORRECTORS_BY_CODE[parameters["kstep_corrector"]]
            force = corrector(state, physics, inner, stride, jump).force
        except EvaluationFailed as error:
            return self._undone(before, Stage.CORRECTION, f"potential: {error}")
        residual = residual_of(physics, inner)
        squares = 0.0 if residual is None else float(residual.square().sum())
        if force is None:
            return before, squares, None
        return before, squares, constrain(state, force).cpu().numpy() / units.KJ_PER_MOL_NM

    def _failed(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        problem = before.problem or DynamicsFailed(
            "a jump was undone, and the physics steps in its place are not finite or faster than "
            "1 A/fs too; the base step may be too long, or the start far from equilibrium. "
            "Positions and velocities are those before the step"
        )
        return replaced(before, problem=problem), 0.0, None

    def _absurd_energy(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        limit = f"{Guard().max_energy_change:g} eV, or a tenth of it per atom beyond ten"
        return self._undone(before, Stage.ABSURD, f"the total energy changed by more than {limit}")

    def _bonds(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        if before.bonds is None:
            return before, 0.0, None
        state = self._model.state(given, before.box)
        bonds, changes = bond_changes(before.bonds, self._model.covered(state))
        before.bonded.put(given, bonds)
        if changes:
            self._changes += 1
            if milestone(self._changes - 1, self._changes):
                _log.warning(
                    "%s (%d steps with such changes so far); the model may not cover what follows",
                    "; ".join(changes.values()),
                    self._changes,
                )
        inner = before.known.get(geometry(state))
        after = replaced(before, positions=given, state=state, inner=inner)
        return after, float(bool(changes)), None

    def _rattle(self, before: Exchange, given: Array, parameters: _Parameters) -> _Answer:
        _, state = before.here()
        momenta = torch.from_numpy(given).to(state.masses) * state.masses
        kept = constrain(state, momenta) / state.masses
        return before, 0.0, kept.cpu().numpy() - given

    def _undone(self, before: Exchange, stage: Stage, why: str) -> _Answer:
        self._failures += 1
        if milestone(self._failures - 1, self._failures):
            _log.warning("a jump was undone: %s (%d so far)", why, self._failures)
        return before, _refusal(stage, Verdict.UNDONE), None


def _tensor(forces: Array, state: PhaseState) -> torch.Tensor:
    """Forces (kJ/mol/nm) in eV/angstrom, where the state is."""
    return torch.from_numpy(forces * units.KJ_PER_MOL_NM).to(state.masses)


def _refusal(stage: Stage, verdict: Verdict) -> float:
    """The energy that says so; in CORRECTION sums of squares are above zero."""
    return float(-verdict if stage == Stage.CORRECTION else verdict)
