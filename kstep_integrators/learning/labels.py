"""Labels: what the physics said of a geometry, as a run learns from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import encode
from ase.stress import full_3x3_to_voigt_6_stress

from kstep_integrators.physics.content_text import hash_of, text_of
from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.physics.store import geometry_of

__all__ = ["INFO", "Label", "kept_results", "key_of", "template_hash"]

INFO = "kstep_label"
"""What a frame's ``info`` has of its label beside energy and forces."""
_MOVING = ("positions", "momenta")


@dataclass(frozen=True, eq=False)
class Label:
    """An evaluation of the physics, and all that it belongs to.

    Attributes
    ----------
    numbers : (N,) int64
        Atomic numbers.
    positions : (N, 3) float64, angstrom
    cell : (3, 3) float64, angstrom
    pbc : (bool, bool, bool)
    energy : float, eV
    forces : (N, 3) float64, eV/angstrom, or None
        Without constraint forces; None if only the energy was computed.
    molecule : int
        Which of the molecules of the run it is of.
    step : int
        Steps that the run had made when it was computed.
    evaluations : int
        Calls of the physics that were counted for it: 0 if the calculator knew the answer.
    results : mapping
        What else the calculator computed along with it and ASE's trajectories keep: stress, dipole,
        charges, ...
    template : ase.Atoms or None
        All else that the molecule is: initial charges and moments, tags, masses, info. Its
        positions, cell and periodicity do not matter. None for a molecule that is no more than its
        elements.

    Examples
    --------
    >>> from ase.build import molecule
    >>> water = molecule("H2O")
    >>> label = Label.of(water, energy=-14.0, forces=np.zeros((3, 3)))
    >>> label.atoms().get_potential_energy()
    -14.0
    """

    numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    cell: npt.NDArray[np.float64]
    pbc: tuple[bool, bool, bool]
    energy: float
    forces: npt.NDArray[np.float64] | None
    molecule: int = 0
    step: int = 0
    evaluations: int = 1
    results: Mapping[str, Any] = field(default_factory=dict, repr=False)
    template: Atoms | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        energy: float,
        forces: npt.NDArray[np.float64] | None,
        *,
        molecule: int = 0,
        step: int = 0,
        evaluations: int = 1,
        results: Mapping[str, Any] | None = None,
    ) -> Label:
        """The label of the geometry at which some atoms are."""
        x, y, z = (bool(one) for one in atoms.pbc)
        return cls(
            atoms.numbers.astype(np.int64),
            np.array(atoms.positions, dtype=np.float64),
            np.array(atoms.cell.array, dtype=np.float64),
            (x, y, z),
            float(energy),
            None if forces is None else np.array(forces, dtype=np.float64),
            molecule,
            step,
            evaluations,
            kept_results(results or {}),
            atoms,
        )

    @property
    def stress(self) -> npt.NDArray[np.float64] | None:
        """Stress (6,) in eV/angstrom^3, as ASE orders it.

        None without one, and in a cell that is not periodic in all directions.
        """
        known = self.results.get("stress")
        if known is None or not all(self.pbc):
            return None
        stress = np.asarray(known, dtype=np.float64)
        stress = full_3x3_to_voigt_6_stress(stress) if stress.shape == (3, 3) else stress
        return stress if stress.shape == (6,) and np.isfinite(stress).all() else None

    @classmethod
    def from_frame(cls, atoms: Atoms) -> Label:
        """The label of a frame of a trajectory, as :meth:`atoms` makes them.

        Raises
        ------
        ValueError
            If the frame has no energy.
        """
        known = {} if atoms.calc is None else dict(atoms.calc.results)
        if known.get("energy") is None:
            raise ValueError("the frame has no energy")
        template = atoms.copy()
        about = template.info.pop(INFO, {})
        return cls.of(
            template,
            known["energy"],
            known.get("forces"),
            molecule=int(about.get("molecule", 0)),
            step=int(about.get("step", 0)),
            evaluations=int(about.get("evaluations", 1)),
            results=known,
        )

    def atoms(self) -> Atoms:
        """Atoms with energy and forces, as ASE writes them to a file."""
        atoms = Atoms(self.numbers) if self.template is None else self.template.copy()
        atoms.set_constraint()
        for name in [*atoms.arrays]:
            if name == "momenta":
                del atoms.arrays[name]
        atoms.arrays["positions"][:] = self.positions
        atoms.cell.array[:] = self.cell
        atoms.pbc = self.pbc
        atoms.info = {name: value for name, value in atoms.info.items() if _is_json(value)}
        results = dict(self.results)
        if self.forces is not None:
            results["forces"] = self.forces
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, **results)
        about = {"molecule": self.molecule, "step": self.step, "evaluations": self.evaluations}
        atoms.info[INFO] = about
        note_estimates(atoms, False)
        return atoms


def kept_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """What ASE's trajectories keep of the results of a calculator, beside energy and forces."""
    return {
        name: value
        for name, value in results.items()
        if name in all_properties and name not in ("energy", "forces") and value is not None
    }


def template_hash(template: Atoms) -> str:
    """A hash of all that a molecule is but for its geometry, the same in every process."""
    arrays = {name: array for name, array in template.arrays.items() if name not in _MOVING}
    return hash_of(text_of({"arrays": arrays, "info": template.info}).encode())


def key_of(
    molecule: int,
    template: str,
    positions: npt.NDArray[np.float64],
    cell: npt.NDArray[np.float64],
    pbc: tuple[bool, ...],
) -> bytes:
    """The key of a label, 16 bytes: molecule, what it is (a hash) and geometry, to the last bit."""
    content = geometry_of(positions, cell, pbc) + f"{molecule} {template}".encode()
    return hashlib.blake2b(content, digest_size=16).digest()


def _is_json(value: object) -> bool:
    """Whether ASE writes it."""
    try:
        encode(value)
    except TypeError:
        return False
    return True
