"""Arguments and attributes of ``KStepDynamics``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read

from kstep_integrators import Guard, KStepDynamics, Learning
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from tests.conftest import cheap, hot, potential
from tests.what_is_set.ase_runs import BATH, Sensitive, build, fresh, result, settled
from tests.what_is_set.table import HONOURED, NONE, Row, Section, outcome_of

__all__ = ["SECTION", "missing"]

LANGEVIN: Mapping[str, Any] = {"thermostat": "langevin", **BATH}
BUSSI: Mapping[str, Any] = {"thermostat": "bussi", "temperature_K": 300.0, "taut": 10 * units.fs}
METROPOLIS: Mapping[str, Any] = {**LANGEVIN, "metropolize": True}
POOR: Mapping[str, Any] = {"model": cheap(depth=0.2), "energy_tolerance": 1e-6}
MOLLIFIED: Mapping[str, Any] = {"k": 8, "corrector": "mollified"}


def boxed() -> Atoms:
    """A molecule in a periodic cell, which a barostat can change."""
    atoms = hot()
    atoms.set_cell([12.0, 12.0, 12.0])
    atoms.pbc = True
    atoms.calc = Sensitive()
    return atoms


NPT: Mapping[str, Any] = {
    **LANGEVIN, "atoms": boxed, "pressure": 1e-6, "barostat": "isotropic",
    "barostat_scales": "molecules", "barostat_interval": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One argument: two values that lead elsewhere, and one that makes no sense.

    Attributes
    ----------
    name : str
    first, second : dict
        All options of two runs.
    nonsense : Any
    say : tuple of str
        What a refusal has to name, besides the argument.
    """

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    nonsense: Any
    say: tuple[str, ...] = field(default=())

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, self.between, self.observed, self.resumed))

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.say)

    def at(self, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The options, with files in the folder."""
        return {
            key: folder / value if key in ("trajectory", "logfile", "checkpoint") and value
            else value() if callable(value) else value
            for key, value in options.items()
        }  # fmt: skip

    def set(self, folder: Path) -> str:
        ends = []
        for name, options in (("first", self.first), ("second", self.second)):
            (folder / name).mkdir()
            run = build(self.at(options, folder / name))
            settled(run, 6)
            ends.append(result(run, folder / name))
        return HONOURED if not ends[0].same(ends[1]) else "ignored"

    def refuse(self, folder: Path) -> str:
        wrong = {**self.at(self.first, folder), self.name: self.nonsense}
        return outcome_of(lambda: build(wrong), self.names)

    def changed(self, run: KStepDynamics) -> None:
        second = self.at(self.second, Path())
        together = {name: second.get(name) for name in ("thermostat", *LANGEVIN, *BUSSI)}
        if self.name == "thermostat":  # which has other settings
            run.set_options(**together)
        else:
            setattr(run, self.name, second[self.name])

    def between(self, folder: Path) -> str:
        run = build(self.at(self.first, folder))
        settled(run, 3)
        outcome = outcome_of(lambda: self.changed(run), self.names)
        if outcome != HONOURED:
            settled(run, 1)
            return outcome
        other = fresh(run, self.at(self.second, folder))
        settled(run, 3)
        settled(other, 3)
        if getattr(run, self.name, None) != getattr(other, self.name, None):
            return "ignored"
        return HONOURED if result(run).same_path(result(other)) else "another path"

    def observed(self, folder: Path) -> str:
        outcome = self.between(folder)
        seen = []

        def change() -> None:
            if run.nsteps == 3:
                seen.append(outcome_of(lambda: self.changed(run), self.names))

        runs = []
        for name in ("observed", "between"):
            (folder / name).mkdir()
            runs.append(build(self.at(self.first, folder / name)))
        run, other = runs
        run.attach(change)
        settled(run, 6)
        settled(other, 3)
        if seen[0] == HONOURED:
            self.changed(other)
        settled(other, 3)
        same = result(run).same_path(result(other)) and run.get_time() == other.get_time()
        if not same:
            return "another path than between runs"
        return outcome if outcome != HONOURED else seen[0]

    def resumed(self, folder: Path) -> str:
        ends = []
        for resume in (False, True):
            at = folder / str(resume)
            at.mkdir()
            options = {"checkpoint": "run.ckpt", "checkpoint_interval": 3, **self.second}
            run = build(self.at(options, at))
            settled(run, 3)
            if resume:
                run = KStepDynamics.resume(
                    options["checkpoint"] and at / options["checkpoint"], Sensitive(),
                    self.at(options, at).get("model", cheap()),
                )  # fmt: skip
            settled(run, 3)
            ends.append(result(run, at))
        return "kept" if ends[0].same(ends[1]) else "lost"


class Given(Case):
    """An argument that a resumed run is given again, or that has no attribute of its own."""

    def between(self, folder: Path) -> str:
        return NONE

    observed = between


class Interval(Case):
    """Steps between two checkpoints, seen at each step."""

    def set(self, folder: Path) -> str:
        seen: list[list[int]] = []
        for options in (self.first, self.second):
            at = folder / str(options["checkpoint_interval"])
            at.mkdir()
            run = build(self.at(options, at))
            seen.append([])
            path = at / options["checkpoint"]
            for _ in run.irun(6):
                seen[-1].append(read_checkpoint(path).nsteps if path.exists() else -1)
        return HONOURED if seen == [[0, 0, 2, 2, 4, 4, 6], [0, 0, 0, 0, 0, 5, 5]] else str(seen)


class Append(Case):
    """A trajectory that is there already."""

    def set(self, folder: Path) -> str:
        lengths = []
        for options in (self.first, self.second):
            for part in range(2):
                settled(build(self.at(options if part else self.first, folder)), 2)
            lengths.append(len(read(folder / "run.traj", ":")))
        return HONOURED if lengths == [3, 6] else str(lengths)


class Device(Given):
    """Where the model is."""

    def set(self, folder: Path) -> str:
        run = build({"model": potential(), "device": "cpu"}, calculator=Sensitive())
        return HONOURED if run.jump.device.type == "cpu" else "ignored"


class Chance(Case):
    """A generator, which compares by its state."""

    def between(self, folder: Path) -> str:
        run = build(self.at(self.first, folder))
        settled(run, 3)
        outcome = outcome_of(lambda: self.changed(run), self.names)
        if outcome != HONOURED:
            return outcome
        other = fresh(run, self.at(self.first, folder))
        settled(run, 3)
        settled(other, 3)
        return HONOURED if result(run).same_path(result(other)) else "another path"


def other_atoms() -> Atoms:
    atoms = hot(seed=1)
    atoms.calc = Sensitive()
    return atoms


CASES = (
    Case("atoms", {}, {"atoms": other_atoms}, [hot()]),
    Case("model", {}, {"model": cheap(depth=1.0)}, "no-such-model", ("jump",)),
    Case("k", {}, {"k": 4}, 2.5),
    Case("timestep", {}, {"timestep": 0.25 * units.fs}, -1.0),
    Case("corrector", {"k": 8}, MOLLIFIED, "impuls"),
    Case("thermostat", LANGEVIN, BUSSI, "nose"),
    Case("temperature_K", LANGEVIN, {**LANGEVIN, "temperature_K": 600.0}, -300.0),
    Case("friction", LANGEVIN, {**LANGEVIN, "friction": 0.5 / units.fs}, "strong"),
    Case("taut", BUSSI, {**BUSSI, "taut": 2 * units.fs}, 0.0),
    Case("pressure", NPT, {**NPT, "pressure": 0.05}, np.nan),
    Case("barostat", NPT, {**NPT, "barostat": "anisotropic"}, "xy"),
    Case("barostat_scales", NPT, {**NPT, "barostat_scales": "atoms"}, "all"),
    Case("barostat_interval", NPT, {**NPT, "barostat_interval": 3}, 0),
    Chance("rng", LANGEVIN, {**LANGEVIN, "rng": lambda: np.random.default_rng(1)}, 1),
    Case("metropolize", LANGEVIN, METROPOLIS, 1),
    Case("extra_chances", {**METROPOLIS, "k": 40}, {**METROPOLIS, "k": 40, "extra_chances": 0},
         -1),
    Case("on_error", POOR, {**POOR, "on_error": "warn"}, "ignore"),
    Case("energy_tolerance", {"model": cheap(depth=0.2)}, POOR, -1.0),
    Case("force_tolerance", POOR | {"energy_tolerance": None},
         POOR | {"energy_tolerance": None, "force_tolerance": 1e-3}, 0.0),
    Case("verify_interval", {**MOLLIFIED, "verify_interval": 1},
         {**MOLLIFIED, "verify_interval": 2}, -1),
    Case("guard", {"model": cheap(depth=0.2)},
         {"model": cheap(depth=0.2), "guard": Guard(max_energy_change=0.01)}, 3.0),
    Device("device", {}, {}, "gpu"),
    Case("learn", {}, {"learn": Learning(refit=False, grow=False)}, 1),
    Case("checkpoint", {}, {"checkpoint": "run.ckpt"}, 3.0),
    Interval("checkpoint_interval", {"checkpoint": "run.ckpt", "checkpoint_interval": 2},
         {"checkpoint": "run.ckpt", "checkpoint_interval": 5}, 0),
    Case("trajectory", {}, {"trajectory": "run.traj"}, 3.0),
    Case("logfile", {}, {"logfile": "run.log"}, 3.0),
    Case("loginterval", {"logfile": "run.log"}, {"logfile": "run.log", "loginterval": 3}, 0),
    Append("append_trajectory", {"trajectory": "run.traj"},
         {"trajectory": "run.traj", "append_trajectory": True}, "yes"),
)  # fmt: skip

SECTION = Section(
    "KStepDynamics",
    "Arguments. A change is made by setting the attribute of the same name.",
    [case.row() for case in CASES],
)


def missing() -> set[str]:
    """Arguments that no row tries, and rows of no argument."""
    there = {
        name
        for name, parameter in inspect.signature(KStepDynamics).parameters.items()
        if not name.startswith("_") and parameter.kind is not parameter.VAR_KEYWORD
    }
    return ({*there, "append_trajectory"}) ^ {case.name for case in CASES}
