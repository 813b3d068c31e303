"""Arguments of what stands beside a run: ``add_jump``, OpenMM's calculator and reporter, demo."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.openmm import add_jump
from kstep_training.demo import DemoSettings
from kstep_training.openmm_reporter import TrajectoryReporter
from tests.conftest import hot
from tests.openmm.systems import springs
from tests.what_is_set.openmm_rows import model
from tests.what_is_set.table import HONOURED, NONE, Row, Section, no_such_moment, outcome_of

__all__ = ["SECTION", "missing"]

Given = Mapping[str, Any]
NUMBERS = (-1.0, "a", float("nan"), None)
WHOLE = (-1, 0.5, "a", None)


def jump(**given: Any) -> Any:
    """What a System with a jump says of it."""
    given["system"] = system = given.get("system") or springs(hot())
    group = add_jump(**given)
    force = system.getForce(system.getNumForces() - 1)
    return group, system.getNumParticles(), force.getName()


def _told(made: Any) -> Any:
    if isinstance(made, TrajectoryReporter):
        return {**vars(made), **made.metadata}
    if isinstance(made, OpenMMCalculator):
        atoms = hot()
        atoms.calc = made
        return made.platform, atoms.get_potential_energy()
    return made


@dataclass(frozen=True)
class Argument:
    """One argument: all that is needed, another value, and values without sense."""

    door: Callable[..., Any]
    name: str
    second: Any
    nonsense: tuple[Any, ...]
    base: Callable[[Path], Given]

    def row(self) -> Row:
        title = {jump: "add_jump"}.get(self.door, self.door.__name__)
        cells = (self.set, self.refuse, self.changed, no_such_moment, no_such_moment)
        return Row(f"{title}: {self.name}", cells)

    def made(self, folder: Path, /, **more: Any) -> Any:
        given = {**self.base(folder), **more}
        return self.door(**{n: v(folder) if inspect.isfunction(v) else v for n, v in given.items()})

    def set(self, folder: Path) -> str:
        one = _told(self.made(folder))
        two = _told(self.made(folder, **{self.name: self.second}))
        return HONOURED if one != two else "ignored"

    def refuse(self, folder: Path) -> str:
        outcomes = {
            outcome_of(lambda: self.made(folder, **{self.name: value}), (self.name,))  # noqa: B023
            for value in self.nonsense
        }
        return outcomes.pop() if len(outcomes) == 1 else f"{sorted(outcomes)}"

    def changed(self, folder: Path) -> str:
        """An attribute or a setting that is changed later."""
        made = self.made(folder)
        if isinstance(made, OpenMMCalculator):
            return outcome_of(lambda: made.set(**{self.name: "CPU"}), (self.name,))
        if not hasattr(made, self.name):
            return NONE
        try:
            setattr(made, self.name, self.second)
        except AttributeError as error:
            return "refused" if self.name in str(error) else str(error)
        return HONOURED


def _jump(folder: Path) -> Given:
    return {"model": model(folder)}


def _calculator(folder: Path) -> Given:
    return {"system": springs(hot())}


def _reporter(folder: Path) -> Given:
    return {"folder": folder, "interval": 1, "name": "a", "method": "b", "temperature_K": 300.0}


def _demo(folder: Path) -> Given:
    return {}


ARGUMENTS = (
    Argument(jump, "system", lambda folder: springs(hot("water")), (3, "system"), _jump),
    Argument(jump, "model", lambda folder: model(folder, 1), (3,), _jump),
    Argument(jump, "elements", [6, 6, 8, 1, 1, 1, 1, 1, 7], ([1], 3, ["a"] * 9, [0] * 9), _jump),
    Argument(jump, "particles", [0, 1, 2], ([99], 3, [0.5], []), _jump),
    Argument(jump, "inner_groups", [0], ([40], 3, [0.5], "a"), _jump),
    Argument(jump, "inner_platform", "CPU", ("GPU", 3, None), _jump),
    Argument(OpenMMCalculator, "system", lambda folder: springs(hot(seed=1)), (3, None),
             _calculator),
    Argument(OpenMMCalculator, "platform", "CPU", ("GPU", 3, None), _calculator),
    Argument(TrajectoryReporter, "folder", Path("other"), (3, None), _reporter),
    Argument(TrajectoryReporter, "interval", 2, WHOLE, _reporter),
    Argument(TrajectoryReporter, "name", "other", (3, None, ""), _reporter),
    Argument(TrajectoryReporter, "method", "other", (3, None, ""), _reporter),
    Argument(TrajectoryReporter, "temperature_K", 310.0, NUMBERS, _reporter),
    Argument(TrajectoryReporter, "smiles", "CCO", (3, ""), _reporter),
    Argument(TrajectoryReporter, "charge", 1, WHOLE[1:], _reporter),
    Argument(TrajectoryReporter, "multiplicity", 3, (0, *WHOLE), _reporter),
    Argument(TrajectoryReporter, "trajectory", 1, WHOLE, _reporter),
    Argument(TrajectoryReporter, "frames_per_file", 5, (1, *WHOLE), _reporter),
    Argument(DemoSettings, "molecule", "water", (3, None), _demo),
    Argument(DemoSettings, "model", "other", (3, None), _demo),
    Argument(DemoSettings, "k", 2, (0, *WHOLE), _demo),
    Argument(DemoSettings, "timestep_fs", 0.25, NUMBERS, _demo),
    Argument(DemoSettings, "time_fs", 100.0, NUMBERS, _demo),
    Argument(DemoSettings, "temperature_K", 310.0, NUMBERS, _demo),
    Argument(DemoSettings, "seed", 1, WHOLE, _demo),
    Argument(DemoSettings, "output", Path("other"), (3, None), _demo),
    Argument(DemoSettings, "backend", "eager", ("fast", 1), _demo),
    Argument(DemoSettings, "engine", "openmm", ("gromacs", 3), _demo),
    Argument(DemoSettings, "learn", True, ("yes", 1), _demo),
)  # fmt: skip

SECTION = Section(
    "Beside a run: add_jump, OpenMMCalculator, TrajectoryReporter, kstep demo",
    "Arguments. *changed* is an attribute, where there is one, or `set`; what they are in XML, "
    "checkpoints and files is in the sections of these.",
    [argument.row() for argument in ARGUMENTS],
)

APPENDS = {"append"}
"""Tried with runs that go on, by the tests of the reporter."""


def missing() -> set[str]:
    """Arguments that no row tries."""
    tried = {(one.door, one.name) for one in ARGUMENTS}
    doors = {jump: add_jump, OpenMMCalculator: OpenMMCalculator,
             TrajectoryReporter: TrajectoryReporter}  # fmt: skip
    there = {(door, name) for door, real in doors.items()
             for name in inspect.signature(real).parameters}  # fmt: skip
    there |= {(DemoSettings, field.name) for field in dataclasses.fields(DemoSettings)}
    return {f"{door.__name__}: {name}" for door, name in there - tried if name not in APPENDS}
