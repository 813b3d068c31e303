"""Short runs whose every number depends on everything that can be set."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

from kstep_integrators import KStepDynamics
from tests.conftest import cheap, hot, physics

__all__ = ["Sensitive", "build", "fresh", "result", "settled"]


class Sensitive(Calculator):
    """Springs whose strength depends on all that atoms and parameters may say."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"scale": 1.0}  # noqa: RUF012

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.inner = physics()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = tuple(all_changes),
    ) -> None:
        """Energy and forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.inner.calculate(self.atoms)
        said = self.atoms
        strength = (
            self.parameters["scale"]
            + 0.1 * said.get_initial_charges().sum()
            + 0.1 * said.get_initial_magnetic_moments().sum()
            + 0.1 * said.get_tags().sum()
            + 0.01 * said.numbers.sum()
            + 0.1 * said.info.get("charge", 0)
            + 0.001 * said.cell.array.sum()
            + 0.1 * sum(said.pbc)
            + (said.arrays["own"].sum() if "own" in said.arrays else 0.0)
        )
        self.results = {name: strength * value for name, value in self.inner.results.items()}


BASE: Mapping[str, Any] = {"k": 2, "timestep": 0.5 * units.fs, "device": "cpu"}
BATH: Mapping[str, Any] = {"temperature_K": 300.0, "friction": 0.05 / units.fs}


def build(
    options: Mapping[str, Any], atoms: Atoms | None = None, calculator: Any = None
) -> KStepDynamics:
    """A run of ethanol with noise of seed 0, unless ``options`` say otherwise."""
    given = {"model": cheap(), **BASE, "rng": np.random.default_rng(0), **options}
    chosen = given.pop("atoms", hot() if atoms is None else atoms)
    if isinstance(chosen, Atoms) and chosen.calc is None:
        chosen.calc = Sensitive() if calculator is None else calculator
    return KStepDynamics(chosen, **given)


def fresh(old: KStepDynamics, options: Mapping[str, Any]) -> KStepDynamics:
    """Another run, of these options, that begins where an old one stands, with the noise it has."""
    rng = np.random.Generator(type(old.rng.bit_generator)())
    rng.bit_generator.state = old.rng.bit_generator.state
    atoms = old.atoms.copy()
    given = {name: value for name, value in options.items() if name not in (*OUTPUTS, "atoms")}
    return build(
        {**given, "rng": rng}, atoms, old.atoms.calc.__class__(**old.atoms.calc.parameters)
    )


OUTPUTS = ("trajectory", "logfile", "loginterval", "checkpoint", "checkpoint_interval")


@dataclass(frozen=True)
class Result:
    """What a run has led to."""

    positions: Any
    momenta: Any
    time: float
    nsteps: int
    counts: tuple[Any, ...]
    energy: float
    written: tuple[Any, ...]

    def path(self) -> tuple[Any, ...]:
        """Where the atoms are."""
        return (self.positions, self.momenta)

    def same_path(self, other: Result) -> bool:
        """Compare positions and momenta to the rounding of one step."""
        return all(
            np.allclose(a, b, rtol=0.0, atol=1e-10)
            for a, b in zip(self.path(), other.path(), strict=True)
        )

    def same(self, other: Result) -> bool:
        """Compare everything."""
        return self.same_path(other) and (
            np.isclose(self.time, other.time)
            and (self.nsteps, self.counts, self.written)
            == (other.nsteps, other.counts, other.written)
        )


def result(dynamics: KStepDynamics, folder: Path | None = None) -> Result:
    """Everything that can be seen of a run, without its seconds."""
    stats = dynamics.stats
    written: list[Any] = []
    for path in sorted(folder.iterdir()) if folder else ():
        if path.suffix == ".traj":
            written.append((path.name, len(read(path, ":"))))
        elif path.suffix == ".log":
            written.append((path.name, len(path.read_text().splitlines())))
        else:
            written.append((path.name,))
    return Result(
        dynamics.atoms.get_positions(),
        dynamics.atoms.get_momenta(),
        dynamics.get_time(),
        dynamics.nsteps,
        (stats.jumps, stats.physics_evaluations, stats.fallbacks, stats.shrinks, stats.exceeded,
         stats.accepted, stats.flips, stats.verifications),
        dynamics.transferred_energy,
        tuple(written),
    )  # fmt: skip


def settled(dynamics: KStepDynamics, steps: int) -> None:
    """Run on; what is warned of on the way is not what is asked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamics.run(steps)


Change = Callable[[KStepDynamics], None]
Text = io.StringIO
