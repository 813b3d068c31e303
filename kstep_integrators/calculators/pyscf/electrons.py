"""Charge and multiplicity, from arguments and from ``atoms``, checked against the electrons."""

from __future__ import annotations

from typing import Any, NamedTuple

from ase import Atoms
from ase.data import chemical_symbols

__all__ = ["Electrons", "electrons_of"]


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


def _one(
    name: str, given: int | None, noted: Any, guessed: int, smallest: int | None = None
) -> int:
    """The argument, else what ``atoms.info`` says, else a guess; the first two must agree."""
    if noted is None:
        return guessed if given is None else _whole(name, given, smallest)
    stated = _whole(f"atoms.info[{name!r}]", noted, smallest)
    if given is not None and _whole(name, given, smallest) != stated:
        raise ValueError(
            f"the calculator was made with {name}={given}, but atoms.info[{name!r}] is {stated}; "
            "remove one of them"
        )
    return stated


def electrons_of(atoms: Atoms, charge: int | None, multiplicity: int | None) -> Electrons:
    """Charge and multiplicity of a system.

    Parameters
    ----------
    atoms : ase.Atoms
        ``atoms.info`` may hold ``charge`` and ``multiplicity``. Failing these, the sums of the
        initial charges and of the initial magnetic moments count, as in tblite's calculator.
    charge, multiplicity : int or None
        Arguments of the calculator; None if not given.

    Raises
    ------
    ValueError
        If two sources disagree, a value is not a whole number, there are no electrons left, or
        their number cannot have the multiplicity.
    """
    initial_charge = _whole("the sum of the initial charges", atoms.get_initial_charges().sum())
    moment = _whole(
        "the sum of the initial magnetic moments", abs(atoms.get_initial_magnetic_moments().sum())
    )
    info = atoms.info
    electrons = Electrons(
        _one("charge", charge, info.get("charge"), initial_charge),
        _one("multiplicity", multiplicity, info.get("multiplicity"), moment + 1, 1),
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
