"""Charge and spin of a run beside those that its model was fitted to."""

from __future__ import annotations

import warnings
from typing import Any

from ase import Atoms

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.models.domain import header_of_jump
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.notices import KStepWarning

__all__ = ["warn_of_charge", "warn_of_electrons"]


def warn_of_electrons(jump: Any, atoms: Atoms) -> None:
    """Warn of a charge or multiplicity that the model of a jump was not fitted to.

    Known are those that the atoms say, and those that the physics was made with
    (``atoms.calc.parameters``). The physics corrects the jumps in any case: so a warning, no error.

    Parameters
    ----------
    jump : Jump
    atoms : ase.Atoms
    """
    header = header_of_jump(jump)
    if header is None:
        return
    try:
        noted = electrons_noted(atoms)._asdict()
    except ValueError:  # what contradicts itself: the physics says so, if it asks
        noted = {"charge": None, "multiplicity": None}
    given = getattr(atoms.calc, "parameters", None) or {}
    for name in noted:
        value = given.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            noted[name] = value
    _warn(header, atoms.get_chemical_formula(), **noted)


def warn_of_charge(jump: Any, charge: int, name: str) -> None:
    """Warn of a charge that the model of a jump was not fitted to.

    Parameters
    ----------
    jump : Jump or Potential
    charge : int
        In e.
    name : str
        What has it.
    """
    header = header_of_jump(jump)
    if header is not None:
        _warn(header, name, charge, None)


def _warn(header: ModelHeader, name: str, charge: int | None, multiplicity: int | None) -> None:
    lowest, highest = header.charge
    said = []
    if charge is not None and not lowest <= charge <= highest:
        expected = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        said.append(f"charge {charge} (fitted to: {expected})")
    if multiplicity is not None and multiplicity not in header.multiplicities:
        expected = ", ".join(map(str, header.multiplicities))
        said.append(f"multiplicity {multiplicity} (fitted to: {expected})")
    if said:
        warnings.warn(
            f"{name} has {' and '.join(said)}, which model {header.name!r} has not learned: jumps "
            "will be poor. Use a model that has, or CalculatorPotential(...) with this charge and "
            "multiplicity",
            KStepWarning,
            stacklevel=4,
        )
