"""Random jitter and orientation of graphs, vectors and tensors included.

A coupling and a mean spectrum are scalars: they stay when a structure is turned or reflected. What
a graph carries beside its positions does not: p functions and the dipole turn as vectors, the
quadrupole as a tensor.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from kstep_integrators.observables.networks.graphs import Batch
from kstep_training.fit.rotations import random_rotations

__all__ = ["augmented", "random_orientations", "reoriented"]

_ROWS, _COLUMNS = (0, 0, 1, 0, 1, 2), (0, 1, 1, 2, 2, 2)
"""Of the six components xx, xy, yy, xz, yz, zz of a symmetric tensor."""


def random_orientations(count: int, generator: torch.Generator) -> Tensor:
    """Rotations without preferred direction, every second one on average with a reflection.

    Parameters
    ----------
    count : int
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    (count, 3, 3) float64
        Of determinant 1 or -1.

    Examples
    --------
    >>> turn = random_orientations(4, torch.Generator().manual_seed(0))
    >>> torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3, dtype=torch.float64))
    True
    """
    turn = random_rotations(count, generator)
    sign = 2 * torch.randint(2, (count, 1, 1), generator=generator) - 1
    return turn * sign


def reoriented(batch: Batch, turn: Tensor) -> Batch:
    """A batch in which each structure is turned, with its vectors and tensors if it has them.

    Parameters
    ----------
    batch : Batch
        Stays as it is.
    turn : (B, 3, 3)
        An orthogonal matrix for each structure.

    Examples
    --------
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> batch = Batch.from_data_list([structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])])
    >>> round(float(reoriented(batch, -torch.eye(3)[None]).pos[1, 2]), 6)
    -1.1
    """
    turned = copy.copy(batch)
    turn = turn.to(batch.pos)
    turned.pos = torch.einsum("nij,nj->ni", turn[batch.batch], batch.pos)
    if "orbital" in batch:
        turned.orbital = batch.orbital.clone()
        turned.orbital[:, 1:] = torch.einsum("nij,nj->ni", turn[batch.batch], batch.orbital[:, 1:])
    if "dipole" in batch:
        turned.dipole = torch.einsum("bij,bj->bi", turn, batch.dipole)
    if "quadrupole" in batch:
        tensor = batch.quadrupole.new_empty(len(turn), 3, 3)
        tensor[:, _ROWS, _COLUMNS] = tensor[:, _COLUMNS, _ROWS] = batch.quadrupole
        tensor = turn @ tensor @ turn.transpose(1, 2)
        turned.quadrupole = tensor[:, _ROWS, _COLUMNS]
    return turned


def augmented(batch: Batch, generator: torch.Generator, jitter: float, rotate: bool) -> Batch:
    """A batch with its atoms moved a little, each structure in a random orientation.

    The labels stay: the jitter says that a property hardly changes over such a distance. So do
    descriptors that are kept as numbers, such as the distance of two molecules.

    Parameters
    ----------
    batch : Batch
        Stays as it is.
    generator : torch.Generator
        On the CPU.
    jitter : float
        Standard deviation of each coordinate, in angstrom.
    rotate : bool

    Examples
    --------
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> batch = Batch.from_data_list([structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])])
    >>> random = torch.Generator().manual_seed(0)
    >>> moved = augmented(batch, random, jitter=0.0, rotate=True)
    >>> round(float(torch.linalg.norm(moved.pos[1] - moved.pos[0])), 6)
    1.1
    """
    moved = copy.copy(batch)
    if jitter > 0.0:
        shifts = torch.randn(batch.pos.shape, generator=generator, dtype=torch.float64)
        moved.pos = batch.pos + jitter * shifts.to(batch.pos)
    if rotate:
        moved = reoriented(moved, random_orientations(batch.num_graphs, generator))
    return moved
