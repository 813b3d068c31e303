"""Arguments of ``KStepIntegrator``, and what OpenMM's users change on integrator and Context."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from openmm import app

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.openmm.context_aware import ContextAwareIntegrator
from tests.conftest import hot, network
from tests.openmm.systems import make_context, moving, place, springs, topology, where
from tests.what_is_set.table import HONOURED, NONE, Row, Section, no_such_moment, outcome_of

__all__ = ["ARGUMENTS", "CHANGES", "missing"]

BATH: Mapping[str, Any] = {"temperature": 300.0, "friction": 50.0}


def model(folder: Path, seed: int = 0) -> Any:
    """An untrained network from a file."""
    path = folder / f"untrained{seed}.safetensors"
    if not path.exists():
        built = network(seed=seed)
        write_model(path, built, ModelHeader("untrained", built.config, "none"))
    return load_model(path, device="cpu", dtype=torch.float64)


class Stepped:
    """A molecule of springs in a Simulation, with noise of a fixed seed."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.atoms = hot()
        self.system = options.pop("system", None) or springs(self.atoms)
        given = {"model": model(folder, options.pop("seed", 0)), "k": 2, "timestep": 0.0005}
        self.integrator = KStepIntegrator(self.system, **{**given, **options})
        self.integrator.setRandomNumberSeed(7)
        platform = openmm.Platform.getPlatformByName("Reference")
        self.simulation = app.Simulation(
            topology(self.atoms), self.system, self.integrator, platform
        )
        self.context = place(self.simulation.context, self.atoms)

    def step(self, count: int) -> None:
        self.simulation.step(count)

    def end(self) -> np.ndarray:
        """Positions and velocities."""
        return _end(self.context)

    def resumed(self, count: int) -> list[np.ndarray]:
        """Where copies from XML end after steps, one from a checkpoint and one from a State."""
        checkpoint = self.context.createCheckpoint()
        state = self.context.getState(
            positions=True, velocities=True, parameters=True, integratorParameters=True
        )
        text = openmm.XmlSerializer.serialize(state)
        ends = []
        for kept in (checkpoint, openmm.XmlSerializer.deserialize(text)):
            system, integrator = (
                openmm.XmlSerializer.clone(one) for one in (self.system, self.integrator)
            )
            context = make_context(system, KStepIntegrator.restore(integrator))
            if kept is checkpoint:
                context.loadCheckpoint(kept)
            else:
                context.setState(kept)
            integrator.step(count)
            ends.append(_end(context))
        return ends


def _end(context: openmm.Context) -> np.ndarray:
    return np.concatenate([where(context), moving(context)])


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, rtol=0.0, atol=1e-9))


@dataclass(frozen=True)
class Argument:
    """One argument: options of two integrators that lead elsewhere, and a value without sense."""

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    nonsense: Any

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, no_such_moment, no_such_moment, self.resumed))

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value() if callable(value) else value for name, value in values.items()}

    def set(self, folder: Path) -> str:
        ends = []
        for values in (self.first, self.second):
            run = Stepped(folder, **self.options(values))
            run.step(6)
            ends.append(run.end())
        return HONOURED if not _same(*ends) else "ignored"

    def refuse(self, folder: Path) -> str:
        given = {"system": springs(hot()), "model": model(folder), **self.options(self.first)}
        given |= {"k": 2, self.name: self.nonsense}
        return outcome_of(lambda: KStepIntegrator(**given), (self.name,))

    def resumed(self, folder: Path) -> str:
        run = Stepped(folder, **self.options(self.second))
        run.step(3)
        copies = run.resumed(3)
        run.step(3)
        return "kept" if all(_same(run.end(), copy) for copy in copies) else "lost"


class Refused(Argument):
    """One that other hosts have, and OpenMM has not."""

    def row(self) -> Row:
        return Row(
            self.name, (self.set, self.refuse, no_such_moment, no_such_moment, no_such_moment)
        )

    def set(self, folder: Path) -> str:
        return outcome_of(lambda: Stepped(folder, **self.second), (self.name,))


ARGUMENTS_OF = (
    Argument("system", {}, {"system": lambda: springs(hot(seed=1))}, "system"),
    Argument("model", {}, {"seed": 1}, "no-such-model"),
    Argument("k", {}, {"k": 4}, 2.5),
    Argument("timestep", {}, {"timestep": 0.00025}, -1.0),
    Argument("corrector", {}, {"corrector": "none"}, "impuls"),
    Argument("temperature", BATH, {**BATH, "temperature": 600.0}, -300.0),
    Argument("friction", BATH, {**BATH, "friction": 5.0}, "strong"),
    Argument("metropolize", {**BATH, "k": 40}, {**BATH, "k": 40, "metropolize": True}, 1),
    Argument(
        "extra_chances", {**BATH, "metropolize": True, "k": 4},
        {**BATH, "metropolize": True, "k": 4, "extra_chances": 0}, -1,
    ),
    Refused("learn", {}, {"learn": True}, "yes"),
)  # fmt: skip

ARGUMENTS = Section(
    "KStepIntegrator",
    "Arguments, which OpenMM writes into the program of the integrator. *saved and resumed*: XML "
    "of System and integrator, with a checkpoint of the Context, and with a State.",
    [argument.row() for argument in ARGUMENTS_OF],
)


@dataclass(frozen=True)
class Change:
    """A call on integrator or Context, after which a step is another.

    Attributes
    ----------
    name : str
    options : dict
        Of the integrator.
    act, nonsense : callable
        Of the run; with another value, and with one that makes no sense.
    same_as : dict
        Options of an integrator that has the value from the start.
    system : callable
        Makes the System, if it is another.
    """

    name: str
    options: Mapping[str, Any]
    act: Callable[[Stepped], Any]
    nonsense: Callable[[Stepped], Any] | None = None
    same_as: Mapping[str, Any] | None = None
    system: Callable[[], openmm.System] | None = None

    def made(self, folder: Path, **more: Any) -> Stepped:
        """A run."""
        options = {**self.options, **more}
        return Stepped(folder, **options, **({"system": self.system()} if self.system else {}))

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, self.between, self.observed, self.resumed))

    def set(self, folder: Path) -> str:
        run, other = self.made(folder), self.made(folder)
        self.act(run)
        run.step(4)
        other.step(4)
        return HONOURED if not _same(run.end(), other.end()) else "ignored"

    def refuse(self, folder: Path) -> str:
        if self.nonsense is None:
            return NONE
        run = self.made(folder)
        try:
            self.nonsense(run)
            run.step(1)
        except (ValueError, TypeError, openmm.OpenMMException) as error:
            return "refused" if len(str(error)) > 10 else f"{error!r}"
        return HONOURED

    def between(self, folder: Path) -> str:
        """As an integrator does that has the value from the start and begins where this one is."""
        run = self.made(folder)
        run.step(3)
        self.act(run)
        other = self.made(folder, **(self.same_as or {}))
        if self.same_as is None:
            self.act(other)
        if "friction" in self.options:  # noise cannot be put where it stood
            return HONOURED if _bath(run) == _bath(other) else "ignored"
        other.context.setPositions(where(run.context))
        other.context.setVelocities(moving(run.context))
        run.step(3)
        other.step(3)
        return HONOURED if _same(run.end(), other.end()) else "another path"

    def observed(self, folder: Path) -> str:
        run = self.made(folder)
        run.simulation.reporters.append(Caller(lambda: self.act(run), 3))
        run.step(6)
        other = self.made(folder)
        other.step(3)
        self.act(other)
        other.step(3)
        return HONOURED if _same(run.end(), other.end()) else "another path"

    def resumed(self, folder: Path) -> str:
        run = self.made(folder)
        run.step(2)
        self.act(run)
        run.step(2)
        copies = run.resumed(3)
        run.step(3)
        return "kept" if all(_same(run.end(), copy) for copy in copies) else "lost"


class Caller:
    """A reporter that makes a call at one step."""

    def __init__(self, act: Callable[[], Any], step: int) -> None:
        self.act, self.at = act, step

    def describeNextReport(self, simulation: Any) -> Any:
        """Steps until then."""
        left = self.at - simulation.currentStep
        return (left if left > 0 else 10**6, False, False, False, False, None)

    def report(self, simulation: Any, state: Any) -> None:
        """Make the call."""
        self.act()


def _bath(run: Stepped) -> list[Any]:
    return [run.integrator.getTemperature(), run.integrator.getFriction()]


def _move(run: Stepped) -> None:
    run.context.setPositions(where(run.context) + 0.001 * np.arange(27).reshape(9, 3) % 0.003)


def _stiffen(run: Stepped) -> None:
    """Another constant of every spring, in the force and in the Context."""
    force = run.system.getForce(0)
    for index in range(force.getNumBonds()):
        i, j, (constant, length) = force.getBondParameters(index)
        force.setBondParameters(index, i, j, [1.2 * constant, length])
    force.updateParametersInContext(run.context)
    run.integrator.invalidateForces()


def pulled() -> openmm.System:
    """Springs, and between two atoms a force with a table and a force with a parameter inside."""
    system, inner = springs(hot()), openmm.CustomBondForce("500*pull*(r-0.1)^2")
    inner.addGlobalParameter("pull", 1.0)
    inner.addBond(0, 2, [])
    outer = openmm.CustomCVForce("bias(pulled)")
    outer.addCollectiveVariable("pulled", inner)
    outer.addTabulatedFunction("bias", openmm.Continuous1DFunction([0.0, 10.0, 20.0], 0.0, 20.0))
    system.addForce(outer)
    return system


def _retabulate(run: Stepped) -> None:
    force = run.system.getForce(2)
    force.getTabulatedFunction(0).setFunctionParameters([0.0, 40.0, 90.0], 0.0, 20.0)
    force.updateParametersInContext(run.context)


class Tolerance(Change):
    """The tolerance of OpenMM's constraint steps, of which one bond alone needs none."""

    def set(self, folder: Path) -> str:
        run = self.made(folder)
        self.act(run)
        return self._told(run)

    def between(self, folder: Path) -> str:
        run = self.made(folder)
        run.step(1)
        self.act(run)
        run.step(1)
        return self._told(run)

    def observed(self, folder: Path) -> str:
        run = self.made(folder)
        run.simulation.reporters.append(Caller(lambda: self.act(run), 1))
        run.step(2)
        return self._told(run)

    def resumed(self, folder: Path) -> str:
        run = self.made(folder)
        self.act(run)
        again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(run.integrator))
        return "kept" if KStepIntegrator.restore(again).getConstraintTolerance() == 1e-3 else "lost"

    def _told(self, run: Stepped) -> str:
        return HONOURED if run.integrator.getConstraintTolerance() == 1e-3 else "ignored"


CHANGES_OF = (
    Change("setTemperature", BATH, lambda r: r.integrator.setTemperature(600.0),
           lambda r: r.integrator.setTemperature(-1.0), {"temperature": 600.0}),
    Change("setFriction", BATH, lambda r: r.integrator.setFriction(5.0),
           lambda r: r.integrator.setFriction(-1.0), {"friction": 5.0}),
    Change("setStepSize", {}, lambda r: r.integrator.setStepSize(0.0005),
           lambda r: r.integrator.setStepSize(-0.001), {"timestep": 0.00025}),
    Change("setRandomNumberSeed", BATH, lambda r: r.integrator.setRandomNumberSeed(11),
           lambda r: r.integrator.setRandomNumberSeed(2**40)),
    Tolerance("setConstraintTolerance", {},
              lambda r: r.integrator.setConstraintTolerance(1e-3),
              lambda r: r.integrator.setConstraintTolerance(-1e-3)),
    Change("setIntegrationForceGroups", {},
           lambda r: r.integrator.setIntegrationForceGroups({1}),
           lambda r: r.integrator.setIntegrationForceGroups({40})),
    Change("setPositions", {}, _move, lambda r: r.context.setPositions(np.zeros((2, 3)))),
    Change("setVelocities", {}, lambda r: r.context.setVelocities(np.zeros((9, 3))),
           lambda r: r.context.setVelocities(np.zeros((2, 3)))),
    Change("setVelocitiesToTemperature", {},
           lambda r: r.context.setVelocitiesToTemperature(300.0, 3)),
    Change("setParameter", {}, lambda r: r.context.setParameter("stiffness", 1.5),
           lambda r: r.context.setParameter("no such parameter", 1.0)),
    Change("updateParametersInContext, invalidateForces", {}, _stiffen),
    Change("setParameter, of a force inside a force", {},
           lambda r: r.context.setParameter("pull", 3.0), system=lambda: pulled()),
    Change("a tabulated function, updateParametersInContext", {}, lambda r: _retabulate(r),
           system=lambda: pulled()),
)  # fmt: skip

CHANGES = Section(
    "KStepIntegrator and Context, while a Simulation goes on",
    "Calls; *in an observer* is in a reporter of `openmm.app`.",
    [change.row() for change in CHANGES_OF],
)


def missing() -> set[str]:
    """Arguments, and setters of our own, that no row tries."""
    arguments = {*inspect.signature(KStepIntegrator.__init__).parameters} - {"self"}
    own = {**vars(ContextAwareIntegrator), **vars(KStepIntegrator)}
    setters = {name for name in own if name.startswith("set")}
    return (arguments ^ {a.name for a in ARGUMENTS_OF}) | (setters - {c.name for c in CHANGES_OF})
