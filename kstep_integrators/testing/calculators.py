"""Calculators with known answers, that count what they are asked for, or that fail on purpose."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

__all__ = ["BrokenCalculator", "CountingCalculator", "MorseNetwork"]


class CountingCalculator(Calculator):
    """Counts what an ASE calculator is asked to compute, inside the calculator.

    Parameters
    ----------
    calculator : ase Calculator
        Does the work.

    Attributes
    ----------
    evaluations : int
        Calculations made.
    energy_evaluations, force_evaluations : int
        Those of them without and with forces.
    seconds : float
        Wall-clock time spent in them.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators.testing import CountingCalculator, MorseNetwork
    >>> atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    >>> atoms.calc = CountingCalculator(MorseNetwork(atoms.positions))
    >>> for x in (0.0, 0.1, 0.1):  # the third finds its results kept
    ...     atoms.positions[0, 0] = x
    ...     _ = atoms.get_forces()
    >>> atoms.calc.evaluations, atoms.calc.energy_evaluations, atoms.calc.force_evaluations
    (2, 0, 2)
    """

    def __init__(self, calculator: Calculator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calculator = calculator
        self.implemented_properties = list(calculator.implemented_properties)
        self.energy_evaluations = self.force_evaluations = 0
        self.seconds = 0.0

    @property
    def evaluations(self) -> int:
        """Calculations made."""
        return self.energy_evaluations + self.force_evaluations

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Pass the call on and count it."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        if "forces" in properties:
            self.force_evaluations += 1
        else:
            self.energy_evaluations += 1
        started = time.perf_counter()
        try:
            self.calculator.calculate(self.atoms, list(properties), list(system_changes))
        finally:
            self.seconds += time.perf_counter() - started
        self.results = dict(self.calculator.results)


class MorseNetwork(Calculator):
    r"""Morse springs between all pairs of atoms: analytic, stateless, invariant.

    :math:`V = \sum_{i<j} D [1 - e^{-a (r_{ij} - r^0_{ij})}]^2`.

    Parameters
    ----------
    reference : (N, 3) angstrom
        The geometry of lowest energy, which is 0.
    depth : float
        D, eV.
    width : float
        a, 1/angstrom.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators.testing import MorseNetwork
    >>> atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    >>> atoms.calc = MorseNetwork(atoms.positions, depth=2.0, width=1.5)
    >>> float(atoms.get_potential_energy())
    0.0
    >>> atoms.positions[1, 2] = 1.5
    >>> round(float(atoms.get_potential_energy()), 3)  # 2 eV (1 - exp(-0.6))^2
    0.407
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def __init__(
        self, reference: npt.NDArray[np.float64], depth: float = 2.0, width: float = 1.5
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        reference = np.asarray(reference, dtype=np.float64)
        self.depth, self.width = float(depth), float(width)
        self.pairs = np.triu_indices(len(reference), 1)
        i, j = self.pairs
        self.lengths = np.linalg.norm(reference[i] - reference[j], axis=1)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy and forces."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        i, j = self.pairs
        if self.atoms is None:
            raise ValueError("MorseNetwork.calculate needs atoms, got None")
        x = self.atoms.positions
        vectors = x[i] - x[j]
        distances = np.linalg.norm(vectors, axis=1)
        decay = np.exp(-self.width * (distances - self.lengths))
        slope = 2.0 * self.depth * self.width * (1.0 - decay) * decay
        pull = (slope / distances)[:, None] * vectors
        forces = np.zeros_like(x)
        np.add.at(forces, i, -pull)
        np.add.at(forces, j, pull)
        self.results = {
            "energy": float(self.depth * np.square(1.0 - decay).sum()),
            "forces": forces,
        }


class BrokenCalculator(Calculator):
    """Works, then fails: raises, or returns NaN, in place of the calls with the given numbers.

    Parameters
    ----------
    calculator : ase Calculator
    broken : sequence of int
        Numbers of the calls that fail, counted from 1.
    how : {"raise", "nan"}
        Raise a RuntimeError, or return NaN for energy and forces.

    Raises
    ------
    ValueError
        If ``how`` is neither.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators.testing import BrokenCalculator, MorseNetwork
    >>> atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    >>> atoms.calc = BrokenCalculator(MorseNetwork(atoms.positions), broken=[2])
    >>> float(atoms.get_potential_energy())
    0.0
    >>> atoms.positions[1, 2] = 1.2
    >>> atoms.get_potential_energy()
    Traceback (most recent call last):
    RuntimeError: call 2 was told to fail
    """

    def __init__(self, calculator: Calculator, broken: Sequence[int], how: str = "raise") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if how not in ("raise", "nan"):
            raise ValueError(f"how is {how!r}, expected 'raise' or 'nan'")
        self.calculator, self.how = calculator, how
        self._failing_calls = frozenset(broken)  # by which no physics is known
        self.implemented_properties = list(calculator.implemented_properties)
        self.calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Pass the call on, unless its turn to fail has come."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        self.calls += 1
        if self.calls in self._failing_calls and self.how == "raise":
            raise RuntimeError(f"call {self.calls} was told to fail")
        self.calculator.calculate(self.atoms, list(properties), list(system_changes))
        self.results = dict(self.calculator.results)
        if self.calls in self._failing_calls:
            self.results = {
                "energy": float("nan"),
                "forces": np.full_like(self.results["forces"], np.nan),
            }
