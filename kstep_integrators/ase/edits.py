"""Edits that a user makes to atoms and calculator between two steps, found in numpy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators.physics.calculation import parts_of
from kstep_integrators.physics.content import content_of
from kstep_integrators.physics.held_settings import held_settings

__all__ = ["Written", "check_learnable"]

_MOVING = ("positions", "momenta")
_RESULTS = ("constraint_forces",)
"""Attributes of constraints that ASE writes when it is asked for forces."""
_NO_PHYSICS = frozenset({"constraints", "masses"})
"""Properties of atoms that energies and forces do not depend on."""


@dataclass(frozen=True)
class Written:
    """Atoms as a run has left them, to tell what their user has changed since.

    Attributes
    ----------
    positions, momenta : (N, 3) arrays
        As last written; not to be changed.
    system : dict of str to object
        All else that physics or model may depend on: every other array of the atoms (elements,
        masses, charges, moments, tags), cell, periodicity, info, constraints, and the parameters
        and attributes of the calculator and of those inside it; each as a value that compares by
        its content.
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
    ) -> Written:
        """The atoms as they are now."""
        return cls(positions, momenta, _system(atoms), atoms.calc)

    def moved(self, atoms: Atoms) -> bool:
        """Compare positions with those last written."""
        return not np.array_equal(atoms.arrays["positions"], self.positions)

    def kicked(self, atoms: Atoms) -> bool:
        """Compare momenta with those last written."""
        momenta = atoms.arrays.get("momenta")
        return momenta is None or not np.array_equal(momenta, self.momenta)

    def changed(self, atoms: Atoms) -> list[str]:
        """Names of what has been changed otherwise, such as ``"calculator"`` or ``"tags"``."""
        if atoms.calc is not self.calculator:
            return ["calculator"]
        now = _system(atoms)
        if now == self.system:
            return []
        names = {**self.system, **now}
        return [name for name in names if self.system.get(name) != now.get(name)]


def check_learnable(changed: Collection[str], periodic: bool = False) -> None:
    """Refuse edits after which labels would be of another system, or of another physics.

    Parameters
    ----------
    changed : collection of str
        Names of what has been changed.
    periodic : bool
        Whether the atoms are in a periodic cell: labels have theirs each, and what is learned
        sees it.

    Raises
    ------
    ValueError
        With what was changed, and what to do.
    """
    kept = _NO_PHYSICS | {"cell"} if periodic else _NO_PHYSICS
    other = [name for name in changed if name not in kept]
    if other:
        raise ValueError(
            f"{', '.join(other)} changed while the run learns: its labels would be of two systems "
            "or methods, expected one. Take the change back; or make another run from what was "
            "learned, KStepDynamics(atoms, dyn.potential, learn=..., ...)"
        )


def _system(atoms: Atoms) -> dict[str, Any]:
    """All but positions and momenta that a number may depend on, by its content."""
    parts = {name: content_of(array) for name, array in atoms.arrays.items() if name not in _MOVING}
    parts["cell"] = atoms.cell.array.tobytes()
    parts["pbc"] = atoms.pbc.tobytes()
    if atoms.info:
        parts["info"] = content_of(atoms.info)
    if atoms.constraints:
        parts["constraints"] = [
            (
                type(one).__name__,
                [(name, content_of(v)) for name, v in vars(one).items() if name not in _RESULTS],
            )
            for one in atoms.constraints
        ]
    for number, part in enumerate(parts_of(atoms.calc)):
        name = f"calculator {number} inside it" if number else "the calculator"
        parameters, held = getattr(part, "parameters", None), held_settings(part)
        if isinstance(parameters, dict) and parameters:
            parts[f"parameters of {name}"] = content_of(parameters)
        if held:
            parts[f"attributes of {name}"] = content_of(held)
    return parts
