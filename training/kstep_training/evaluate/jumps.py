"""Runs of jumps: all starts of a molecule as one ensemble, whose network takes them in one call.

Spectra of long strides need frames that no stride ends at: a :class:`WatchedJump` keeps states
inside its jumps.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms

from kstep_integrators import units
from kstep_integrators.ensemble import Ensemble, EnsembleResult
from kstep_integrators.jumps.base import Averaged, BoundJump, Jump, JumpInfo
from kstep_integrators.mechanics.averaging import Window
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState
from kstep_integrators.step.options import RunOptions
from kstep_training.evaluate.counting import CountedPhysics, counts
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import (
    EachFrame,
    Frame,
    Record,
    RecordedEnergies,
    record_of,
)

__all__ = ["WatchedJump", "jump_runs"]


def jump_runs(
    method: Method,
    jump: Jump,
    options: RunOptions,
    starts: Sequence[Atoms],
    physics: CalculatorFactory,
    rng: np.random.Generator,
    each_frame: EachFrame | None = None,
) -> list[Record]:
    """All runs of a method, with the books of the replicas and the counts of their calculators.

    Parameters
    ----------
    method : Method
    jump : Jump
    options : RunOptions
        Of the ensemble, whose stride is that of the method.
    starts : sequence of ase.Atoms
        Of one molecule, with momenta, numbered by ``info["replica"]``.
    physics : CalculatorFactory
    rng : numpy.random.Generator
    each_frame : EachFrame, optional
        Called with the landings as they come, those of undone jumps too.

    Returns
    -------
    list of Record
        One for each start; a replica that is lost keeps what it has. Seconds are without those of
        the first stride, which prepares, and scaled to the whole run.
    """
    timestep_fs = jump.timestep / units.FS
    part = round(method.frame_fs / timestep_fs)
    # The potential of a run that learns changes inside its jump: nothing can stand before it.
    watched = jump if options.learning else WatchedJump(jump, part)
    counted, energies = CountedPhysics(physics), RecordedEnergies(physics)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Ensemble(starts, watched, counted, rng=rng, **vars(options)) as ensemble:
            inside = options.first_k // part - 1
            last, frames, seconds = _follow(
                ensemble, watched, method, inside, counted, energies, each_frame
            )
    records = []
    for i, (atoms, replica) in enumerate(zip(starts, last.replicas, strict=True)):
        stats = replica.stats
        facts = {
            "evaluations": stats.physics_evaluations,
            **counts(counted.counters[i]),
            "seconds": seconds / len(starts),
            "jump_seconds": stats.jump_seconds,
            "residual_rms": stats.residual_rms,
            "energy_error": stats.energy_error,
            "estimate_error": stats.estimate_error,
            "estimate_errors": energies.errors.get(i, []),
            "verifications": stats.verifications,
            "record_evaluations": energies.evaluations.get(i, 0),
            "jumps": stats.jumps,
            "fallbacks": stats.fallbacks,
            "accepted": stats.accepted,
            "flips": stats.flips,
            "bond_changes": stats.bond_changes,
            "warnings": [str(w.message) for w in caught if f"replica {i}," in str(w.message)],
            "error": replica.failure or "",
        }
        records.append(record_of(atoms, method.frame_fs, frames[i], facts))
    return records


def _follow(
    ensemble: Ensemble,
    watched: Jump,
    method: Method,
    inside: int,
    counted: CountedPhysics,
    energies: RecordedEnergies,
    each_frame: EachFrame | None,
) -> tuple[EnsembleResult, list[list[Frame]], float]:
    """The end, the frames of each replica, and the seconds that all of them took."""
    ensemble.run(0)
    before = ensemble.result()
    frames: list[list[Frame]] = [[] for _ in before.replicas]

    def land(number: int, atoms: Atoms) -> None:
        energy = energies(number, atoms)
        frames[number].append((atoms.get_positions(), atoms.get_momenta(), energy))
        if each_frame is not None:
            each_frame(number, atoms, counted.counters[number].evaluations)

    for number, replica in enumerate(before.replicas):
        land(number, replica.atoms)
    seconds = 0.0
    for stride in range(method.steps):
        began = time.perf_counter()
        ensemble.run(1)
        # The first jump prepares the network.
        seconds += (time.perf_counter() - began) * (stride > 0)
        after = ensemble.result()
        left = [i for i, r in enumerate(before.replicas) if r.failure is None]
        between = _between(watched, inside, len(left))
        for slot, i in enumerate(left):
            old, new = before.replicas[i], after.replicas[i]
            if new.failure is not None:
                continue
            undone = new.stats.fallbacks > old.stats.fallbacks or method.metropolize
            frames[i] += [_hidden(f) if undone else f for f in between[slot]]
            land(i, new.atoms)
        before = after
        if len(after.failures) == len(frames):
            break
    return before, frames, seconds * method.steps / max(method.steps - 1, 1)


def _between(watched: Jump, inside: int, replicas: int) -> list[list[Frame]]:
    """Frames inside the last jump of each replica."""
    frames: list[list[Frame]] = [[] for _ in range(replicas)]
    kept = watched.inside if isinstance(watched, WatchedJump) else []
    for state in kept[-inside:] if inside else []:
        positions = state.positions.cpu().numpy().reshape(replicas, -1, 3)
        momenta = state.momenta.cpu().numpy().reshape(replicas, -1, 3)
        for mine, x, p in zip(frames, positions, momenta, strict=True):
            mine.append((x, p, np.nan))
    return frames


def _hidden(frame: Frame) -> Frame:
    """A frame of a jump that was undone, in whose place nothing is known."""
    return np.full_like(frame[0], np.nan), np.full_like(frame[1], np.nan), np.nan


class WatchedJump:
    """A jump made in equal parts, whose inner states are kept.

    A flow is velocity Verlet, whose steps do not depend on the jump they are in: the landing is
    the same to the last bit.

    Parameters
    ----------
    jump : Jump
    part : int
        Base steps between two states that are kept; of a direct jump, all of its own.

    Attributes
    ----------
    inside : list of PhaseState
        States inside the last jump, without its ends.
    """

    def __init__(self, jump: Jump, part: int) -> None:
        self.jump, self.part = jump, part
        self.inside: list[PhaseState] = []

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self.jump.timestep

    @property
    def device(self) -> torch.device:
        """Device of the jump."""
        return self.jump.device

    @property
    def correctors(self) -> tuple[str, ...]:
        """Those of the jump."""
        return self.jump.correctors

    @property
    def allowed_k(self) -> tuple[int, ...] | None:
        """Those of the jump."""
        return self.jump.allowed_k

    @property
    def predicts(self) -> tuple[str, ...]:
        """Quantities that the jump predicts."""
        return self.jump.predicts

    @property
    def needs_forces(self) -> bool:
        """True if the jump takes the physical forces where it starts."""
        return self.jump.needs_forces

    @property
    def reversible(self) -> bool:
        """True if the jump is time-reversible and keeps volume."""
        return self.jump.reversible

    def describe(self) -> dict[str, Any]:
        """Description of the jump."""
        return self.jump.describe()

    def bind(self, state: PhaseState) -> BoundJump:
        """The jump for one set of atoms."""
        return _BoundWatched(self, self.jump.bind(state))


class _BoundWatched:
    def __init__(self, owner: WatchedJump, jump: BoundJump) -> None:
        self.owner, self.jump = owner, jump

    def begin(self, state: PhaseState) -> Evaluation | None:
        return self.jump.begin(state)

    def linearized(self, state: PhaseState) -> HessianProducts:
        return self.jump.linearized(state)

    def averaged(self, state: PhaseState, inner: Evaluation, window: Window) -> Averaged:
        return self.jump.averaged(state, inner, window)

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        inside: list[PhaseState] = []
        first: Evaluation | None = None
        failures: dict[int, str] = {}
        done = 0
        while True:
            part = min(self.owner.part, k - done)
            state, info = self.jump(state, physics, inner, part)
            first, inner, done = first or info.start, info.end, done + part
            failures = {**info.failures, **failures}
            if done == k:
                self.owner.inside = inside
                return state, JumpInfo(k, first, info.end, failures)
            inside.append(state)
