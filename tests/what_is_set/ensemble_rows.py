"""Arguments of ``Ensemble``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.io import read

from kstep_integrators import Ensemble, Guard, Learning
from tests.conftest import cheap, hot, physics
from tests.what_is_set.ase_runs import BASE, BATH
from tests.what_is_set.table import HONOURED, NONE, Row, Section, no_such_moment, outcome_of

__all__ = ["SECTION", "missing"]

LANGEVIN: Mapping[str, Any] = {"thermostat": "langevin", **BATH}
BUSSI: Mapping[str, Any] = {"thermostat": "bussi", "temperature_K": 300.0, "taut": 10 * units.fs}
LADDER: Mapping[str, Any] = {**LANGEVIN, "metropolize": True, "temperature_K": (300.0, 310.0)}
POOR: Mapping[str, Any] = {"model": cheap(depth=0.2)}
MOLLIFIED: Mapping[str, Any] = {"k": 8, "corrector": "mollified"}
FILES = ("trajectory", "logfile", "checkpoint")


def springs(atoms: Any) -> Any:
    """The physics."""
    return physics()


def soft_springs(atoms: Any) -> Any:
    """Another physics."""
    return physics(depth=1.0)


def pair(seed: int = 0) -> list[Any]:
    return [hot(seed=seed), hot(seed=seed + 7)]


def build(options: Mapping[str, Any], folder: Path) -> Ensemble:
    """An ensemble of two, with its files in the folder."""
    given = {"atoms_list": pair(), "model": cheap(depth=1.6), "physics": springs, **BASE,
             "rng": np.random.default_rng(0), **options}  # fmt: skip
    if callable(given["rng"]):
        given["rng"] = given["rng"]()
    for name in FILES:
        if isinstance(given.get(name), str):
            given[name] = folder / given[name]
    return Ensemble(**given)


def result(ensemble: Ensemble, folder: Path) -> tuple[Any, ...]:
    """Everything that can be seen, without seconds."""
    seen: list[Any] = [ensemble.nsteps, ensemble.exchanges]
    for one in ensemble.result().replicas:
        stats = one.stats
        counts = (stats.jumps, stats.physics_evaluations, stats.fallbacks, stats.exceeded,
                  stats.shrinks, stats.accepted, stats.flips, stats.verifications)  # fmt: skip
        seen += [counts, one.atoms.positions.tolist(), one.atoms.get_momenta().tolist()]
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".traj":
            seen.append((path.name, len(read(path, ":"))))
        elif path.suffix == ".log":
            seen.append((path.name, len(path.read_text().splitlines())))
        else:
            seen.append(path.name)
    return tuple(seen)


@dataclass(frozen=True)
class Case:
    """One argument: options of two ensembles that end elsewhere, and a value without sense."""

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    nonsense: Any
    say: tuple[str, ...] = ()

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, self.between, no_such_moment, self.resumed))

    def set(self, folder: Path) -> str:
        ends = []
        for name, options in (("first", self.first), ("second", self.second)):
            (folder / name).mkdir()
            with build(options, folder / name) as ensemble:
                ensemble.run(6)
                ends.append(result(ensemble, folder / name))
        return HONOURED if ends[0] != ends[1] else "ignored"

    def refuse(self, folder: Path) -> str:
        wrong = {**self.first, self.name: self.nonsense}
        return outcome_of(lambda: build(wrong, folder).close(), (self.name, *self.say))

    def between(self, folder: Path) -> str:
        with build(self.first, folder) as ensemble:
            ensemble.run(3)
            value = self.second.get(self.name)
            outcome = outcome_of(
                lambda: setattr(ensemble, self.name, value), (self.name, *self.say)
            )
            ensemble.run(3)
            end = result(ensemble, folder)
        if outcome != HONOURED:
            return outcome
        (folder / "unchanged").mkdir()
        with build(self.first, folder / "unchanged") as other:
            other.run(6)
            return HONOURED if result(other, folder / "unchanged") != end else "ignored"

    def resumed(self, folder: Path) -> str:
        ends = []
        for resume in (False, True):
            at = folder / str(resume)
            at.mkdir()
            options = {"checkpoint": "run.ckpt", "checkpoint_interval": 3, **self.second}
            ensemble = build(options, at)
            ensemble.run(3)
            if resume:
                ensemble.close()
                ensemble = Ensemble.resume(
                    at / "run.ckpt",
                    options.get("physics", springs),
                    options.get("model", cheap(depth=1.6)),
                    workers=options.get("workers", 1),
                )
            with ensemble:
                ensemble.run(3)
                ends.append(result(ensemble, at))
        return "kept" if ends[0] == ends[1] else "lost"


class Elsewhere(Case):
    """Where the work is done: the numbers are the same, and nothing else is."""

    def set(self, folder: Path) -> str:
        return HONOURED if super().set(folder) == "ignored" else "other numbers"

    def between(self, folder: Path) -> str:
        with build(self.first, folder) as ensemble:
            value = self.second.get(self.name, self.nonsense)
            return outcome_of(lambda: setattr(ensemble, self.name, value), (self.name, *self.say))


class Scheduler(Elsewhere):
    """A Dask cluster has tests of its own."""

    def set(self, folder: Path) -> str:
        return NONE

    def resumed(self, folder: Path) -> str:
        return NONE


class Interval(Case):
    """Steps between two checkpoints, whose times tell when they were written."""

    def set(self, folder: Path) -> str:
        seen: list[list[bool]] = []
        for options in (self.first, self.second):
            seen.append([])
            with build(options, folder) as ensemble:
                ensemble._save()  # type: ignore[attr-defined]
                seen.append([ensemble._checkpoint_interval])  # type: ignore[attr-defined]
        return HONOURED if seen[1] != seen[3] else "ignored"


class Refused(Case):
    """Options of cells are refused: replicas share one cell."""

    def set(self, folder: Path) -> str:
        return outcome_of(lambda: build(self.second, folder), (self.name, "pressure"))

    def resumed(self, folder: Path) -> str:
        return NONE


CASES = (
    Case("atoms_list", {}, {"atoms_list": pair(1)}, [], ("molecules",)),
    Case("model", {}, {"model": cheap(depth=1.0)}, "no-such-model"),
    Case("physics", {}, {"physics": soft_springs}, physics(), ("calculator",)),
    Case("k", {}, {"k": 4}, 2.5),
    Case("timestep", {}, {"timestep": 0.25 * units.fs}, -1.0),
    Case("corrector", {"k": 8}, MOLLIFIED, "impuls"),
    Case("thermostat", LANGEVIN, BUSSI, "nose"),
    Case("temperature_K", LANGEVIN, {**LANGEVIN, "temperature_K": (300.0, 600.0)}, (300.0,) * 3),
    Case("friction", LANGEVIN, {**LANGEVIN, "friction": 0.5 / units.fs}, "strong"),
    Case("taut", BUSSI, {**BUSSI, "taut": 2 * units.fs}, 0.0),
    Refused("pressure", {}, {**LANGEVIN, "pressure": 1e-6}, np.nan),
    Refused("barostat", {}, {**LANGEVIN, "pressure": 1e-6, "barostat": "anisotropic"}, "xy"),
    Refused("barostat_scales", {}, {**LANGEVIN, "pressure": 1e-6, "barostat_scales": "atoms"}, 1),
    Refused("barostat_interval", {}, {**LANGEVIN, "pressure": 1e-6, "barostat_interval": 3}, 0),
    Case("exchange_interval", LADDER, {**LADDER, "exchange_interval": 1}, 0),
    Case("rng", LANGEVIN, {**LANGEVIN, "rng": lambda: np.random.default_rng(1)}, 1),
    Case("metropolize", LANGEVIN, {**LANGEVIN, "metropolize": True}, 1),
    Case("extra_chances", {**LANGEVIN, "metropolize": True, "k": 40},
         {**LANGEVIN, "metropolize": True, "k": 40, "extra_chances": 0}, -1),
    Case("on_error", {**POOR, "energy_tolerance": 1e-6},
         {**POOR, "energy_tolerance": 1e-6, "on_error": "warn"}, "ignore"),
    Case("energy_tolerance", POOR, {**POOR, "energy_tolerance": 1e-6}, -1.0),
    Case("force_tolerance", POOR, {**POOR, "force_tolerance": 1e-3}, 0.0),
    Case("verify_interval", {**MOLLIFIED, "verify_interval": 1},
         {**MOLLIFIED, "verify_interval": 2}, -1),
    Case("guard", POOR, {**POOR, "guard": Guard(max_energy_change=0.01)}, 3.0),
    Case("learn", {}, {"learn": Learning(refit=False, grow=False)}, 1),
    Elsewhere("device", {}, {"device": "cpu"}, "gpu"),
    Elsewhere("workers", {}, {"workers": 2}, -1),
    Scheduler("scheduler", {}, {}, 3.0),
    Case("trajectory", {}, {"trajectory": "frames"}, 3.0),
    Case("logfile", {}, {"logfile": "logs"}, 3.0),
    Case("loginterval", {"logfile": "logs"}, {"logfile": "logs", "loginterval": 3}, 0),
    Case("checkpoint", {}, {"checkpoint": "run.ckpt"}, 3.0),
    Interval("checkpoint_interval", {"checkpoint": "run.ckpt", "checkpoint_interval": 2},
             {"checkpoint": "run.ckpt", "checkpoint_interval": 5}, 0),
)  # fmt: skip

SECTION = Section(
    "Ensemble",
    "Arguments. A change is made by setting the attribute; there are no observers.",
    [case.row() for case in CASES],
)


def missing() -> set[str]:
    """Arguments that no row tries, and rows of no argument."""
    there = {name for name in inspect.signature(Ensemble).parameters if not name.startswith("_")}
    return there ^ {case.name for case in CASES}
