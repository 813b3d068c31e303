"""Structures that an observable was made for: others are refused by name, or warned of."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.notices import KStepWarning

if TYPE_CHECKING:
    from kstep_integrators.observables.observable_file import ObservableHeader

__all__ = ["check_domain", "warn_of_kind"]


def check_domain(atoms: Atoms, header: ObservableHeader) -> None:
    """Refuse a structure unlike those that the labels of an observable were made of.

    Parameters
    ----------
    atoms : ase.Atoms
        Charge and multiplicity are those that they say, or that their calculator was made with.
    header : ObservableHeader

    Raises
    ------
    TypeError
        For what is no atoms.
    ValueError
        For no atoms, elements, a charge, a multiplicity or a cell that the labels did not have.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"a structure is {type(atoms).__name__}, expected ase.Atoms")
    name = f"observable {header.name!r}"
    if not len(atoms):
        raise ValueError(f"a structure has 0 atoms, expected some for {name}")
    strange = sorted({*atoms.numbers.tolist()} - {*header.elements})
    if strange:
        known = ", ".join(chemical_symbols[z] for z in header.elements)
        raise ValueError(
            f"{atoms.get_chemical_formula()} has {', '.join(chemical_symbols[z] for z in strange)}"
            f", which {name} has not learned; expected elements among {known}"
        )
    if atoms.pbc.any():
        raise ValueError(
            f"{atoms.get_chemical_formula()} is periodic (pbc {atoms.pbc.tolist()}), but {name} "
            "was fitted to molecules in free space; set atoms.pbc = False for a molecule that is "
            "whole, or cut it out of its cell"
        )
    lowest, highest = header.charge
    charge, multiplicity = _electrons(atoms)
    if charge is not None and not lowest <= charge <= highest:
        raise ValueError(
            f"{atoms.get_chemical_formula()} has charge {charge}, but {name} was fitted to "
            f"{lowest if lowest == highest else f'{lowest} to {highest}'}; fit one to labels of "
            "such molecules"
        )
    allowed = header.multiplicities
    electrons = int(atoms.numbers.sum()) - (charge or 0)
    if multiplicity is None and all((electrons + m) % 2 == 0 for m in allowed):
        multiplicity = 1 + electrons % 2  # the lowest that so many electrons can have
    if multiplicity is not None and multiplicity not in allowed:
        raise ValueError(
            f"{atoms.get_chemical_formula()} has multiplicity {multiplicity}, but {name} was "
            f"fitted to {', '.join(map(str, allowed))}; fit one to labels of such molecules"
        )


def warn_of_kind(kind: str, header: ObservableHeader) -> None:
    """Warn of a dimer or a molecule that an observable was not trained on.

    Parameters
    ----------
    kind : str
        Its formula, of a dimer those of both molecules, as labels have them.
    header : ObservableHeader
        Without kinds in its record there is nothing to compare with, and no warning.
    """
    known = header.training.get("kinds")
    if not isinstance(known, list) or kind in known:
        return
    key = "mae" if header.kind == "coupling" else "mse"
    held_out, test = (header.errors.get(part) for part in ("held_out", "test"))
    figures = ""
    if isinstance(held_out, dict) and isinstance(test, dict):
        figures = f": {key} {held_out[key]:.3g} of kinds held out, {test[key]:.3g} of known ones"
    warnings.warn(
        f"{kind} is none of the kinds that observable {header.name!r} was trained on "
        f"({', '.join(map(str, known))}), and errors of others can be far larger{figures}. Compare "
        "with some labels of it, or fit to them too",
        KStepWarning,
        stacklevel=2,
    )


def _electrons(atoms: Atoms) -> tuple[int | None, int | None]:
    """Charge and multiplicity that the calculator was made with, or that the atoms carry."""
    noted = electrons_noted(atoms)._asdict()
    given = getattr(atoms.calc, "parameters", None) or {}
    for key in noted:
        value = given.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            noted[key] = value
    return noted["charge"], noted["multiplicity"]
