"""Files of geometries whose SCF failed."""

from __future__ import annotations

import itertools
from pathlib import Path

from ase import Atoms
from ase.io import write

__all__ = ["save_failed"]


def save_failed(atoms: Atoms, folder: Path) -> Path:
    """Write ``pyscf-failed-N.extxyz`` with the first free N, in angstrom; return its path.

    Parameters
    ----------
    atoms : ase.Atoms
    folder : Path
        Made if it is not there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = folder / f"pyscf-failed-{number}.extxyz"
        if not path.exists():
            break
    write(path, atoms, format="extxyz")
    return path
