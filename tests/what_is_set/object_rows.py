"""Arguments of models, potentials, jumps, correctors, baths and limits: what a run is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units

from kstep_integrators import (
    CalculatorPotential,
    DirectJump,
    FlowJump,
    Guard,
    KStepDynamics,
    Learning,
    NetworkPotential,
    StrideTuning,
    SumPotential,
    load_model,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Filtered, Mollified
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.thermostats import Bussi, Langevin
from tests.conftest import cheap, hot, network, physics
from tests.direct_systems import untrained
from tests.what_is_set.ase_runs import BATH, Sensitive, build, settled
from tests.what_is_set.table import HONOURED, NONE, Row, Section, outcome_of

__all__ = ["SECTION", "missing"]

F64: Mapping[str, Any] = {"device": "cpu", "dtype": torch.float64}


@cache
def weights(seed: int) -> Any:
    return network(seed=seed)


@cache
def increments(seed: int) -> Any:
    return untrained(seed=seed)


def header(**more: Any) -> ModelHeader:
    return ModelHeader("untrained", weights(0).config, "none", **more)


def file(folder: Path, seed: int) -> Path:
    path = folder / f"untrained{seed}.safetensors"
    if not path.exists():
        write_model(path, weights(seed), header())
    return path


def egnn_file(folder: Path) -> Path:
    path = folder / "egnn.safetensors"
    write_model(path, network("egnn"), header())
    return path


def ended(options: Mapping[str, Any]) -> Any:
    """Where a run of these options ends."""
    run = build(options)
    settled(run, 4)
    return run.atoms.get_positions()


def flow(made: Any) -> Any:
    return ended({"model": made})


def tuned(made: Any) -> Any:
    return ended({"k": made, **BATH, "metropolize": True})


def kicked(made: Any) -> Any:
    return ended({"model": cheap(), "corrector": made, "k": 8})


def guarded(made: Any) -> Any:
    return ended({"model": cheap(depth=0.2), "guard": made})


def fast(made: Any) -> Any:
    """What a guard says of atoms at 2 angstrom in a unit of time."""
    before = state_from_atoms(hot())
    after = before.replace(positions=before.positions + 2.0, time=before.time + 1.0)
    return str(made.check_jump(before, after))


def own_step(made: Any) -> Any:
    """A run with the base step that the model has."""
    loose = Guard(max_speed=1e9, max_energy_change=1e9)
    return ended({"model": made, "timestep": None, "k": 4, "guard": loose})


def taught(made: Any) -> Any:
    return ended({"learn": made, "k": 8})


def told(made: Any) -> Any:
    return dict(vars(made))


def labels(folder: Path) -> Path:
    """Labels of an earlier run."""
    path = folder / "given.traj"
    if not path.exists():
        settled(build({"learn": Learning(refit=False, file=path)}), 1)
    return path


def correction(folder: Path) -> Path:
    """The learned part of a run on a calculator."""
    path = folder / "correction.safetensors"
    if not path.exists():
        run = build({"learn": Learning(refit=False)})
        settled(run, 1)
        run.potential.save(path)
    return path


def described(made: Any) -> Any:
    return made.describe()


@dataclass(frozen=True)
class Argument:
    """One argument of a class.

    Attributes
    ----------
    kind : callable
    name : str
    base, second : dict
        All arguments that are needed, and another value of this one. Callables are given a folder.
    nonsense : tuple
        Values without sense.
    told : callable
        What depends on the object.
    attribute : str
        Under which the object has it, if that is another name.
    """

    kind: Callable[..., Any]
    name: str
    base: Mapping[str, Any]
    second: Any
    nonsense: tuple[Any, ...]
    told: Callable[[Any], Any]
    attribute: str = ""

    def row(self) -> Row:
        name = f"{self.kind.__name__}: {self.name}"
        return Row(name, (self.set, self.refuse, self.between, self.observed, self.resumed))

    def made(self, folder: Path, **more: Any) -> Any:
        given = {**self.base, **more}
        parts = {name: one(folder) if inspect.isfunction(one) else one
                 for name, one in given.items()}  # fmt: skip
        return self.kind(*parts.pop("parts", ()), **parts)

    def other(self, folder: Path) -> Any:
        return self.made(folder, **{self.name: self.second})

    def set(self, folder: Path) -> str:
        one, two = self.told(self.made(folder)), self.told(self.other(folder))
        same = one == two if isinstance(one, str | dict | tuple) else np.array_equal(one, two)
        return "ignored" if same else HONOURED

    def refuse(self, folder: Path) -> str:
        outcomes = {
            outcome_of(lambda: self.made(folder, **{self.name: one}), (self.name, "part"))  # noqa: B023
            for one in self.nonsense
        }
        return outcomes.pop() if len(outcomes) == 1 else f"{sorted(outcomes)}"

    def changed(self, made: Any, folder: Path) -> str:
        name = self.attribute or self.name
        value = self.second(folder) if inspect.isfunction(self.second) else self.second
        try:
            setattr(made, name, value)
        except FrozenInstanceError as error:  # Python's own, and it names the field
            return "refused" if name in str(error) else str(error)
        except AttributeError:
            return outcome_of(lambda: setattr(made, name, value), (name,))
        return HONOURED

    def between(self, folder: Path) -> str:
        """Nothing can be changed, and what was refused has not been."""
        made = self.made(folder)
        before = repr(getattr(made, self.attribute or self.name))
        outcome = self.changed(made, folder)
        return outcome if repr(getattr(made, self.attribute or self.name)) == before else "changed"

    def observed(self, folder: Path) -> str:
        made, seen = self.made(folder), []
        run = build({})
        run.attach(lambda: seen.append(self.changed(made, folder)))
        settled(run, 1)
        return seen[-1]

    def options(self, made: Any) -> dict[str, Any]:
        """Options of a run that has it."""
        if isinstance(made, Filtered | Mollified):
            return {"corrector": made}
        if isinstance(made, Guard):
            return {"guard": made}
        if isinstance(made, Learning):
            return {"learn": made}
        if isinstance(made, StrideTuning):
            return {"k": made, **BATH, "metropolize": True}
        if isinstance(made, Langevin):
            return {"thermostat": "langevin", **vars(made)}
        if isinstance(made, Bussi):
            return {"thermostat": "bussi", **vars(made)}
        if isinstance(made, FlowJump | DirectJump):
            return {"model": made, "timestep": None, "k": 4}
        return {"model": made}

    def resumed(self, folder: Path) -> str:
        """A resumed run goes on as the uninterrupted one does."""
        if self.name == "backend":  # half a minute of compilers, and described above
            return NONE
        ends = []
        for name in ("whole", "resumed"):
            options = self.options(self.other(folder))
            run = build({**options, "checkpoint": folder / name, "checkpoint_interval": 2})
            settled(run, 2)
            if name == "resumed":
                model = options.get("model", cheap())
                run = KStepDynamics.resume(folder / name, Sensitive(), model)
            settled(run, 2)
            ends.append(run.atoms.get_positions())
        return "kept" if np.array_equal(*ends) else "lost"


def calculator(folder: Path) -> Any:
    return physics(depth=0.3)


NET: Mapping[str, Any] = {"network": weights(0), "header": header(), **F64}
EGNN: Mapping[str, Any] = {**NET, "network": network("egnn")}
DIRECT: Mapping[str, Any] = {
    "network": increments(0),
    "header": ModelHeader("untrained", increments(0).config, "none"),
    **F64,
}
FLOW: Mapping[str, Any] = {"potential": lambda folder: cheap()}
CALC: Mapping[str, Any] = {"calculator": lambda folder: physics()}
LOAD: Mapping[str, Any] = {"name_or_path": lambda folder: file(folder, 0), **F64}
EGNN_FILE: Mapping[str, Any] = {"name_or_path": egnn_file, **F64}
STEP = 0.25 * units.fs
PARTS: Mapping[str, Any] = {"parts": lambda folder: (cheap(),)}
RIDGE: Mapping[str, Any] = {"refit": False}
NUMBERS = (-1.0, "a", float("nan"), None, True)
LIMITS = (-1, 2.5, "a", None, True)
CELLS = (
    Argument(NetworkPotential, "network", NET, weights(1), ("painn", None), flow),
    Argument(NetworkPotential, "header", NET, header(timestep_fs=0.4), ({}, None),
             lambda m: str(m.timestep)),
    Argument(NetworkPotential, "digest", NET, "other", (3, None), described),
    Argument(NetworkPotential, "dtype", NET, torch.float32, ("float64", torch.float16), flow),
    Argument(NetworkPotential, "backend", EGNN, "compiled", ("fast", 1, None), described),
    Argument(NetworkPotential, "dense_limit", NET, 4, LIMITS, described),
    Argument(NetworkPotential, "source", NET, "other", (3, None), lambda m: m.source),
    Argument(DirectJump, "network", DIRECT, increments(1), ("painn", None),
             own_step),
    Argument(DirectJump, "digest", DIRECT, "other", (3, None), described),
    Argument(DirectJump, "dtype", DIRECT, torch.float32, ("float64", torch.float16), described),
    Argument(DirectJump, "source", DIRECT, "other", (3, None), lambda m: m.source),
    Argument(FlowJump, "potential", FLOW, lambda folder: cheap(depth=1.0), (3, None, "cheap"),
             own_step),
    Argument(FlowJump, "timestep", FLOW, STEP / 2, NUMBERS[:3],
             own_step),
    Argument(CalculatorPotential, "calculator", CALC, calculator, (3, None), flow),
    Argument(CalculatorPotential, "timestep", CALC, STEP / 2, NUMBERS,
             own_step),
    Argument(SumPotential, "parts", PARTS, lambda folder: (cheap(), (cheap(depth=0.1), [0, 1, 2])),
             ((3,), ((cheap(), [0.5]),), ((cheap(), 3),), ((cheap(), [0, 0]),), ("cheap",)), flow),
    Argument(SumPotential, "timestep", PARTS, STEP / 2, (-1.0, "a", float("nan"), True),
             own_step),
    Argument(StrideTuning, "candidates", {"jumps": 1, "candidates": (2, 4)}, (3, 6),
             (3, "ab", (20,), (2.5, 3), (0, 1), None), tuned),
    Argument(StrideTuning, "jumps", {"jumps": 1, "candidates": (2, 4)}, 2, (0, 2.5, "a", None),
             lambda m: str(m.steps)),
    Argument(Guard, "max_speed", {}, 0.1 / units.fs, NUMBERS, fast),
    Argument(Guard, "max_energy_change", {}, 1e-3, NUMBERS, guarded),
    Argument(Filtered, "filter_name", {}, "quartic", ("magic", 3, None, ["octic"]), kicked),
    Argument(Filtered, "dense_limit", {}, 4, LIMITS, described),
    Argument(Mollified, "reach", {}, 1.0, NUMBERS, kicked),
    Argument(Langevin, "temperature_K", {"temperature_K": 300.0, "friction": 0.1}, 600.0, NUMBERS,
             described),
    Argument(Langevin, "friction", {"temperature_K": 300.0, "friction": 0.1}, 1.0, NUMBERS,
             described),
    Argument(Bussi, "temperature_K", {"temperature_K": 300.0, "taut": 10.0}, 600.0, NUMBERS,
             described),
    Argument(Bussi, "taut", {"temperature_K": 300.0, "taut": 10.0}, 1.0, NUMBERS, described),
    Argument(Learning, "labels", RIDGE, labels, (3, [3]), taught),
    Argument(Learning, "file", RIDGE, lambda folder: folder / "mine.traj", (3, ["a"]), told),
    Argument(Learning, "backbone", RIDGE, lambda folder: file(folder, 1), (3, ["a"]), taught),
    Argument(Learning, "grow", RIDGE, False, ("yes", 1, None), taught),
    Argument(Learning, "refit", {}, "wait", ("later", 1, None), told),
    Argument(Learning, "stop", RIDGE, 2, (0, 2.5, "a", True), taught),
)  # fmt: skip


class Loaded(Argument):
    """An argument of :func:`load_model`; the model has it as an attribute."""


class Based(Loaded):
    """The base of a learned correction: that one, and no other."""

    def set(self, folder: Path) -> str:
        one, base = flow(self.made(folder)), flow(cheap())
        return "ignored" if np.array_equal(one, base) else HONOURED


LOADS = (
    Loaded(load_model, "name_or_path", LOAD, lambda folder: file(folder, 1),
           (3, None, "no-such-model-name_or_path"), flow, "source"),
    Loaded(load_model, "dtype", LOAD, torch.float32, ("float64", torch.float16), flow),
    Loaded(load_model, "backend", EGNN_FILE, "compiled", ("fast", 1, None), described),
    Based(load_model, "base", {"name_or_path": correction, "base": lambda folder: cheap()},
          lambda folder: cheap(), (3, None, cheap(depth=1.0)), flow, "parts"),
)  # fmt: skip

SECTION = Section(
    "Models, potentials, jumps, correctors, baths and limits",
    "Arguments, by class; a resumed run is given the same model. Attributes are read and never "
    "set: a run has prepared what depends on them.",
    [argument.row() for argument in (*LOADS, *CELLS)],
)

ELSEWHERE = {"device", "header"}
"""Where a model is computed is a row of ``KStepDynamics``, what a header says a section."""


def missing() -> set[str]:
    """Arguments that no row tries."""
    tried = {(one.kind.__name__, one.name) for one in (*LOADS, *CELLS)}
    there = {
        (kind.__name__, name)
        for kind in {one.kind for one in (*LOADS, *CELLS)}
        for name in inspect.signature(kind).parameters
        if name not in ELSEWHERE
    }
    return {f"{kind}: {name}" for kind, name in there - tried}
