"""The runs of a plan: what is asked of ASE's integrators and of the ensemble, and what it said.

``facts`` of a :class:`~kstep_training.evaluate.record.Record` are, where they apply:
``evaluations`` as the run reported them and ``counted`` inside the calculator; ``scf_cycles``;
``seconds``, ``physics_seconds``, ``jump_seconds``; ``residual_rms`` (eV/A) and ``energy_error``
(eV) as reported; ``fallbacks``, ``accepted``, ``flips``, ``bond_changes``, ``warnings``; ``error``,
why the run did not come to its end; ``spot``, what fresh calculators find at some landings.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculationFailed, Calculator
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import FlowJump, units
from kstep_integrators.ensemble import Ensemble
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.workers import CalculatorFactory
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import calculator_factory, make_model
from kstep_training.evaluate.spot import spot_check
from kstep_training.evaluate.watched import WatchedJump

__all__ = ["make_records"]

LOST_EV = 10.0
"""Change of the total energy, eV, at which a run of an ordinary integrator is given up."""


class _Counting:
    """Makes calculators that count, and remembers them by replica."""

    def __init__(self, factory: CalculatorFactory) -> None:
        self.factory = factory
        self.made: dict[int, CountingCalculator] = {}

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        counter = CountingCalculator(cast(Calculator, self.factory(atoms)))
        self.made[int(atoms.info["replica"])] = counter
        return counter


def make_records(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    """Run a method from several starts of one molecule.

    Parameters
    ----------
    method : Method
    starts : sequence of ase.Atoms
    settings : EvaluateSettings
    entropy : sequence of int
        Seed of the noise of each.

    Returns
    -------
    list of Record
        One for each start; a run that failed keeps what it has.
    """
    starts = [atoms.copy() for atoms in starts]
    for number, (atoms, seed) in enumerate(zip(starts, entropy, strict=True)):
        atoms.info["replica"] = number
        if method.part == "ensemble":
            rng = np.random.default_rng([seed, 1])
            thermalize_momenta(atoms, settings.temperature, rng=rng)
    if method.kind == "jumps":
        records = _jumps(method, starts, settings, entropy)
    elif method.kind == "ballistic":
        records = [_ballistic(method, atoms) for atoms in starts]
    else:
        records = [
            _ordinary(method, atoms, settings, seed)
            for atoms, seed in zip(starts, entropy, strict=True)
        ]
    for atoms, record in zip(starts, records, strict=True):
        if method.kind != "ballistic":
            record.facts["spot"] = spot_check(record, method, atoms, settings)
    return records


def _ballistic(method: Method, atoms: Atoms) -> Record:
    """Free flight; no physics at all."""
    frames = int(1000.0 * method.picoseconds / method.frame_fs + 1e-9)
    clock = np.arange(frames + 1, dtype=np.float64) * (method.frame_fs * units.FS)
    momenta = np.repeat(atoms.get_momenta()[None], frames + 1, axis=0)
    return Record(
        atoms.numbers.astype(np.int64),
        atoms.get_masses(),
        clock,
        atoms.positions + clock[:, None, None] * atoms.get_velocities(),
        momenta,
        np.full(frames + 1, np.nan),
        {"evaluations": 0, "counted": 0, "seconds": 0.0, "error": ""},
    )


def _ordinary(method: Method, atoms: Atoms, settings: EvaluateSettings, seed: int) -> Record:
    """Velocity Verlet or BAOAB, by ASE."""
    counter = CountingCalculator(
        cast(Calculator, calculator_factory(settings.physics)(atoms.copy()))
    )
    atoms = atoms.copy()
    atoms.calc = counter
    step = method.stride_fs * units.FS
    dynamics: MolecularDynamics
    if method.kind == "verlet":
        dynamics = VelocityVerlet(atoms, step)
    else:
        dynamics = LangevinBAOAB(
            atoms,
            step,
            temperature_K=settings.temperature,
            T_tau=units.PS / settings.friction_per_ps,
            rng=np.random.default_rng([seed, 2]),
        )
    every = round(method.frame_fs / method.stride_fs)
    frames: list[tuple[Any, Any, float]] = []

    def keep() -> None:
        energy = float(atoms.get_potential_energy())
        total = energy + float(atoms.get_kinetic_energy())
        if frames and method.kind == "verlet" and not abs(total - first[0]) < LOST_EV:
            raise CalculationFailed(f"the total energy changed by {total - first[0]:.3g} eV")
        first.append(total)
        frames.append((atoms.get_positions(), atoms.get_momenta(), energy))

    first: list[float] = []
    dynamics.attach(keep, interval=every)  # type: ignore[no-untyped-call]
    error, began = "", time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            dynamics.run(method.steps)  # type: ignore[no-untyped-call]
    except Exception as failure:  # noqa: BLE001  (calculators raise what they like at wild geometries)
        error = f"{dynamics.nsteps * method.stride_fs:g} fs: {type(failure).__name__}: {failure}"
    facts = {
        "evaluations": counter.evaluations,
        **_counts(counter),
        "seconds": time.perf_counter() - began,
        "error": error,
    }
    return _record(atoms, method.frame_fs, frames, facts)


def _jumps(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    """All seeds as one ensemble, whose network takes them in one call."""
    model = make_model(method.potential, starts[0], settings.compile)
    jump = model if isinstance(model, DirectJump) else FlowJump(model, settings.base_fs * units.FS)
    base_fs = jump.timestep / units.FS
    k, part = round(method.stride_fs / base_fs), round(method.frame_fs / base_fs)
    watched = WatchedJump(jump, part)
    factory = _Counting(calculator_factory(settings.physics))
    bath: dict[str, Any] = {}
    if method.part == "ensemble":
        friction = np.inf if method.metropolize else settings.friction_per_ps / units.PS
        bath = {"temperature_K": settings.temperature, "friction": friction}
        bath |= {"metropolize": True, "extra_chances": 0} if method.metropolize else {}
    inside = k // part - 1
    frames: list[list[tuple[Any, Any, float]]] = [[] for _ in starts]
    seconds = 0.0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Ensemble(
            starts,
            watched,
            factory,
            k,
            corrector=method.corrector,
            rng=np.random.default_rng([*entropy, 3]),
            **bath,
        ) as ensemble:
            ensemble.run(0)
            before = ensemble.result()
            for replica, kept in zip(before.replicas, frames, strict=True):
                kept.append(_frame(replica.atoms))
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
                if len(after.failures) == len(starts):
                    break
    made = max(method.steps - 1, 1)
    records = []
    for i, (atoms, replica) in enumerate(zip(starts, before.replicas, strict=True)):
        stats = replica.stats
        facts = {
            "evaluations": stats.physics_evaluations,
            **_counts(factory.made[i]),
            "seconds": seconds / len(starts) * method.steps / made,
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
        records.append(_record(atoms, method.frame_fs, frames[i], facts))
    return records


def _counts(counter: CountingCalculator) -> dict[str, Any]:
    """What the calculator counted, SCF cycles if it tells of any."""
    cycles = getattr(getattr(counter.calculator, "totals", None), "scf_cycles", None)
    return {
        "counted": counter.evaluations,
        "scf_cycles": cycles,
        "physics_seconds": counter.seconds,
    }


def _frame(atoms: Atoms) -> tuple[Any, Any, float]:
    energy = np.nan if atoms.calc is None else float(atoms.calc.results["energy"])
    return atoms.get_positions(), atoms.get_momenta(), energy


def _between(
    watched: WatchedJump, inside: int, replicas: int
) -> list[list[tuple[Any, Any, float]]]:
    """Frames inside the last jump of each replica."""
    found: list[list[tuple[Any, Any, float]]] = [[] for _ in range(replicas)]
    for state in watched.inside[-inside:] if inside else []:
        positions = state.positions.cpu().numpy().reshape(replicas, -1, 3)
        momenta = state.momenta.cpu().numpy().reshape(replicas, -1, 3)
        for mine, x, p in zip(found, positions, momenta, strict=True):
            mine.append((x, p, np.nan))
    return found


def _hidden(frame: tuple[Any, Any, float]) -> tuple[Any, Any, float]:
    return np.full_like(frame[0], np.nan), np.full_like(frame[1], np.nan), np.nan


def _record(
    atoms: Atoms, frame_fs: float, frames: list[tuple[Any, Any, float]], facts: dict[str, Any]
) -> Record:
    x, p, e = zip(*frames, strict=True)
    return Record(
        atoms.numbers.astype(np.int64),
        atoms.get_masses(),
        np.arange(len(frames), dtype=np.float64) * (frame_fs * units.FS),
        np.array(x),
        np.array(p),
        np.array(e),
        facts,
    )
