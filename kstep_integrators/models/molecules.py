"""Small molecules by name, relaxed with GFN2-xTB, and the bonds of a molecule.

The geometries come with the package (``python -m kstep_training.inputs.named_structures`` makes
them), so nothing here needs RDKit.
"""

from __future__ import annotations

import difflib
import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

__all__ = ["NAMED_FILE", "bonded_pairs", "named_molecule", "named_molecules"]

NAMED_FILE: Final[Path] = Path(
    str(importlib.resources.files("kstep_integrators") / "models" / "named.xyz")
)
"""The bundled geometries, extended XYZ."""

_BOND_TOLERANCE: Final[float] = 1.25
"""Atoms closer than this many sums of covalent radii count as bonded."""


@lru_cache(maxsize=1)
def _named() -> dict[str, Atoms]:
    frames = ase.io.read(NAMED_FILE, index=":", format="extxyz")
    return {str(frame.info["name"]): frame for frame in frames}


def named_molecules() -> list[str]:
    """Names that :func:`named_molecule` knows, sorted."""
    return sorted(_named())


def named_molecule(name: str) -> Atoms:
    """Bundled molecule at its GFN2-xTB minimum.

    Parameters
    ----------
    name : str
        Such as ``"ethanol"``; case, blanks and underscores do not matter.

    Returns
    -------
    ase.Atoms
        A fresh copy without calculator: positions in angstrom about the centre of mass, ``name``
        and ``smiles`` in ``info``.

    Raises
    ------
    TypeError
        If the name is no text.
    ValueError
        If no bundled molecule has that name; the message gives the nearest ones.

    Examples
    --------
    >>> named_molecule("acetic acid").get_chemical_formula()
    'C2H4O2'
    """
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}, expected the name of a bundled molecule, as 'ethanol'")
    known = {_plain(key): atoms for key, atoms in _named().items()}
    bundled = known.get(_plain(name))
    if bundled is not None:
        copy: Atoms = bundled.copy()
        return copy
    near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    names = ", ".join(str(known[key].info["name"]) for key in near)
    hint = f"did you mean {names}? " if names else ""
    raise ValueError(
        f"no bundled molecule is called {name!r}; {hint}"
        "kstep_integrators.models.molecules.named_molecules() lists all names. For a molecule of "
        "your own give a geometry (ase.io.read, or --xyz FILE) or a SMILES string (--smiles, needs "
        "pip install 'kstep-integrators[prep]')"
    )


def bonded_pairs(atoms: Atoms, scale: float = _BOND_TOLERANCE) -> NDArray[np.int64]:
    """Covalent bonds of an isolated molecule, from its geometry.

    Parameters
    ----------
    atoms : ase.Atoms
        Positions in angstrom; best near a minimum.
    scale : float
        A bond is shorter than this times the sum of the covalent radii.

    Returns
    -------
    numpy.ndarray
        Shape (n_bonds, 2), each pair once with i < j.

    Examples
    --------
    >>> bonded_pairs(named_molecule("water")).tolist()
    [[0, 1], [0, 2]]
    """
    radii = covalent_radii[atoms.numbers]
    distance = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None, :], axis=-1)
    bonded = distance < scale * (radii[:, None] + radii[None, :])
    return np.argwhere(np.triu(bonded, k=1)).astype(np.int64)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
