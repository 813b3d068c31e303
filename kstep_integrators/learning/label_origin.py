"""Whether labels from elsewhere are of the physics and of the molecules of a run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.identity import changed_settings

__all__ = ["METHOD_KEYS", "check_method", "check_settings", "molecule_of"]

METHOD_KEYS = ("method", "xc", "basis")
"""Settings of calculators that name a method, and keys of a frame's ``info``."""


_NEUTRAL = {"charge": 0, "multiplicity": 1}


def check_settings(path: Path, said: dict[str, str], physics: Mapping[str, str]) -> None:
    """Refuse labels of a physics with other settings.

    Raises
    ------
    ValueError
        With what differs.
    """
    if said != physics:
        raise ValueError(
            f"the labels in {path} are of another physics: "
            f"{'; '.join(changed_settings(said, physics))}. Leave them out, or give the physics "
            "that they were computed with"
        )


def check_method(path: Path, said: str | None, physics: Mapping[str, str]) -> None:
    """Refuse labels of another method, by the name that their file has for it.

    Raises
    ------
    ValueError
        With both names.

    Warns
    -----
    KStepWarning
        If the file has none, or the physics of the run has none to be compared.
    """
    named = [physics.get(name, "None") for name in METHOD_KEYS]
    ours = " ".join(one.strip("'") for one in named if one != "None")
    calculator = physics.get("calculator", physics.get("function", "unknown"))
    if said and ours:
        one, other = _words(said), _words(ours)
        if one == other:
            return
        # A name may leave out, or add, a basis or a dispersion.
        alike = one and other and (one <= other or other <= one)
    else:
        alike = True
    if not alike:
        raise ValueError(
            f"the labels in {path} are of the method {said!r}, the physics of the run is {ours!r} "
            f"({calculator}). Leave them out, or give the physics that they were computed with"
        )
    what = f"says {said!r}" if said else "does not say which method its labels are of"
    warnings.warn(
        f"{path} {what}; the physics of the run is {ours or calculator}. They are taken to be of "
        "the same, with the same charge, spin and settings: if they are not, the run learns what "
        "is wrong",
        KStepWarning,
        stacklevel=3,
    )


def _words(method: str) -> set[str]:
    return {re.sub(r"[^a-z0-9]", "", word) for word in re.split(r"[\s/,()]+", method.lower())} - {
        "", "pyscf", "tblite", "xtb",
    }  # fmt: skip


def molecule_of(
    frame: Atoms, molecules: Sequence[Atoms], where: str, physics: Mapping[str, str]
) -> int:
    """The first of the molecules of the run that a frame is of.

    Parameters
    ----------
    frame : ase.Atoms
    molecules : sequence of ase.Atoms
    where : str
        File and frame, for the message.
    physics : mapping of str to str
        Settings of the run's physics, which may say charge and multiplicity.

    Raises
    ------
    ValueError
        If it is of none, with what differs.
    """
    alike = [i for i, one in enumerate(molecules) if np.array_equal(one.numbers, frame.numbers)]
    if not alike:
        formulas = [one.get_chemical_formula() for one in molecules]
        same = frame.get_chemical_formula() in formulas
        order = " in another order of atoms" if same else ""
        raise ValueError(
            f"{where} is of {frame.get_chemical_formula()}{order}, expected "
            f"{' or '.join(dict.fromkeys(formulas))} with its atoms in the order of the run"
        )
    wrong = ""
    for i in alike:
        wrong = _difference(frame, molecules[i], physics)
        if not wrong:
            return i
    raise ValueError(f"{where} has {wrong}: labels of another system cannot be learned from")


def _difference(frame: Atoms, molecule: Atoms, physics: Mapping[str, str]) -> str:
    """What differs between two systems of the same atoms; empty if nothing is known to."""
    if not np.array_equal(frame.pbc, molecule.pbc):
        return f"pbc {frame.pbc.tolist()}, the run {molecule.pbc.tolist()}"
    said: dict[str, Any] = electrons_noted(frame)._asdict()
    ours: dict[str, Any] = electrons_noted(molecule)._asdict()
    for name, value in said.items():
        mine = ours[name]
        if mine is None and name in physics:
            # What a calculator that knows of charges takes, where nobody says another.
            text = physics[name]
            mine = _NEUTRAL[name] if text == "None" else _integer(text)
        if None not in (value, mine) and value != mine:
            return f"{name} {value}, the run {mine}"
    return ""


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
