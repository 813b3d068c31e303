"""Settings of the PySCF calculator, and of those of the GFN family."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.calculators.electrons import Electrons
from kstep_integrators.calculators.pyscf.meanfield import build
from tests.what_is_set.table import HONOURED, NONE, Row, Section, outcome_of

__all__ = ["SECTION", "XTB", "missing"]

HF: Mapping[str, Any] = {"method": "hf", "basis": "sto-3g", "threads": 1, "device": "cpu"}
DFT: Mapping[str, Any] = {"xc": "pbe", "basis": "sto-3g", "threads": 1, "device": "cpu",
                          "grid_level": 1}  # fmt: skip

CRYSTAL: Mapping[str, Any] = {**DFT, "xc": "lda,vwn", "basis": "gth-szv", "pseudo": "gth-pade"}


def hydrogen() -> Atoms:
    return Atoms("H2", [[0, 0, 0], [0.1, 0.2, 0.75]])


def hydride() -> Atoms:
    return Atoms("NaH", [[0, 0, 0], [0.1, 0.2, 1.9]])


def crystal() -> Atoms:
    return Atoms("He", cell=[3.0, 3.0, 3.0], pbc=True)


@dataclass(frozen=True)
class Setting:
    """A setting.

    Attributes
    ----------
    name : str
    first : dict
        All settings of a calculator.
    second : dict
        Those that are changed.
    nonsense : Any
    atoms : callable
    number : bool
        Whether energies or forces depend on it.
    effect : callable, optional
        What shows it, where no number does: of a calculator that has computed.
    """

    name: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    nonsense: Any
    atoms: Callable[[], Atoms] = hydrogen
    number: bool = True
    effect: Callable[[PySCFCalculator], Any] | None = None

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, self.between, self.observed, self.resumed))

    @property
    def argument(self) -> str:
        return self.name.split()[-1]

    def make(self, folder: Path, settings: Mapping[str, Any]) -> Any:
        if "basis" in self.first:
            return PySCFCalculator(**{"directory": folder, **settings})
        return xtb_calculator(**settings)

    def numbers(self, calculator: Any) -> np.ndarray:
        atoms = self.atoms()
        atoms.calc = calculator
        if atoms.pbc.any():  # an SCF of a crystal is half a minute: the k-points and Coulomb terms
            built = build(calculator.settings, atoms, Electrons(0, 1))
            terms = [v for one in built.cell._pseudo.values() for v in one[3]]
            return np.array([len(built.kpts), *terms])
        return np.array([atoms.get_potential_energy(), *atoms.get_forces().ravel()])

    def set(self, folder: Path) -> str:
        one, other = (self.make(folder, s) for s in (self.first, {**self.first, **self.second}))
        if self.effect is not None:
            for calculator in (one, other):
                self.numbers(calculator)
            return HONOURED if self.effect(one) != self.effect(other) else "ignored"
        if not self.number:
            told = getattr(other.settings, self.name), getattr(one.settings, self.name)
            wanted = self.second[self.name]
            return HONOURED if told[0] == wanted != told[1] else "ignored"
        differ = not np.allclose(self.numbers(one), self.numbers(other), rtol=0.0, atol=1e-7)
        return HONOURED if differ else "ignored"

    def refuse(self, folder: Path) -> str:
        wrong = {**self.first, self.argument: self.nonsense}
        return outcome_of(
            lambda: self.numbers(self.make(folder, wrong)), (self.argument, "directory")
        )

    def between(self, folder: Path) -> str:
        calculator = self.make(folder, self.first)
        self.numbers(calculator)
        refused = outcome_of(lambda: calculator.set(**self.second), (self.argument,))
        if refused != HONOURED:
            return refused
        other = self.make(folder, {**self.first, **self.second})
        same = np.allclose(self.numbers(calculator), self.numbers(other), rtol=0.0, atol=1e-5)
        name = self.argument
        return (
            HONOURED
            if same and _equal(calculator.parameters[name], other.parameters[name])
            else "ignored"
        )

    def run(self, folder: Path, settings: Mapping[str, Any], **options: Any) -> KStepDynamics:
        atoms = self.atoms()
        atoms.calc = self.make(folder, settings)
        cheap = CalculatorPotential(LennardJones(sigma=0.7, epsilon=0.1))
        return KStepDynamics(atoms, cheap, k=1, timestep=0.2 * units.fs, **options)

    def observed(self, folder: Path) -> str:
        if self.atoms().pbc.any():
            return NONE
        run, outcome = self.run(folder, self.first), [HONOURED]

        def change() -> None:
            if run.nsteps == 1:
                outcome[0] = outcome_of(lambda: run.atoms.calc.set(**self.second), (self.argument,))

        run.attach(change)
        run.run(2)
        if outcome[0] != HONOURED:
            return outcome[0]
        other = self.run(folder, self.first)
        other.run(1)
        fresh = self.run(folder, {**self.first, **self.second})
        fresh.atoms.positions[:] = other.atoms.positions
        fresh.atoms.set_momenta(other.atoms.get_momenta())
        fresh.run(1)
        same = np.abs(run.atoms.positions - fresh.atoms.positions).max() < 1e-8
        return HONOURED if same else "another path"

    def resumed(self, folder: Path) -> str:
        """Gone on with another calculator than the run had."""
        if self.atoms().pbc.any():
            return NONE
        self.run(folder, self.first, checkpoint=folder / "run.ckpt").run(1)
        other = self.make(folder, {**self.first, **self.second})
        cheap = CalculatorPotential(LennardJones(sigma=0.7, epsilon=0.1))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            outcome = outcome_of(
                lambda: KStepDynamics.resume(folder / "run.ckpt", other, cheap), (self.argument,)
            )
        if outcome == HONOURED and self.argument == "directory":  # for geometries that fail
            return HONOURED
        if outcome == HONOURED:
            return (
                "warned of" if any(self.argument in str(one.message) for one in said) else "silence"
            )
        return outcome


SETTINGS = (
    Setting("method", HF, {"method": None, "xc": "pbe", "grid_level": 1}, "mp2"),
    Setting("xc", DFT, {"xc": "b3lyp"}, "no-such-functional"),
    Setting("basis", HF, {"basis": "6-31g"}, "no-such-basis"),
    Setting("ecp", {**HF, "basis": "lanl2dz", "ecp": {"Na": "lanl2dz"}},
            {"ecp": {"Na": "stuttgart"}, "basis": {"Na": "stuttgart", "H": "sto-3g"}},
            "no-such-ecp", hydride),
    Setting("pseudo", CRYSTAL, {"pseudo": "gth-pbe"},
            "no-such-pseudo", crystal),
    Setting("charge", HF, {"charge": 1, "multiplicity": 2}, 0.5),
    Setting("multiplicity", HF, {"multiplicity": 3}, 2),
    Setting("unrestricted", {**HF, "multiplicity": 3}, {"unrestricted": False}, "maybe",
            effect=lambda calc: type(calc.mean_field).__name__),
    Setting("density_fit", HF, {"density_fit": "weigend"}, "no-such-basis"),
    Setting("dispersion", DFT, {"dispersion": "d3bj"}, "d9"),
    Setting("solvent", HF, {"solvent": "water"}, "no-such-solvent"),
    Setting("solvent_model", {**HF, "solvent": "water"}, {"solvent_model": "c-pcm"},
            "no-such-model"),
    Setting("kpts", CRYSTAL, {"kpts": (2, 1, 1)}, (0, 1, 1),
            crystal),
    Setting("grid_level", DFT, {"grid_level": 0}, 12),
    Setting("grid_response", DFT, {"grid_response": True}, "maybe"),
    Setting("conv_tol", HF, {"conv_tol": 1e-11}, -1.0,
            effect=lambda calc: calc.mean_field.conv_tol),
    Setting("max_cycle", HF, {"max_cycle": 30}, 0,
            effect=lambda calc: calc.mean_field.max_cycle),
    Setting("device", {**HF, "device": "auto"}, {"device": "cpu"}, "gpu", number=False),
    Setting("max_memory", HF, {"max_memory": 2000.0}, -1.0,
            effect=lambda calc: calc.mean_field.mol.max_memory),
    Setting("threads", HF, {"threads": 2}, 0, number=False),
    Setting("guess", HF, {"guess": "last"}, "best", number=False),
    Setting("history", HF, {"history": 5}, 0, number=False),
    Setting("min_overlap_eigenvalue", HF, {"min_overlap_eigenvalue": 1e-5}, -1.0, number=False),
    Setting("directory", HF, {"directory": "."}, 3.0, number=False),
)  # fmt: skip

SECTION = Section(
    "PySCFCalculator",
    "Settings. A change is `calc.set(name=value)`; *saved and resumed*: a checkpoint is gone on "
    "with a calculator that has another value.",
    [setting.row() for setting in SETTINGS],
)


GFNFF: Mapping[str, Any] = {"method": "GFN-FF"}


def apart() -> Atoms:
    return Atoms("H2", [[0, 0, 0], [0, 0, 2.5]])


GFN = (
    Setting("method", {"method": "GFN2-xTB"}, {"method": "GFN1-xTB"}, "GFN3-xTB"),
    Setting("charge", {"method": "GFN2-xTB"}, {"charge": 1, "multiplicity": 2}, 0.5),
    Setting("multiplicity", {"method": "GFN2-xTB"}, {"multiplicity": 3}, 2),
    Setting("GFN-FF: charge", GFNFF, {"charge": 1}, 0.5),
    Setting("GFN-FF: reference", {**GFNFF, "reference": hydrogen()}, {"reference": apart()},
            "hydrogen"),
)  # fmt: skip

XTB = Section(
    "xtb_calculator",
    "As above; GFN-FF keeps the bonds of `reference`, for which there is no `set`.",
    [setting.row() for setting in GFN],
)


def _equal(one: Any, other: Any) -> bool:
    return bool(np.all(one == other))


def missing() -> set[str]:
    """Arguments that no row tries."""
    pyscf = {*inspect.signature(PySCFCalculator).parameters}
    xtb = {*inspect.signature(xtb_calculator).parameters}
    return (pyscf ^ {one.name for one in SETTINGS}) | (xtb ^ {one.argument for one in GFN})
