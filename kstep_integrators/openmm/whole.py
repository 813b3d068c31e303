"""A solute in one piece, in whatever periodic images its particles are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kstep_integrators.openmm.particles import Array

__all__ = ["Tree", "tree_of"]

Indices = npt.NDArray[np.int64]

REACH = 0.4
"""Longest link, as a fraction of a box vector; from a half on its image would be the nearer one."""


@dataclass(frozen=True)
class Tree:
    """The shortest links that hold a solute together: its bonds, if it is one molecule.

    Attributes
    ----------
    atoms : (n,) int64
        Particles of the solute, each after the one that it is linked to.
    above : (n,) int64
        Where in ``atoms`` that one stands; 0 for the first, which is linked to itself.
    """

    atoms: Indices
    above: Indices

    def whole(self, positions: Array, box: Array) -> Array:
        """Positions with the solute in one piece, about its first atom.

        Parameters
        ----------
        positions : (N, 3) nm
            Of all particles.
        box : (3, 3) nm
            Box vectors as rows.

        Returns
        -------
        (N, 3) nm
            The very same if it was in one piece.

        Raises
        ------
        ValueError
            If a link is longer than :data:`REACH` of the box: which image is meant is not certain.
        """
        mine = positions[self.atoms]
        links = (mine - mine[self.above]) @ np.linalg.inv(box)
        images = np.rint(links)
        stretched = np.abs(links - images).max(1)
        if stretched.max() > REACH:
            number = int(stretched.argmax())
            raise ValueError(
                f"particle {self.atoms[number]} of the solute is {stretched[number]:.2f} of a box "
                f"vector away from particle {self.atoms[self.above[number]]}, the nearest that it "
                f"could belong to, expected at most {REACH:g}: the model is of one isolated "
                "molecule, whose image could not be told. Name the particles of one molecule, or "
                "take a larger box"
            )
        if not images.any():
            return positions
        for number in range(1, len(images)):
            images[number] += images[self.above[number]]
        mended = positions.copy()
        mended[self.atoms] -= images @ box
        return mended


def tree_of(particles: Indices, positions: Array, box: Array) -> Tree:
    """The tree of a solute: each particle linked to the nearest image of one linked before (Prim).

    Parameters
    ----------
    particles : (n,) int64
        Of the solute.
    positions : (N, 3) nm
        Of all particles.
    box : (3, 3) nm
        Box vectors as rows.

    Raises
    ------
    ValueError
        As :meth:`Tree.whole`, and if the solute touches its own image: nothing tells then where it
        ends.
    """
    mine = positions[particles]
    inverse = np.asarray(np.linalg.inv(box), dtype=np.float64)
    order, above = [0], [0]
    nearest = np.zeros(len(mine), dtype=np.int64)
    distance = _shortest(mine - mine[0], box, inverse)
    left = np.ones(len(mine), dtype=bool)
    left[0], longest = False, 0.0
    while left.any():
        added = int(np.where(left, distance, np.inf).argmin())
        longest = max(longest, float(distance[added]))
        order.append(added)
        above.append(order.index(int(nearest[added])))
        left[added] = False
        further = _shortest(mine - mine[added], box, inverse)
        closer = left & (further < distance)
        distance[closer], nearest[closer] = further[closer], added
    tree = Tree(np.asarray(particles)[order], np.array(above))
    together = tree.whole(positions, box)[tree.atoms]
    for number, place in enumerate(together):
        apart = (together - place) @ inverse
        other = np.rint(apart).any(1) & (_shortest(together - place, box, inverse) <= longest)
        if other.any():
            raise ValueError(
                f"particles {tree.atoms[number]} and {tree.atoms[int(other.argmax())]} of the "
                "solute are nearer to each other across the periodic boundary than others within "
                "it: it touches its own image, and the model is of an isolated molecule. Take a "
                "larger box"
            )
    return tree


def _shortest(vectors: Array, box: Array, inverse: Array) -> Array:
    """Lengths of the nearest images, exact for those that are short beside the box."""
    parts = vectors @ inverse
    lengths: Array = np.linalg.norm((parts - np.rint(parts)) @ box, axis=1)
    return lengths
