"""GFN1 and GFN2 with the charge and spin of the atoms, and without guesses about cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ase import Atoms
from ase.calculators.calculator import Parameters, all_changes
from tblite.ase import TBLite as AseTBLite

from kstep_integrators.calculators.electrons import Electrons, check_given, electrons_of

__all__ = ["TBLite"]

METHODS = ("GFN2-xTB", "GFN1-xTB", "IPEA1-xTB")


class TBLite(AseTBLite):
    """GFN1-xTB or GFN2-xTB as an ASE calculator, quiet.

    Open shells are spin-polarized (doi:10.1039/d2cp02263j): without that, tblite puts singlet
    oxygen below the triplet.

    Parameters
    ----------
    method : str
    charge : int or None
        In e; None: that of the atoms, see
        :func:`~kstep_integrators.calculators.electrons.electrons_of`.
    multiplicity : int or None
        2 S + 1, likewise.
    """

    _electrons: Electrons | None = None

    def __init__(
        self, method: str = "GFN2-xTB", charge: int | None = None, multiplicity: int | None = None
    ) -> None:
        super().__init__(method=method, charge=charge, multiplicity=multiplicity, verbosity=0)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters of tblite, among them charge and multiplicity.

        Raises
        ------
        TypeError, ValueError
            If tblite has no parameter of that name, or charge or multiplicity are not whole.
        """
        known = {*self.default_parameters, "initial_guess"}
        if unknown := sorted({*kwargs} - known):
            raise TypeError(f"unknown parameters {unknown}, expected some of {sorted(known)}")
        if kwargs.get("method", METHODS[0]) not in METHODS:
            raise ValueError(f"method is {kwargs['method']!r}, expected one of {list(METHODS)}")
        check_given(kwargs.get("charge"), kwargs.get("multiplicity"))
        changed: dict[str, Any] = super().set(**kwargs)
        return changed

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the library's own objects, which are made again."""
        return {**self.__dict__, "_xtb": None, "_res": None}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List the changes since the last calculation, charge and multiplicity included."""
        changes: list[str] = list(super().check_state(atoms, tol=tol))  # type: ignore[no-untyped-call]
        if not changes and self._electrons != self._find(atoms):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all properties; ASE calls this when they are not known yet."""
        current = cast(Atoms, self.atoms if atoms is None else atoms)
        electrons = self._find(current)
        if current.pbc.any() and not current.pbc.all():
            raise ValueError(
                f"atoms.pbc is {current.pbc.tolist()}, and tblite takes the open directions of a "
                "cell as periodic; set atoms.pbc = True, with at least 15 angstrom of vacuum along "
                "the open directions, or atoms.pbc = False for a molecule"
            )
        if current.pbc.all() and not current.cell.rank == 3:
            raise ValueError(
                f"atoms.pbc is True, but the cell {current.cell.array.tolist()} has no volume; set "
                "atoms.cell, or atoms.pbc = False for a molecule"
            )
        if electrons != self._electrons:
            self._xtb = self._res = None
        self._electrons = electrons
        given = self.parameters
        polarization = given["spin_polarization"]
        if polarization is None and electrons.multiplicity > 1:
            polarization = 1.0
        self.parameters = Parameters(
            {**given, **electrons._asdict(), "spin_polarization": polarization}
        )
        try:
            super().calculate(atoms, list(properties or ["energy"]), list(system_changes))
        finally:
            self.parameters = given

    def _find(self, atoms: Atoms) -> Electrons:
        return electrons_of(atoms, self.parameters["charge"], self.parameters["multiplicity"])
