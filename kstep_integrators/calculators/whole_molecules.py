"""Whole molecules: positions of an OpenMM System with all bonds between the atoms as they stand.

Forces of bonds, angles and torsions know of no periodic images, as OpenMM's own simulations keep
molecules in one piece; ASE's ``atoms.wrap()`` and many files do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

if TYPE_CHECKING:
    import openmm

__all__ = ["WholeMolecules"]

Array = npt.NDArray[np.float64]

_OTHERS = ("CMAPTorsionForce", "CustomCentroidBondForce")
"""Forces whose first parameters are no particles; what they act on is bound by others."""


class WholeMolecules:
    """The bonds of a System as trees, one for each molecule.

    Parameters
    ----------
    system : openmm.System
        Bonds are its constraints, and neighbours in the bonds, angles and torsions of its forces.
    """

    def __init__(self, system: openmm.System) -> None:
        count = system.getNumParticles()
        pairs = np.array(sorted(set(_links(system))), dtype=np.int64).reshape(-1, 2)
        labels = connected_components(_graph(pairs, count), directed=False)[1]
        roots = np.unique(labels, return_index=True)[1]
        # One search from a node that all molecules hang on.
        trunk = np.stack([roots, np.full(len(roots), count)], axis=1)
        graph = _graph(np.concatenate([pairs, trunk]), count + 1)
        order, above = breadth_first_order(graph, count, directed=False)
        depth = np.zeros(count + 1, dtype=np.int64)
        for atom in order[1:]:
            depth[atom] = depth[above[atom]] + 1
        above[roots] = roots
        self._above = above[:count]
        sequence, depths = order[1:], depth[order[1:]]  # by depth already
        starts = np.searchsorted(depths, np.arange(2, int(depths[-1]) + 2))
        self._levels = np.split(sequence, starts)[1:-1]

    def put_together(self, positions: Array, cell: Array) -> Array:
        """Positions (N, 3) moved by whole vectors of a cell (3, 3); themselves if none had to be.

        Each atom is put at the image nearest to the one that it is bound to.
        """
        images = np.rint((positions - positions[self._above]) @ np.linalg.inv(cell))
        if not images.any():
            return positions
        for level in self._levels:
            images[level] += images[self._above[level]]
        return np.asarray(positions - images @ cell)


def _graph(pairs: npt.NDArray[np.int64], count: int) -> coo_array:
    shape = (count, count)
    return coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape).tocsr()


def _links(system: openmm.System) -> Iterator[tuple[int, int]]:
    """Pairs of particles that are bound to each other, first one smaller."""
    fixed = range(system.getNumConstraints())
    chains = [list(system.getConstraintParameters(i)[:2]) for i in fixed]
    for force in system.getForces():
        if type(force).__name__ in _OTHERS:
            continue
        for kind, size in (("Bond", 2), ("Angle", 3), ("Torsion", 4)):
            if not hasattr(force, f"getNum{kind}s"):
                continue
            for i in range(getattr(force, f"getNum{kind}s")()):
                found = getattr(force, f"get{kind}Parameters")(i)
                # Of a compound bond they are one list of any length.
                chains.append(list(found[:size] if isinstance(found[0], int) else found[0]))
    for chain in chains:
        for one, other in itertools.pairwise(chain):
            if one != other:
                yield min(one, other), max(one, other)
