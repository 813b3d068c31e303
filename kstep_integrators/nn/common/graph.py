"""Graph of a system: atoms, and for each atom a row of neighbours.

One layout serves both neighbour paths. Every atom has a row of K slots; in the dense path slot j of
atom i is atom j of the same molecule, in the list path ``index`` says which atom it is, and in a
periodic cell ``offsets`` say which image of it. Sums over
neighbours are then plain sums over one axis, with no scatter, in the same order every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import to_device

__all__ = ["Graph", "displacements", "neighbor_values", "pair_sums", "pair_values", "species_table"]


@dataclass(frozen=True)
class Graph:
    """Neighbour rows of B molecules (dense) or of one flat set of atoms (list).

    Attributes
    ----------
    species : (..., N) int64
        Index of each atom's element in the model's table; padding atoms are 0.
    atom_mask : (..., N) bool
        False for padding atoms.
    pair_mask : (..., N, K) bool
        False for empty slots, for an atom's own slot, and for padding.
    index : (..., N, K) int64 or None
        Atom in each slot, counted over all molecules; None for the dense path, where K = N and slot
        j is atom j.
    offsets : (..., N, K, 3), angstrom, or None
        Cell vectors from the atom in each slot to its image that is meant; None in open space. An
        atom may be in several slots of a row, and its own images in its own.
    """

    species: Tensor
    atom_mask: Tensor
    pair_mask: Tensor
    index: Tensor | None = None
    offsets: Tensor | None = None

    def to(self, device: torch.device) -> Graph:
        """Copy to another device."""
        return to_device(self, device)


def species_table(elements: Sequence[int]) -> Tensor:
    """Index of each atomic number among some elements, (120,) int64; -1 for all others.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers.

    Examples
    --------
    >>> species_table([1, 6, 8])[[8, 1, 7]].tolist()
    [2, 0, -1]
    """
    table = torch.full((120,), -1, dtype=torch.int64)
    table[torch.tensor(list(elements))] = torch.arange(len(elements))
    return table


def neighbor_values(values: Tensor, index: Tensor | None) -> Tensor:
    """Bring per-atom values to the slots: (..., N, *F) -> (..., N or 1, K, *F).

    Parameters
    ----------
    values : (..., N, *F), with the axes of the index in front for the list path
    index : (..., N, K) int64 or None
        As in :class:`Graph`. The dense path returns a view that broadcasts over the first atom.
    """
    if index is None:
        return values.unsqueeze(1)
    atoms = values.flatten(0, index.ndim - 2)
    return atoms.index_select(0, index.reshape(-1)).reshape(*index.shape, *atoms.shape[1:])


def pair_sums(receivers: Tensor, senders: Tensor, index: Tensor | None) -> Tensor:
    """Add values of each atom and of each neighbour: two (..., N, F) to (..., N, K, F)."""
    return receivers.unsqueeze(-2) + neighbor_values(senders, index)


def pair_values(table: Tensor, graph: Graph) -> Tensor:
    """Look up a table of pairs of species: (S, S) -> (..., N, K)."""
    return table[graph.species.unsqueeze(-1), neighbor_values(graph.species, graph.index)]


def displacements(positions: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Vectors from each atom to its neighbours, and their lengths.

    Parameters
    ----------
    positions : (..., N, 3) angstrom
    graph : Graph

    Returns
    -------
    vectors : (..., N, K, 3) angstrom
        Empty slots hold (1000, 0, 0), far outside any cutoff, so that nothing divides by zero.
    distances : (..., N, K) angstrom
    """
    vectors = neighbor_values(positions, graph.index) - positions.unsqueeze(-2)
    if graph.offsets is not None:
        vectors = vectors + graph.offsets
    far = torch.zeros(3, dtype=vectors.dtype, device=vectors.device)
    far = torch.cat([far[:1] + 1000.0, far[1:]])
    vectors = torch.where(graph.pair_mask.unsqueeze(-1), vectors, far)
    return vectors, vectors.square().sum(-1).sqrt()
