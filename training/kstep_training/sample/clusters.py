"""Clusters: which molecules are put together, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import vdw_radii

__all__ = ["Member", "compositions", "placed", "random_rotation"]

Array = npt.NDArray[np.float64]

SIZES = (2, 2, 2, 2, 3, 3, 4, 6)
"""Molecules of a cluster, drawn from these as often as they stand here."""
UNKNOWN_RADIUS = 2.0
"""Van der Waals radius of elements for which there is none on record (boron), angstrom."""
SMALL = 6.0
"""Atoms at which a molecule is half as likely to be drawn as a partner as the smallest."""
TRIES = 20
"""Draws of a partner that do not fit, after which a cluster is left as it is."""


@dataclass(frozen=True)
class Member:
    """One molecule that may be in clusters.

    Attributes
    ----------
    name : str
    atoms : int
    charge : int
    """

    name: str
    atoms: int
    charge: int


def compositions(
    members: Sequence[Member],
    each: int,
    most_atoms: int,
    charges: Sequence[int],
    seed: int,
) -> list[tuple[str, ...]]:
    """Names of the molecules of all clusters, each once.

    Parameters
    ----------
    members : sequence of Member
    each : int
        Clusters in which each stands first.
    most_atoms : int
        Of a cluster.
    charges : two of int
        Lowest and highest charge of a cluster, e.
    seed : int
        What is drawn for a molecule depends on it and on its name, and on which others there are.

    Returns
    -------
    list of tuple of str
        Those of a cluster sorted, but for nothing else.
    """
    members = sorted(members, key=lambda one: one.name)
    weights = np.array([1.0 / (1.0 + (one.atoms / SMALL) ** 2) for one in members])
    chosen: dict[tuple[str, ...], None] = {}
    for first in members:
        rng = np.random.default_rng([seed, *first.name.encode()])
        for _ in range(each):
            cluster = [first]
            size = int(rng.choice(SIZES))
            for _ in range(TRIES):
                if len(cluster) == size:
                    break
                other = members[int(rng.choice(len(members), p=weights / weights.sum()))]
                total = sum(one.charge for one in cluster) + other.charge
                atoms = sum(one.atoms for one in cluster) + other.atoms
                if atoms <= most_atoms and charges[0] <= total <= charges[1]:
                    cluster.append(other)
            total = sum(one.charge for one in cluster)
            if len(cluster) > 1 and charges[0] <= total <= charges[1]:
                chosen[tuple(sorted(one.name for one in cluster))] = None
    return list(chosen)


def random_rotation(rng: np.random.Generator) -> Array:
    """A rotation, (3, 3), all of them equally likely: from a random quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def placed(
    numbers: Sequence[npt.NDArray[np.int64]],
    positions: Sequence[Array],
    contacts: Sequence[float],
    rng: np.random.Generator,
) -> Array:
    """Molecules put together in random orientations, each in contact with those before it.

    Parameters
    ----------
    numbers : sequence of (n,) int
    positions : sequence of (n, 3) angstrom
    contacts : two of float
        Shortest distance between two molecules over the sum of the van der Waals radii: the lowest
        and the highest.
    rng : numpy.random.Generator

    Returns
    -------
    (sum of n, 3) angstrom
    """
    there: Array = np.empty((0, 3))
    radii: Array = np.empty(0)
    for kinds, x in zip(numbers, positions, strict=True):
        mine = np.nan_to_num(vdw_radii[kinds], nan=UNKNOWN_RADIUS)
        turned = (x - x.mean(0)) @ random_rotation(rng).T
        if len(there):
            touching = float(rng.uniform(contacts[0], contacts[1])) * (
                radii[:, None] + mine[None, :]
            )
            direction = rng.normal(size=3)
            direction /= np.linalg.norm(direction)
            far = _approach(there, turned, touching, direction)
            turned = turned + there.mean(0) + far * direction
        there, radii = np.concatenate([there, turned]), np.concatenate([radii, mine])
    return np.asarray(there - there.mean(0))


def _approach(there: Array, mine: Array, touching: Array, direction: Array) -> float:
    """Distance along a direction at which the first two atoms touch, coming from afar, angstrom.

    Two atoms a and b touch where |b + t u - a| is as given: the larger root of a quadratic.
    """
    gap = (mine + there.mean(0))[None, :] - there[:, None]
    along = gap @ direction
    rest = along**2 - (gap**2).sum(-1) + touching**2
    meets = rest >= 0.0
    return float((-along + np.sqrt(np.where(meets, rest, 0.0)))[meets].max(initial=0.0))
