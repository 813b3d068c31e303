"""Edits that a user makes to atoms and calculator between two steps, found in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ["Written"]

_MOVING = ("positions", "momenta")
_RESULTS = ("constraint_forces",)
"""Attributes of constraints that ASE writes when it is asked for forces."""


@dataclass(frozen=True)
class Written:
    """Atoms as a run has left them, to tell what their user has changed since.

    Attributes
    ----------
    positions, momenta : (N, 3) arrays
        As last written; not to be changed.
    system : dict
        All else that physics or model may depend on: every other array of the atoms (elements,
        masses, charges, moments, tags), cell, periodicity, info, constraints, and the parameters
        of the calculator.
    calculator : object
        The calculator itself.
    """

    positions: npt.NDArray[np.float64]
    momenta: npt.NDArray[np.float64]
    system: dict[str, Any] = field(repr=False)
    calculator: object

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        positions: npt.NDArray[np.float64],
        momenta: npt.NDArray[np.float64],
        before: Written | None = None,
    ) -> Written:
        """The atoms as they are now; what is as it was ``before`` is not copied again."""
        now = _system(atoms)
        same = before is not None and _same(before.system, now)
        kept = before.system if same and before is not None else _copied(now)
        return cls(positions, momenta, kept, atoms.calc)

    def moved(self, atoms: Atoms) -> bool:
        """Whether positions have been changed."""
        return not np.array_equal(atoms.arrays["positions"], self.positions)

    def kicked(self, atoms: Atoms) -> bool:
        """Whether momenta have been changed."""
        momenta = atoms.arrays.get("momenta")
        return momenta is None or not np.array_equal(momenta, self.momenta)

    def changed(self, atoms: Atoms) -> list[str]:
        """Names of what has been changed otherwise, such as ``"calculator"`` or ``"tags"``."""
        if atoms.calc is not self.calculator:
            return ["calculator"]
        now = _system(atoms)
        if _same(self.system, now):
            return []
        return [
            name
            for name in {**self.system, **now}
            if name not in now or name not in self.system or not _same(self.system[name], now[name])
        ]


def _system(atoms: Atoms) -> dict[str, Any]:
    """All but positions and momenta that a number may depend on, without copies."""
    parts: dict[str, Any] = {
        name: array for name, array in atoms.arrays.items() if name not in _MOVING
    }
    parts["cell"] = atoms.cell.array
    parts["pbc"] = atoms.pbc
    if atoms.info:
        parts["info"] = atoms.info
    if atoms.constraints:
        parts["constraints"] = [
            (type(one).__name__, {k: v for k, v in vars(one).items() if k not in _RESULTS})
            for one in atoms.constraints
        ]
    parameters = getattr(atoms.calc, "parameters", None)
    if isinstance(parameters, dict) and parameters:
        parts["parameters of the calculator"] = parameters
    return parts


def _copied(value: Any) -> Any:
    """The same value in containers and arrays of its own."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_copied(entry) for entry in value]
    if type(value) is tuple:
        return tuple(_copied(entry) for entry in value)
    return value


def _same(before: Any, now: Any) -> bool:
    """Equality of nested containers and arrays; NaN equals itself."""
    if before is now and not isinstance(now, np.ndarray | dict | list):
        return True
    if isinstance(before, np.ndarray) or isinstance(now, np.ndarray):
        if type(before) is not type(now) or before.dtype != now.dtype:
            return False
        if np.array_equal(before, now):
            return True
        return bool(before.dtype.kind in "fc" and np.array_equal(before, now, equal_nan=True))
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_same(before[key], now[key]) for key in now)
    if isinstance(before, list | tuple) and isinstance(now, list | tuple):
        return len(before) == len(now) and all(map(_same, before, now))
    try:
        return bool(before == now) or bool(before != before and now != now)
    except (TypeError, ValueError):  # it compares as an array does, or not at all
        return False
