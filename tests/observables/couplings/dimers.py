"""Dimers of small molecules for the tests of couplings."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from kstep_integrators import named_molecule

__all__ = ["askew", "cofacial", "xtb_example"]


def cofacial(distance: float, slide: float = 0.0, name: str = "ethene") -> Atoms:
    """Two planar molecules face to face, one shifted along the first's long axis."""
    one = flat(named_molecule(name))
    other = one.copy()
    other.translate([slide, 0.0, distance])
    return one + other


def flat(atoms: Atoms) -> Atoms:
    """A planar molecule in the plane xy about its mean, its longest axis along x."""
    positions = atoms.positions - atoms.positions.mean(0)
    turned = positions @ np.linalg.svd(positions)[2].T
    turned[:, 2] = 0.0
    return Atoms(atoms.numbers, turned)


def askew(first: str = "ethene", second: str = "furan") -> Atoms:
    """Two molecules, distorted and in no symmetric arrangement."""
    rng = np.random.default_rng(5)
    one, other = flat(named_molecule(first)), flat(named_molecule(second))
    other.positions = Rotation.from_rotvec([0.3, -0.4, 0.2]).apply(other.positions)
    other.translate([0.6, 0.4, 3.7])
    both: Atoms = one + other
    both.positions += 0.02 * rng.normal(size=both.positions.shape)
    return both


def xtb_example() -> Atoms:
    """Benzene and nitrobenzene of the example in the documentation of the program xtb."""
    atoms: Atoms = ase.io.read(Path(__file__).parent / "xtb_dipro.xyz")
    return atoms
