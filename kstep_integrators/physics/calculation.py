"""Energy and forces from an ASE calculator, or the reason why there are none."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, Parameters

__all__ = ["PLAIN", "Answer", "ask", "check_is_calculator", "copied", "forget", "parts_of"]


@dataclass(frozen=True)
class Answer:
    """The answer of a calculator to a request.

    Attributes
    ----------
    energy : float, eV
        NaN if there is none.
    forces : (N, 3) float64, eV/angstrom, or None
        None if they failed, or were not asked for and not computed anyway.
    failure : str or None
        Why there is no energy.
    computed : bool
        False if the calculator knew the answer already.
    """

    energy: float = float("nan")
    forces: npt.NDArray[np.float64] | None = None
    failure: str | None = None
    computed: bool = True


def check_is_calculator(name: str, value: object) -> None:
    """Refuse what cannot compute an energy.

    Parameters
    ----------
    name : str
        What it was given as, for the message.
    value : object

    Raises
    ------
    TypeError
        If it is no calculator, but its class, say.
    """
    if isinstance(value, type) or not hasattr(value, "get_potential_energy"):
        kind = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        if not isinstance(value, type | str | int | float | None):
            kind = f"a {type(value).__name__}"
        raise TypeError(
            f"{name} is {kind}, expected an ASE calculator, such as EMT(): it must have "
            "get_potential_energy and get_forces"
        )


def ask(atoms: Atoms, forces: bool, stood: Atoms | None = None) -> Answer:
    """Ask the calculator of some atoms for energy and forces.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator, and without constraints.
    forces : bool
        Whether an energy is too little. Without, they are there only if they were computed anyway.
    stood : ase.Atoms, optional
        Where the calculator stood when it was last asked, if only positions may have changed since:
        if it stands there still, all else need not be compared again.
    """
    calculator = atoms.calc
    usual = isinstance(calculator, Calculator)
    known: dict[str, Any] = {**calculator.results} if usual else {}
    before: Atoms | None = calculator.atoms if usual else None
    try:
        moved = stood is not None and before is stood and _has_moved(atoms, stood)
        if moved:  # what ASE does then, without a comparison that takes longer than our own step
            _calculate(calculator, atoms, "forces" if forces else "energy")
        found = _forces(atoms, forces, moved)
        energy = _energy(atoms)
    except Exception as error:  # noqa: BLE001  (calculators raise what they like)
        return Answer(failure=f"{type(error).__name__}: {error}")
    if not (math.isfinite(energy) and (found is None or np.isfinite(found).all())):
        # Or the calculator would serve the same again from its own cache.
        forget(calculator)
        finite = np.ones(0, dtype=bool) if found is None else np.isfinite(found).all(axis=1)
        wrong = np.flatnonzero(~finite).tolist()
        without = f" and no finite forces on atoms {wrong}" if wrong else ", expected a finite one"
        return Answer(failure=f"the calculator returned the energy {energy} eV{without}")
    # Told from what it holds afterwards: asked before, it would compare the atoms once more.
    served = usual and calculator.atoms is before and _same(known, calculator.results, forces)
    return Answer(energy, found, computed=not served)


_ASKED = ("get_property", "get_forces", "get_potential_energy", "check_state")
_OURS = __name__.partition(".")[0] + "."
_TOLERANCE = 1e-15
"""angstrom; of ASE's comparison of positions."""


@functools.cache
def _asked_as_usual(kind: type) -> bool:
    """True for a class that looks at atoms as ASE's own does, when it is asked."""
    own = [name for name in _ASKED if getattr(kind, name) is not getattr(Calculator, name)]
    compare: Callable[..., Any] = getattr(kind, "check_state", _asked_as_usual)
    # Those of this package look at charges too, if nothing else has changed.
    return not own or (own == ["check_state"] and compare.__module__.startswith(_OURS))


def _has_moved(atoms: Atoms, stood: Atoms) -> bool:
    """True if a calculator that stood elsewhere would find positions changed, and nothing else."""
    calculator = atoms.calc
    kind: Any = type(calculator)
    if not _asked_as_usual(kind) or not vars(calculator).keys().isdisjoint(_ASKED):
        return False
    if "positions" in calculator.ignored_changes:
        return False
    if not np.array_equal(atoms.cell.array, stood.cell.array):
        return False
    moves = np.abs(atoms.arrays["positions"] - stood.arrays["positions"])
    return bool(moves.max() > _TOLERANCE)


def _calculate(calculator: Calculator, atoms: Atoms, wanted: str) -> None:
    """Let a calculator compute a property of atoms whose positions have changed."""
    calculator.atoms, calculator.results = atoms, {}
    try:
        calculator.calculate(atoms, [wanted], ["positions"])
    finally:
        if calculator.atoms is atoms:  # most make a copy themselves
            calculator.atoms = atoms.copy()


def _same(before: dict[str, Any], after: dict[str, Any], forces: bool) -> bool:
    """True if results that were asked for are the very objects that they were before."""
    wanted = ("energy", "forces") if forces else ("energy",)
    return all(name in before and before[name] is after.get(name) for name in wanted)


def _energy(atoms: Atoms) -> float:
    """Potential energy, eV; read where it is known, without comparing the atoms once more."""
    if isinstance(atoms.calc, Calculator) and atoms.calc.results.get("energy") is not None:
        return _number(atoms.calc.results["energy"])
    return _number(atoms.get_potential_energy())


def _number(energy: Any) -> float:
    """An energy as a number; learned potentials may return an array of one element."""
    if isinstance(energy, float):
        return energy
    values = np.asarray(energy)
    if values.size != 1 or values.dtype.kind not in "fiu":
        raise ValueError(
            f"the calculator returned an energy of shape {values.shape} and type {values.dtype}, "
            "expected one real number in eV"
        )
    return float(values.reshape(-1)[0])


def _forces(atoms: Atoms, wanted: bool, known: bool) -> npt.NDArray[np.float64] | None:
    """Forces; None if they are not wanted and not computed anyway. Known: computed just now."""
    if wanted:
        known = known and atoms.calc.results.get("forces") is not None
        forces = atoms.calc.results["forces"] if known else atoms.get_forces()
    else:
        if not known:
            atoms.get_potential_energy()
        forces = getattr(atoms.calc, "results", {}).get("forces")
        if forces is None:
            return None
    forces = np.asarray(forces)
    if forces.shape != (len(atoms), 3) or forces.dtype.kind not in "fiu":
        raise ValueError(
            f"the calculator returned forces of shape {forces.shape} and type {forces.dtype}, "
            f"expected real numbers of shape {(len(atoms), 3)} in eV/angstrom"
        )
    return np.array(forces, dtype=np.float64)


def forget(calculator: Any) -> None:
    """Let a calculator, and those that it asks itself, forget all results.

    A calculator may serve what it knew without looking at what has changed. Combinations of ASE
    (``SumCalculator``) have no ``reset`` of their own, and those they combine keep results too.

    Parameters
    ----------
    calculator : ase BaseCalculator
    """
    for one in parts_of(calculator):
        if hasattr(one, "forget_results"):  # whose reset would forget more: the bonds of GFN-FF
            one.forget_results()
        elif hasattr(one, "reset"):
            one.reset()
        elif hasattr(one, "results"):
            one.results, one.atoms = {}, None


PLAIN: Final = frozenset(
    {str, int, float, bool, np.ndarray, Atoms, type(None), MethodType, Parameters}
)
"""Types of what holds no calculator, looked up as they are asked for at every step."""
_IN_ORDER = (list, tuple)


def parts_of(calculator: Any) -> list[Any]:
    """A calculator, and those that it holds in attributes, lists, dicts, or a mixer of ASE's."""
    found: list[Any] = []
    waiting = [calculator]
    while waiting:
        one = waiting.pop()
        if any(one is other for other in found):
            continue
        found.append(one)
        for name, value in getattr(one, "__dict__", {}).items():
            if type(value) in PLAIN or name == "results":
                continue
            held = _held(value)
            waiting += [
                part
                for part in held
                if type(part) not in PLAIN and isinstance(part, BaseCalculator)
            ]
    return found


def _held(value: Any) -> list[Any]:
    """Members of a list, a dict or a mixer of ASE's, or the value itself."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, _IN_ORDER):
        return list(value)
    calculators = getattr(value, "calcs", [value])
    return list(calculators) if isinstance(calculators, _IN_ORDER) else [value]


def copied(results: dict[str, Any]) -> dict[str, Any]:
    """Results of a calculator of their own: some write into the same arrays at every call."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else copy.copy(value)
        for name, value in results.items()
    }
