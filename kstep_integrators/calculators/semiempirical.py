"""Calculators of the GFN family: GFN1, GFN2 and IPEA1 through tblite, GFN-FF through xtb."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import Calculator

__all__ = ["METHODS", "xtb_calculator"]

METHODS = ("GFN2-xTB", "GFN1-xTB", "IPEA1-xTB", "GFN-FF")
"""Names that :func:`xtb_calculator` takes."""


def xtb_calculator(
    method: str = "GFN2-xTB",
    charge: int | None = None,
    multiplicity: int | None = None,
    *,
    reference: Atoms | None = None,
) -> Calculator:
    """Make a quiet ASE calculator of the GFN family.

    Parameters
    ----------
    method : str
        ``"GFN2-xTB"`` (doi:10.1021/acs.jctc.8b01176), ``"GFN1-xTB"``
        (doi:10.1021/acs.jctc.7b00118), ``"IPEA1-xTB"`` (doi:10.1039/c7sc00601b), GFN1 fitted to
        ionization potentials and electron affinities, or ``"GFN-FF"``
        (doi:10.1002/anie.202004239). The force field fixes the bonds of each molecule at the first
        geometry it sees, until ``reset()``: let that be a relaxed one, or name it.
    charge, multiplicity : int, optional
        Total charge in e, and 2 S + 1. Where they are not given, those of the atoms count: of
        ``atoms.info``, or the sums of initial charges and magnetic moments. Open shells are
        spin-polarized. GFN-FF has no spin.
    reference : ase.Atoms, optional
        For GFN-FF: the geometry to take the bonds from. A run that is gone on with, or a worker
        that replaces a lost one, then has the bonds that it began with.

    Returns
    -------
    ase Calculator
        Set the environment variable ``OMP_NUM_THREADS=1`` before starting Python: small molecules
        gain nothing from more threads.

    Raises
    ------
    ValueError
        If the method is unknown, a multiplicity is asked of GFN-FF or a reference of another. When
        a geometry is computed: if the atoms say otherwise than the arguments, the number of
        electrons cannot have the multiplicity, or a cell is periodic in some directions only
        (tblite) or at all (GFN-FF).
    ImportError
        If tblite or xtb is missing; the message names the extra.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> atoms = named_molecule("water")
    >>> atoms.calc = xtb_calculator("GFN2-xTB")
    >>> round(float(atoms.get_potential_energy()), 1)  # eV
    -138.0
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {list(METHODS)}")
    if reference is not None and method != "GFN-FF":
        raise ValueError(f"reference is for GFN-FF, which keeps bonds; {method} has none")
    try:
        if method == "GFN-FF":
            if multiplicity not in (None, 1):
                raise ValueError(f"multiplicity is {multiplicity}, but GFN-FF has no spin")
            from kstep_integrators.calculators.gfnff import GFNFF

            return GFNFF(charge, reference)
        from kstep_integrators.calculators.gfn import TBLite
    except ImportError as error:
        raise ImportError(
            f"{method} needs {'xtb' if method == 'GFN-FF' else 'tblite'}, which is not installed; "
            "install it with: pip install 'kstep-integrators[xtb]'"
        ) from error
    calculator: Calculator = TBLite(method, charge, multiplicity)
    return calculator
