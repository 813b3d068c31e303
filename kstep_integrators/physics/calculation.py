"""Energy and forces from an ASE calculator, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

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
    """

    energy: float = float("nan")
    forces: npt.NDArray[np.float64] | None = None
    failure: str | None = None


def ask(atoms: Atoms, forces: bool) -> Answer:
    """Ask the calculator of some atoms for energy and forces.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator, and without constraints.
    forces : bool
        Whether an energy is too little. Without, they are there only if they were computed anyway.
    """
    try:
        computed = _forces(atoms, forces)
        energy = float(atoms.get_potential_energy())
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
    return Answer(energy, computed)


def _forces(atoms: Atoms, wanted: bool) -> npt.NDArray[np.float64] | None:
    if wanted:
        return np.array(atoms.get_forces(), dtype=np.float64)
    atoms.get_potential_energy()
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    return np.array(results["forces"], dtype=np.float64) if "forces" in results else None
