"""Distance and angle of the two molecules of a dimer."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kstep_integrators.observables.couplings.orbitals import Array

__all__ = ["plane_angle", "separation"]


def separation(first: Atoms, second: Atoms) -> float:
    """Distance between the means of the molecules' positions, angstrom.

    Examples
    --------
    >>> from ase import Atoms
    >>> separation(Atoms("H2", [[0, 0, 0], [0, 0, 1]]), Atoms("H2", [[3, 0, 0], [3, 0, 1]]))
    3.0
    """
    return float(np.linalg.norm(first.positions.mean(0) - second.positions.mean(0)))


def plane_angle(first: Atoms, second: Atoms) -> float:
    """Angle between the molecules' planes, radian, from 0 to pi/2.

    The plane of a molecule is the one of least squares through its atoms. A linear molecule or a
    single atom has none: its normal is then as the axes fall, and the angle says nothing.

    Examples
    --------
    >>> from ase.build import molecule
    >>> flat, upright = molecule("C2H4"), molecule("C2H4")
    >>> upright.rotate(90, "z")
    >>> round(plane_angle(flat, upright), 6)
    1.570796
    """
    one, other = _normal(first.positions), _normal(second.positions)
    # Well conditioned at both ends, where an arc cosine is not.
    return float(np.arctan2(np.linalg.norm(np.cross(one, other)), abs(float(one @ other))))


def _normal(positions: Array) -> Array:
    return np.asarray(np.linalg.svd(positions - positions.mean(0), full_matrices=True)[2][-1])
