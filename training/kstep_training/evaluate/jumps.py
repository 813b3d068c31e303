"""Runs of jumps: all starts of a molecule as one ensemble, whose network takes them in one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from kstep_integrators import FlowJump, units
from kstep_integrators.ensemble import Ensemble, EnsembleResult
from kstep_integrators.jumps.direct import DirectJump
from kstep_training.evaluate.counting import Counting, counts
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Frame, Record, record_of
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import calculator_factory, make_model
from kstep_training.evaluate.watched import WatchedJump

__all__ = ["jumps"]


def jumps(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    """All runs of a method: what replicas say of themselves, and what their calculators count.

    Parameters
    ----------
    method : Method
    starts : sequence of ase.Atoms
        Of one molecule, numbered by ``info["replica"]``.
    settings : EvaluateSettings
    entropy : sequence of int
        Seed of the noise of each.

    Returns
    -------
    list of Record
        One for each start; a replica that is lost keeps what it has.
    """
    model = make_model(method.potential, starts[0], settings.compile)
    jump = model if isinstance(model, DirectJump) else FlowJump(model, settings.base_fs * units.FS)
    base_fs = jump.timestep / units.FS
    k, part = round(method.stride_fs / base_fs), round(method.frame_fs / base_fs)
    watched = WatchedJump(jump, part)
    factory = Counting(calculator_factory(settings.physics))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Ensemble(
            starts,
            watched,
            factory,
            k,
            corrector=method.corrector,
            rng=np.random.default_rng([*entropy, 3]),
            **_bath(method, settings),
        ) as ensemble:
            last, frames, seconds = _followed(ensemble, watched, method, k // part - 1)
    records = []
    for i, (atoms, replica) in enumerate(zip(starts, last.replicas, strict=True)):
        stats = replica.stats
        facts = {
            "evaluations": stats.physics_evaluations,
            **counts(factory.made[i]),
            "seconds": seconds / len(starts),
            "jump_seconds": stats.jump_seconds,
            "residual_rms": stats.residual_rms,
            "energy_error": stats.energy_error,
            "jumps": stats.jumps,
            "fallbacks": stats.fallbacks,
            "accepted": stats.accepted,
            "flips": stats.flips,
            "bond_changes": stats.bond_changes,
            "warnings": [str(w.message) for w in said if f"replica {i}," in str(w.message)],
            "error": replica.failure or "",
        }
        records.append(record_of(atoms, method.frame_fs, frames[i], facts))
    return records


def _bath(method: Method, settings: EvaluateSettings) -> dict[str, Any]:
    """Arguments of the ensemble for a constant temperature, if that is wanted."""
    if method.part != "ensemble":
        return {}
    friction = np.inf if method.metropolize else settings.friction_per_ps / units.PS
    bath: dict[str, Any] = {"temperature_K": settings.temperature, "friction": friction}
    return bath | ({"metropolize": True, "extra_chances": 0} if method.metropolize else {})


def _followed(
    ensemble: Ensemble, watched: WatchedJump, method: Method, inside: int
) -> tuple[EnsembleResult, list[list[Frame]], float]:
    """The end, the frames of each replica, and the seconds it took all of them."""
    ensemble.run(0)
    before = ensemble.result()
    frames = [[_frame(replica.atoms)] for replica in before.replicas]
    seconds = 0.0
    for number in range(method.steps):
        began = time.perf_counter()
        ensemble.run(1)
        # The first jump compiles.
        seconds += (time.perf_counter() - began) * (number > 0)
        after = ensemble.result()
        left = [i for i, r in enumerate(before.replicas) if r.failure is None]
        between = _between(watched, inside, len(left))
        for slot, i in enumerate(left):
            old, new = before.replicas[i], after.replicas[i]
            if new.failure is not None:
                continue
            undone = new.stats.fallbacks > old.stats.fallbacks or method.metropolize
            frames[i] += [_hidden(f) if undone else f for f in between[slot]]
            frames[i].append(_frame(new.atoms))
        before = after
        if len(after.failures) == len(frames):
            break
    return before, frames, seconds * method.steps / max(method.steps - 1, 1)


def _frame(atoms: Atoms) -> Frame:
    energy = np.nan if atoms.calc is None else float(atoms.calc.results["energy"])
    return atoms.get_positions(), atoms.get_momenta(), energy


def _between(watched: WatchedJump, inside: int, replicas: int) -> list[list[Frame]]:
    """Frames inside the last jump of each replica."""
    found: list[list[Frame]] = [[] for _ in range(replicas)]
    for state in watched.inside[-inside:] if inside else []:
        positions = state.positions.cpu().numpy().reshape(replicas, -1, 3)
        momenta = state.momenta.cpu().numpy().reshape(replicas, -1, 3)
        for mine, x, p in zip(found, positions, momenta, strict=True):
            mine.append((x, p, np.nan))
    return found


def _hidden(frame: Frame) -> Frame:
    return np.full_like(frame[0], np.nan), np.full_like(frame[1], np.nan), np.nan
