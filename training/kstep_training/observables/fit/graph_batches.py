"""Graphs of samples as batches, in the order that the project's fits go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kstep_integrators.observables.networks.graphs import Batch, Data

__all__ = ["GraphDataset", "batches_in_order"]


class GraphDataset(Dataset[Any]):
    """Graphs, of which several at once make a batch.

    Parameters
    ----------
    graphs : sequence of torch_geometric.data.Data

    Examples
    --------
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> graph = structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])
    >>> GraphDataset([graph, graph])[[0, 1]].num_graphs
    2
    """

    def __init__(self, graphs: Sequence[Data]) -> None:
        self.graphs = list(graphs)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """One group: graphs of all sizes go together."""
        return np.array([0, len(self.graphs)])

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        return Batch.from_data_list([self.graphs[i] for i in indices])


def batches_in_order(graphs: Sequence[Data], size: int = 64) -> list[Batch]:
    """All graphs once, in their order, for predictions.

    Parameters
    ----------
    graphs : sequence of torch_geometric.data.Data
    size : int
        Graphs of a batch; the last one has those that are left.

    Examples
    --------
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> graph = structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])
    >>> [batch.num_graphs for batch in batches_in_order([graph] * 5, size=3)]
    [3, 2]
    """
    dataset = GraphDataset(graphs)
    return [dataset[range(i, min(i + size, len(dataset)))] for i in range(0, len(dataset), size)]
