"""Energy and forces from an ASE calculator, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator

__all__ = ["Answer", "ask"]


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


def ask(atoms: Atoms, forces: bool) -> Answer:
    """Ask the calculator of some atoms for energy and forces.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator, and without constraints.
    forces : bool
        Whether an energy is too little. Without, they are there only if they were computed anyway.
    """
    required = True
    try:
        if isinstance(atoms.calc, Calculator):
            wanted = ["energy", "forces"] if forces else ["energy"]
            required = bool(atoms.calc.calculation_required(atoms, wanted))
        computed = _forces(atoms, forces)
        energy = _energy(atoms)
    except Exception as error:  # noqa: BLE001  (calculators raise what they like)
        return Answer(failure=f"{type(error).__name__}: {error}")
    finite = np.ones(0, dtype=bool) if computed is None else np.isfinite(computed).all(axis=1)
    if not (np.isfinite(energy) and finite.all()):
        # Or the calculator would serve the same again from its own cache.
        atoms.calc.reset()
        return Answer(
            failure=f"the calculator returned the energy {energy} eV and no finite forces on atoms "
            f"{np.flatnonzero(~finite).tolist()}"
        )
    return Answer(energy, computed, computed=required)


def _energy(atoms: Atoms) -> float:
    """Potential energy, eV; read where it is known, without comparing the atoms once more."""
    if isinstance(atoms.calc, Calculator) and atoms.calc.results.get("energy") is not None:
        return float(atoms.calc.results["energy"])
    return float(atoms.get_potential_energy())


def _forces(atoms: Atoms, wanted: bool) -> npt.NDArray[np.float64] | None:
    if wanted:
        return np.array(atoms.get_forces(), dtype=np.float64)
    atoms.get_potential_energy()
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    return np.array(results["forces"], dtype=np.float64) if "forces" in results else None
