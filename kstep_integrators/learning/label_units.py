"""Units of labels from elsewhere: what a file says, and what its numbers look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kstep_integrators.learning.gradient_check import check_gradient
from kstep_integrators.learning.labels import Label
from kstep_integrators.models.molecules import bonded_pairs
from kstep_integrators.units import ENERGY_UNITS, LENGTH_UNITS

__all__ = ["check_units", "said_units"]

Indices = npt.NDArray[np.int64]

_ALIKE = {
    "ev": "eV", "electronvolt": "eV", "mev": "meV", "ha": "hartree", "eh": "hartree",
    "hartrees": "hartree", "au": "hartree", "a.u.": "hartree", "atomic": "hartree",
    "ry": "rydberg", "kcal": "kcal/mol", "kj": "kJ/mol", "kj/mol": "kJ/mol",
    "ang": "A", "angstrom": "A", "ångström": "A", "å": "A", "a": "A", "a0": "bohr",
}  # fmt: skip
"""Names of units in small letters, as other programs write them."""
_ENERGY_KEYS = ("energy_unit", "energy_units")
_FORCE_KEYS = ("force_unit", "force_units", "forces_unit", "forces_units")

_STIFF = (7.0, 170.0)
"""eV/angstrom^2 between which force constants of bonds to hydrogen are, and well beyond."""
_TYPICAL = 34.0
_LARGEST = 100.0
"""eV/angstrom: a root mean square of forces that no geometry of a run has."""


def said_units(info: dict[str, object], where: str) -> tuple[float, float]:
    """Factors to eV and eV/angstrom that the ``info`` of a frame names; 1 where it names none.

    Parameters
    ----------
    info : dict
        Of a frame: ``energy_unit``, such as ``hartree``, and ``force_unit``, such as
        ``hartree/bohr``.
    where : str
        File and frame, for the message.

    Raises
    ------
    ValueError
        If there is no such unit.

    Examples
    --------
    >>> said_units({"energy_unit": "meV", "force_unit": "meV/A"}, "frame 0 of a.xyz")
    (0.001, 0.001)
    """
    energy = force = 1.0
    for key in _ENERGY_KEYS:
        if key in info:
            energy = _energy(str(info[key]), f"{key} of {where}")
    for key in _FORCE_KEYS:
        if key in info:
            whole = str(info[key]).strip().replace("(", "").replace(")", "")
            unit, _, length = whole.rpartition("/")
            small = length.strip().lower()
            name = _ALIKE.get(small, small if small in LENGTH_UNITS else length)
            if name not in LENGTH_UNITS:
                raise ValueError(
                    f"{key} of {where} is {info[key]!r}, expected an energy of {[*ENERGY_UNITS]} "
                    f"over a length of {[*LENGTH_UNITS]}, such as 'hartree/bohr'"
                )
            force = _energy(unit, f"{key} of {where}") / LENGTH_UNITS[name]
    return energy, force


def _energy(unit: str, where: str) -> float:
    name = _ALIKE.get(unit.strip().lower(), unit.strip())
    if name not in ENERGY_UNITS and name.lower() in ENERGY_UNITS:
        name = name.lower()
    if name not in ENERGY_UNITS:
        raise ValueError(f"{where} is {unit!r}, expected one of {[*ENERGY_UNITS]}")
    return ENERGY_UNITS[name]


def check_units(labels: Sequence[Label], path: Path) -> None:
    """Refuse energies and forces that cannot be in eV and eV/angstrom.

    Forces are compared with energy differences of neighbouring frames, where they are close enough
    (:mod:`kstep_integrators.learning.gradient_check`); with the lengths of bonds to hydrogen, whose
    force constants are much the same in all molecules; and with what is possible at all.

    Raises
    ------
    ValueError
        With what was found, and the unit that it looks like.
    """
    verdict = check_gradient(labels)
    if verdict is not None and verdict.wrong and not 0.8 < verdict.scale < 1.25:
        raise ValueError(
            f"{path}: energies and forces are in units that do not belong together, or forces are "
            f"not the gradient: energy differences between frames are {verdict.scale:.3g} times "
            f"the work of the forces, expected 1{_mixture(verdict.scale)}. {_ADVICE}"
        )
    stiffness = _stiffness(labels)
    if stiffness is not None and not _STIFF[0] <= stiffness <= _STIFF[1]:
        raise ValueError(
            f"{path}: forces say that bonds to hydrogen have a force constant of {stiffness:.3g} "
            f"eV/angstrom^2, expected {_STIFF[0]:g} to {_STIFF[1]:g}: they look like "
            f"{_alike(stiffness / _TYPICAL)}. {_ADVICE}"
        )
    squares = [np.square(label.forces).mean() for label in labels if label.forces is not None]
    size = math.sqrt(float(np.mean(squares))) if squares else 0.0
    if size > _LARGEST:
        raise ValueError(
            f"{path}: forces are {size:.3g} eV/angstrom in the root mean square, expected less "
            f"than {_LARGEST:g}: they look like {_alike(size)}. {_ADVICE}"
        )


_ADVICE = (
    "Convert them, or name their units in the info of the frames: energy_unit (such as hartree) "
    "and force_unit (such as hartree/bohr)"
)


_PAIRS = (
    ("hartree", "hartree/bohr"), ("kcal/mol", "kcal/mol/A"), ("kJ/mol", "kJ/mol/nm"),
)  # fmt: skip
"""Units of energies and forces that programs write together."""


def _forces() -> dict[str, float]:
    """Units of forces by name, how many of each are one eV/angstrom."""
    return {
        f"{energy}/{length}": LENGTH_UNITS[length] / value
        for energy, value in ENERGY_UNITS.items()
        for length in ("A", "bohr", "nm")
    }


def _alike(factor: float) -> str:
    """The likeliest unit of forces that are a factor too large."""
    usual = ("hartree/bohr", "hartree/A", "kcal/mol/A", "kJ/mol/A", "kJ/mol/nm", "meV/A")
    units = _forces()
    return min(usual, key=lambda name: abs(math.log(units[name] / factor)))


def _mixture(scale: float) -> str:
    """What two units would make energy differences so much larger than the work of forces."""
    usual = ("eV", "hartree", "kcal/mol", "kJ/mol")
    lengths = ("A", "bohr", "nm")
    found = [
        (abs(math.log(abs(ratio / scale))), energy, f"{other}/{length}")
        for energy in usual
        for other in usual
        for length in lengths
        for ratio in [ENERGY_UNITS[other] / ENERGY_UNITS[energy] / LENGTH_UNITS[length]]
        if scale > 0.0
    ]
    # The fewest surprises first: units that go together.
    found = sorted(found, key=lambda one: (round(one[0], 1), one[1:] not in _PAIRS))
    if not found or found[0][0] > 0.1:
        return ""
    return f", as with {found[0][1]} and {found[0][2]}"


def _stiffness(labels: Sequence[Label]) -> float | None:
    """Force constant of bonds to hydrogen, eV/angstrom^2; None if there are none that move."""
    lengths, pulls = [], []
    for molecule in dict.fromkeys(label.molecule for label in labels):
        frames = [one for one in labels if one.molecule == molecule and one.forces is not None]
        if len(frames) < 3 or any(frames[0].pbc):
            continue
        pairs = bonded_pairs(frames[0].atoms())
        hydrogen = (frames[0].numbers[pairs] == 1).sum(1) == 1
        i, j = pairs[hydrogen].T
        vectors = np.array([one.positions[j] - one.positions[i] for one in frames])
        differences = np.array([_difference(one, i, j) for one in frames])
        length = np.linalg.norm(vectors, axis=2)
        pull = 0.5 * (differences * vectors).sum(2) / length
        lengths.append((length - length.mean(0)).ravel())
        pulls.append((pull - pull.mean(0)).ravel())
    if not lengths:
        return None
    stretch, force = np.concatenate(lengths), np.concatenate(pulls)
    if len(stretch) < 3 or float(stretch.std()) < 1e-3:
        return None
    return -float(stretch @ force) / float(stretch @ stretch)


def _difference(label: Label, i: Indices, j: Indices) -> npt.NDArray[np.float64]:
    forces = np.zeros((len(label.numbers), 3)) if label.forces is None else label.forces
    difference: npt.NDArray[np.float64] = forces[j] - forces[i]
    return difference
