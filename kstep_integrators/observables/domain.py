"""Structures that an observable was made for, and the refusal of all others by name."""

from __future__ import annotations

from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.observables.observable_file import ObservableHeader

__all__ = ["check_domain"]


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
    noted = electrons_noted(atoms)._asdict()
    given = getattr(atoms.calc, "parameters", None) or {}
    expected = {"charge": header.charge, "multiplicity": header.multiplicity}
    for key, wanted in expected.items():
        own = given.get(key)
        value = own if isinstance(own, int) and not isinstance(own, bool) else noted[key]
        if value is not None and value != wanted:
            raise ValueError(
                f"{atoms.get_chemical_formula()} has {key} {value}, but {name} was fitted to "
                f"{key} {wanted}; fit one to labels of such molecules"
            )
