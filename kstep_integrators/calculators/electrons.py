"""Charge and multiplicity, from arguments and from ``atoms``, checked against the electrons."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators.notices import KStepWarning

__all__ = [
    "SPELLINGS",
    "Electrons",
    "Noted",
    "charge_of",
    "check_given",
    "electrons_noted",
    "electrons_of",
]

ROUNDING = 0.01
"""e; what charges of atoms, written to a few digits, may miss a whole sum by."""


class Electrons(NamedTuple):
    """Total charge in e, and multiplicity 2 S + 1."""

    charge: int
    multiplicity: int


SPELLINGS = {
    "charge": {"charge": 0, "total_charge": 0, "net_charge": 0},
    "multiplicity": {
        "multiplicity": 0, "spin_multiplicity": 0, "spin": 0,
        "uhf": 1, "unpaired_electrons": 1,
    },
}  # fmt: skip
"""Names in ``atoms.info`` of charge and spin, and what is added: unpaired electrons are 2 S."""


def _whole(name: str, value: Any, smallest: int | None = None) -> int:
    limit = "" if smallest is None else f" of at least {smallest}"
    try:
        values = np.asarray(value)
        if values.size != 1 or values.dtype.kind == "b":
            raise ValueError
        number = float(values.reshape(-1)[0])
        whole = round(number)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, expected a whole number{limit}") from None
    if abs(number - whole) > 1e-6 or (smallest is not None and whole < smallest):
        raise ValueError(f"{name} is {value!r}, expected a whole number{limit}")
    return whole


class Noted(NamedTuple):
    """Charge in e and multiplicity 2 S + 1 that atoms carry; None: they say nothing."""

    charge: int | None
    multiplicity: int | None


def electrons_noted(atoms: Atoms) -> Noted:
    """Charge and multiplicity that atoms carry.

    Parameters
    ----------
    atoms : ase.Atoms
        ``atoms.info`` may hold a ``charge`` (or ``total_charge``, ``net_charge``), and a
        ``multiplicity`` (or ``spin_multiplicity``, or ``spin``, which is 2 S + 1 as well, as in
        OMol25 and the models that were fitted to it; or ``uhf``, ``unpaired_electrons``: 2 S).
        Failing these, initial charges and magnetic moments count by their sums, where these are
        whole and not zero. Other sums say nothing: charges are then those of a force field, and
        moments a guess.

    Raises
    ------
    ValueError
        If two entries of ``info``, or ``info`` and the initial charges, disagree, or a value is not
        a whole number. Moments give way to ``info``: :func:`ase.build.molecule` sets them unasked.

    Examples
    --------
    >>> electrons_noted(Atoms("CH3", info={"total_charge": 0, "uhf": 1}))
    Noted(charge=0, multiplicity=2)
    """
    charge = _of_info(atoms, "charge")
    total = _sum(atoms, "initial_charges")
    if total and charge not in (None, total):
        raise ValueError(
            f"the charge in atoms.info is {charge}, but the initial charges have the sum {total}; "
            "make them agree or take one of them out"
        )
    multiplicity = _of_info(atoms, "multiplicity", 1)
    if multiplicity is None:
        moment = _sum(atoms, "initial_magmoms")
        multiplicity = abs(moment) + 1 if moment else None
    return Noted(total or charge, multiplicity)


def without_electrons(info: Mapping[str, Any]) -> dict[str, Any]:
    """``info`` without what it says of charge and spin, for whoever says it anew."""
    words = {word for spellings in SPELLINGS.values() for word in spellings}
    return {k: v for k, v in info.items() if str(k).lower() not in words}


def _of_info(atoms: Atoms, name: str, smallest: int | None = None) -> int | None:
    """The one value that ``info`` has for a name, whichever way it is spelled."""
    found: dict[str, int] = {}
    for key, value in atoms.info.items():
        added = SPELLINGS[name].get(str(key).lower())
        if added is not None and value is not None:
            limit = None if smallest is None else smallest - added
            found[key] = _whole(f"atoms.info[{key!r}]", value, limit) + added
    if len({*found.values()}) > 1:
        said = " and ".join(f"atoms.info[{key!r}] = {atoms.info[key]}" for key in found)
        raise ValueError(f"{said} disagree about the {name}; keep one of them")
    return next(iter(found.values()), None)


def _sum(atoms: Atoms, name: str) -> int | None:
    """The sum of an array of the atoms, if there is one and it is whole."""
    if not atoms.has(name):
        return None
    values = atoms.get_array(name, copy=False)
    if values.ndim > 1 and values.any():
        raise ValueError(
            f"{name} of the atoms have the shape {values.shape}, expected one number for each "
            "atom: moments with a direction are nothing that these methods have. Set "
            "atoms.info['multiplicity'] and take them out"
        )
    total = float(values.sum())
    if not np.isfinite(total):
        raise ValueError(f"{name} of the atoms are {values.tolist()[:10]}, expected finite numbers")
    return round(total) if abs(total - round(total)) < ROUNDING else None


def check_given(charge: int | None, multiplicity: int | None) -> None:
    """Check arguments of a calculator, before there are atoms.

    Raises
    ------
    ValueError
        If one is no whole number, or the multiplicity is less than 1.
    """
    if charge is not None:
        _whole("charge", charge)
    if multiplicity is not None:
        _whole("multiplicity", multiplicity, 1)


def _warn_of_parts(atoms: Atoms, name: str, quantity: str, taken: int) -> None:
    """Warn of numbers of the atoms whose sum is not whole: they do not say the total."""
    if atoms.has(name) and _sum(atoms, name) is None:
        warnings.warn(
            f"the {name} of {atoms.get_chemical_formula()} have the sum "
            f"{atoms.get_array(name).sum():.3f}, which is not whole: {quantity} {taken} is taken. "
            f"Set atoms.info[{quantity!r}], or {quantity}= of the calculator",
            KStepWarning,
            stacklevel=3,
        )


def _one(name: str, given: int | None, noted: int | None, guessed: int) -> int:
    """The argument, else what the atoms say, else a guess; the first two must agree."""
    stated = None if given is None else _whole(name, given, 1 if name == "multiplicity" else None)
    if stated is None:
        return guessed if noted is None else noted
    if noted is not None and noted != stated:
        raise ValueError(
            f"the calculator was made with {name}={given}, but the {name} that atoms.info says "
            f"is {noted}; remove one of them"
        )
    return stated


def charge_of(atoms: Atoms, charge: int | None) -> int:
    """Charge of a system in e, for methods without spin.

    Initial charges whose sum is not whole, and nothing else that says the charge: 0, with a
    ``KStepWarning``.

    Raises
    ------
    ValueError
        As for :func:`electrons_of`.
    """
    noted = electrons_noted(atoms).charge
    given = _of_info(atoms, "charge")
    if charge is None and noted is None:
        _warn_of_parts(atoms, "initial_charges", "charge", 0)
    if given is None and charge is not None and noted not in (None, charge):
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
        See :func:`electrons_noted`. An argument must agree with all but the moments, which it
        overrides.
    charge, multiplicity : int or None
        Arguments of the calculator; None if not given.

    Raises
    ------
    ValueError
        If two sources disagree, a value is not a whole number, there are no electrons left, or
        their number cannot have the multiplicity.
    """
    noted = electrons_noted(atoms)
    moments = multiplicity is not None and _of_info(atoms, "multiplicity", 1) is None
    if multiplicity is None and noted.multiplicity is None:
        _warn_of_parts(atoms, "initial_magmoms", "multiplicity", 1)
    electrons = Electrons(
        charge_of(atoms, charge),
        _one("multiplicity", multiplicity, None if moments else noted.multiplicity, 1),
    )
    count = int(atoms.numbers.sum()) - electrons.charge
    unpaired = electrons.multiplicity - 1
    formula = atoms.get_chemical_formula()
    if len(atoms) == 0:
        raise ValueError("there are no atoms, expected at least one")
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
