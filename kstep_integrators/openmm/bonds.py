"""Bonds of a Context, from one landing to the next."""

from __future__ import annotations

import numpy as np

from kstep_integrators.mechanics.bond_watch import Topology, find_bonds
from kstep_integrators.openmm.particles import Array
from kstep_integrators.state import PhaseState

__all__ = ["BondMemory"]

_KEPT = 64
"""Geometries: the proposals of a Metropolis test, and those of Contexts that take turns."""

_SAME = 1e-6
"""nm; platforms in single precision give positions back rounded."""


class BondMemory:
    """The bonds at the last geometries, found anew where a Context comes from elsewhere.

    A pair between bonded and not is what it was before, so that vibrations are no changes; nothing
    in a geometry tells what it was.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Array, Topology]] = []

    def at(self, positions: Array, state: PhaseState) -> Topology:
        """The bonds at positions (nm) that a state stands for."""
        for where, bonds in reversed(self._kept):
            if where.shape == positions.shape and np.abs(where - positions).max() < _SAME:
                return bonds
        found = find_bonds(state)
        self.put(positions, found)
        return found

    def put(self, positions: Array, bonds: Topology) -> None:
        """Keep what a landing has."""
        self._kept.append((positions, bonds))
        del self._kept[:-_KEPT]
