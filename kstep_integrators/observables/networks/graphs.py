"""Graphs of dimers and structures, and sums over them, by torch_geometric.

The only module that imports torch_geometric; what other modules need of it they take from here.
Its ``scatter`` adds and averages by PyTorch's own ``scatter_add_``, on all devices, and leaves the
largest of several values on a GPU, which attention asks for, to torch_scatter where that is
installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

with warnings.catch_warnings():
    # torch_geometric uses torch.jit.script, which PyTorch deprecates.
    warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
    from torch_geometric.data import Batch, Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.utils import scatter

__all__ = [
    "GLOBALS",
    "Batch",
    "Data",
    "DataLoader",
    "batch_of",
    "dimer_graph",
    "pairs_within",
    "scatter",
    "structure_graph",
]

GLOBALS = ("R", "theta", "V0", "participation")
"""Columns of ``globals`` of a dimer's graph."""


def dimer_graph(
    numbers: ArrayLike,
    positions: ArrayLike,
    molecule: ArrayLike,
    populations: ArrayLike,
    orbital: ArrayLike,
    dipole: ArrayLike,
    quadrupole: ArrayLike,
    globals_: ArrayLike,
    labels: Mapping[str, ArrayLike] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Data:
    """Graph of a dimer, as ``DeltaCoupling`` takes it.

    It has no edges: networks make them of the positions, which may be rotated and jittered first.

    Parameters
    ----------
    numbers : (N,)
        Atomic numbers.
    positions : (N, 3) angstrom
    molecule : (N,)
        0 or 1, the molecule that each atom is of. Which is called which does not matter.
    populations : (N, 3)
        Electrons in s, p and d shells of each atom.
    orbital : (N, 4)
        Amplitudes of s, px, py, pz of each atom in the orbital of its own molecule, with phases in
        which V0 is not negative.
    dipole : (3,) e angstrom
    quadrupole : (6,) e angstrom^2
        xx, xy, yy, xz, yz, zz about the mean of the positions.
    globals_ : (4,)
        Distance R of the molecules (angstrom), angle theta between them (radian), cheap coupling V0
        (eV), participation ratio.
    labels : dict, optional
        Further numbers of the dimer, by the names that the graph has them under; of a batch, they
        are (B,).
    dtype : torch.dtype
        Of all but whole numbers.

    Returns
    -------
    torch_geometric.data.Data
        ``z`` (N,), ``pos`` (N, 3), ``molecule`` (N,), ``populations`` (N, 3), ``orbital``
        (N, 4), ``dipole`` (1, 3), ``quadrupole`` (1, 6), ``globals`` (1, 4), and the labels, each
        (1,).

    Raises
    ------
    ValueError
        If an array has another shape, or ``molecule`` has other values than 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import dimer_graph
    >>> graph = dimer_graph(
    ...     [2, 10], np.eye(2, 3), [0, 1], np.zeros((2, 3)), np.ones((2, 4)),
    ...     np.zeros(3), np.zeros(6), np.zeros(4),
    ... )
    >>> graph.num_nodes, tuple(graph.globals.shape)
    (2, (1, 4))
    """
    atoms = np.asarray(numbers).size
    graph = _atoms(numbers, positions, dtype)
    graph.molecule = _array("molecule", molecule, (atoms,), torch.int64)
    if not set(graph.molecule.tolist()) <= {0, 1}:
        raise ValueError(
            f"molecule is {graph.molecule.tolist()}, expected 0 or 1 for each atom: the molecule "
            "of the dimer that it is of"
        )
    graph.populations = _array("populations", populations, (atoms, 3), dtype)
    graph.orbital = _array("orbital", orbital, (atoms, 4), dtype)
    graph.dipole = _array("dipole", dipole, (3,), dtype)[None]
    graph.quadrupole = _array("quadrupole", quadrupole, (6,), dtype)[None]
    graph.globals = _array("globals_", globals_, (len(GLOBALS),), dtype)[None]
    for name, value in (labels or {}).items():
        graph[name] = _array(name, value, (), dtype)[None]
    return graph


def structure_graph(
    numbers: ArrayLike,
    positions: ArrayLike,
    absorbers: Sequence[int],
    labels: Mapping[str, ArrayLike] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Data:
    """Graph of a structure, as ``XANESNetwork`` takes it.

    Parameters
    ----------
    numbers : (N,)
        Atomic numbers.
    positions : (N, 3) angstrom
    absorbers : sequence of int
        Indices of the absorbing atoms, A of them, one at least.
    labels : dict, optional
        Arrays (A, ...) with a row for each absorber, by the names that the graph has them under.
    dtype : torch.dtype
        Of all but whole numbers.

    Returns
    -------
    torch_geometric.data.Data
        ``z`` (N,), ``pos`` (N, 3), ``absorber_index`` (A,), which a batch counts on, and the
        labels.

    Raises
    ------
    ValueError
        If an array has another shape, or an absorber is no atom of the structure.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import Batch, structure_graph
    >>> graph = structure_graph([6, 8], np.eye(2, 3), [1])
    >>> Batch.from_data_list([graph, graph]).absorber_index.tolist()
    [1, 3]
    """
    graph = _atoms(numbers, positions, dtype)
    count = len(graph.z)
    chosen = [int(index) for index in absorbers]
    if not chosen or min(chosen) < 0 or max(chosen) >= count:
        raise ValueError(
            f"absorbers are {chosen}, expected indices from 0 to {count - 1}, one at least"
        )
    graph.absorber_index = torch.tensor(chosen)
    for name, value in (labels or {}).items():
        rows = np.shape(value)
        graph[name] = _array(name, value, (len(chosen), *rows[1:]), dtype)
    return graph


def pairs_within(positions: Tensor, batch: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Ordered pairs of different atoms of one graph that are closer than a cutoff.

    Parameters
    ----------
    positions : (n, 3)
    batch : (n,) int64
        Graph of each atom, ascending.
    cutoff : float
        In the unit of the positions.

    Returns
    -------
    receivers, senders : (P,) int64
        Receivers ascend.

    Examples
    --------
    >>> import torch
    >>> from kstep_integrators.observables.networks.graphs import pairs_within
    >>> places = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [0, 0, 0]])
    >>> receivers, senders = pairs_within(places, torch.tensor([0, 0, 0, 1]), 1.5)
    >>> receivers.tolist(), senders.tolist()
    ([0, 1], [1, 0])
    """
    sizes = torch.bincount(batch)
    starts = sizes.cumsum(0) - sizes
    # Each atom with all of its graph, in order: n_g slots for each of the n_g atoms.
    slots = sizes[batch]
    receivers = torch.arange(len(batch), device=batch.device).repeat_interleave(slots)
    first = (slots.cumsum(0) - slots)[receivers]
    place = torch.arange(len(receivers), device=batch.device) - first
    senders = starts[batch[receivers]] + place
    apart = (positions[receivers] - positions[senders]).detach().square().sum(-1)
    near = (apart < cutoff**2) & (receivers != senders)
    return receivers[near], senders[near]


def batch_of(data: Data) -> Tensor:
    """Graph of each atom (n,) int64, ascending; that of the only one is 0.

    Examples
    --------
    >>> from kstep_integrators.observables.networks.graphs import batch_of, structure_graph
    >>> batch_of(structure_graph([6, 8], [[0, 0, 0], [0, 0, 1]], [0])).tolist()
    [0, 0]
    """
    batch: Tensor | None = data.batch
    return torch.zeros_like(data.z) if batch is None else batch


def _atoms(numbers: ArrayLike, positions: ArrayLike, dtype: torch.dtype) -> Data:
    """Graph with atomic numbers and positions."""
    count = np.asarray(numbers).size
    return Data(
        z=_array("numbers", numbers, (count,), torch.int64),
        pos=_array("positions", positions, (count, 3), dtype),
    )


def _array(name: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Tensor of an array of a known shape.

    Raises
    ------
    ValueError
        If it has another.
    """
    found = np.asarray(value)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}, expected {shape}")
    return torch.as_tensor(found).to(dtype, copy=True)
