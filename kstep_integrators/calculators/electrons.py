"""Charge and multiplicity, from arguments and from ``atoms``, checked against the electrons."""

from __future__ import annotations

from typing import Any, NamedTuple

from ase import Atoms
from ase.data import chemical_symbols

__all__ = ["Electrons", "Noted", "charge_of", "electrons_noted", "electrons_of"]


class Electrons(NamedTuple):
    """Total charge in e, and multiplicity 2 S + 1."""

    charge: int
    multiplicity: int


def _whole(name: str, value: Any, smallest: int | None = None) -> int:
    limit = "" if smallest is None else f" of at least {smallest}"
    try:
        whole = round(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, expected a whole number{limit}") from None
    if abs(float(value) - whole) > 1e-6 or (smallest is not None and whole < smallest):
        raise ValueError(f"{name} is {value!r}, expected a whole number{limit}")
    return whole


class Noted(NamedTuple):
    """What atoms say of their charge in e and multiplicity 2 S + 1; None: nothing."""

    charge: int | None
    multiplicity: int | None


def electrons_noted(atoms: Atoms) -> Noted:
    """What atoms say of their charge and multiplicity.

    Parameters
    ----------
    atoms : ase.Atoms
        ``atoms.info`` may hold ``charge`` and ``multiplicity``. Failing these, initial charges and
        magnetic moments count by their sums, where these are not zero.

    Raises
    ------
    ValueError
        If ``info`` and the initial charges disagree, or a value is not a whole number. Moments
        give way to ``info``: :func:`ase.build.molecule` sets them unasked.
    """
    charge, multiplicity = atoms.info.get("charge"), atoms.info.get("multiplicity")
    if charge is not None:
        charge = _whole("atoms.info['charge']", charge)
    if atoms.has("initial_charges"):
        total = _whole("the sum of the initial charges", atoms.get_initial_charges().sum())
        if total and charge not in (None, total):
            raise ValueError(
                f"atoms.info['charge'] is {charge}, but the initial charges have the sum {total}; "
                "make them agree or take one of them out"
            )
        charge = total or charge
    if multiplicity is not None:
        multiplicity = _whole("atoms.info['multiplicity']", multiplicity, 1)
    elif atoms.has("initial_magmoms"):
        moment = abs(atoms.get_initial_magnetic_moments().sum())
        moment = _whole("the sum of the initial magnetic moments", moment)
        multiplicity = moment + 1 if moment else None
    return Noted(charge, multiplicity)


def _one(name: str, given: int | None, noted: int | None, guessed: int) -> int:
    """The argument, else what the atoms say, else a guess; the first two must agree."""
    stated = None if given is None else _whole(name, given, 1 if name == "multiplicity" else None)
    if stated is None:
        return guessed if noted is None else noted
    if noted is not None and noted != stated:
        raise ValueError(
            f"the calculator was made with {name}={given}, but atoms.info[{name!r}] is {noted}; "
            "remove one of them"
        )
    return stated


def charge_of(atoms: Atoms, charge: int | None) -> int:
    """Charge of a system in e, for methods without spin.

    Raises
    ------
    ValueError
        As for :func:`electrons_of`.
    """
    noted = electrons_noted(atoms).charge
    if atoms.info.get("charge") is None and charge is not None and noted not in (None, charge):
        raise ValueError(
            f"the calculator was made with charge={charge}, but the initial charges of the atoms "
            f"have the sum {noted}; remove one of them"
        )
    return _one("charge", charge, noted, 0)


def electrons_of(atoms: Atoms, charge: int | None, multiplicity: int | None) -> Electrons:
    """Charge and multiplicity of a system.

    Parameters
    ----------
    atoms : ase.Atoms
        ``atoms.info`` may hold ``charge`` and ``multiplicity``. Failing these, the sums of the
        initial charges and of the initial magnetic moments count, as in tblite's calculator.
        An argument must agree with all but the moments, which it overrides.
    charge, multiplicity : int or None
        Arguments of the calculator; None if not given.

    Raises
    ------
    ValueError
        If two sources disagree, a value is not a whole number, there are no electrons left, or
        their number cannot have the multiplicity.
    """
    noted = electrons_noted(atoms)
    moments = multiplicity is not None and atoms.info.get("multiplicity") is None
    electrons = Electrons(
        charge_of(atoms, charge),
        _one("multiplicity", multiplicity, None if moments else noted.multiplicity, 1),
    )
    count = int(atoms.numbers.sum()) - electrons.charge
    unpaired = electrons.multiplicity - 1
    formula = atoms.get_chemical_formula()
    if count < 1:
        raise ValueError(
            f"{formula} with charge {electrons.charge} has {count} electrons, expected at least one"
        )
    if unpaired > count or (count - unpaired) % 2:
        parity = "even" if count % 2 == 0 else "odd"
        possible = ", ".join(str(m) for m in range(1 + count % 2, min(count + 2, 7), 2))
        raise ValueError(
            f"{formula} with charge {electrons.charge} has {count} electrons, an {parity} number, "
            f"which cannot have multiplicity {electrons.multiplicity} (2 S + 1); it can be "
            f"{possible}. Set charge= and multiplicity= of the calculator, or atoms.info"
        )
    return electrons


def element(number: int) -> str:
    """Chemical symbol of an atomic number."""
    return str(chemical_symbols[number])
