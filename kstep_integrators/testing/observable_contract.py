"""The contract that every network of an observable keeps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from kstep_integrators.observables.networks.graphs import Data

__all__ = ["assert_observable", "rotated_graph"]

PER_ATOM = ("z", "pos", "molecule", "populations", "orbital")


def rotated_graph(graph: Data, rotation: Tensor) -> Data:
    """Rotate or reflect a graph about the origin: positions, and vectors and tensors with them.

    Parameters
    ----------
    graph : torch_geometric.data.Data
    rotation : (3, 3)
        Orthogonal R: each position becomes R x.

    Examples
    --------
    >>> import torch
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> from kstep_integrators.testing import rotated_graph
    >>> quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    >>> rotated_graph(structure_graph([1], [[1, 0, 0]], [0]), quarter).pos.tolist()
    [[0.0, 1.0, 0.0]]
    """
    turned = graph.clone()
    turned.pos = graph.pos @ rotation.T
    if "orbital" in graph:
        turned.orbital = torch.cat([graph.orbital[:, :1], graph.orbital[:, 1:] @ rotation.T], -1)
    if "dipole" in graph:
        turned.dipole = graph.dipole @ rotation.T
    if "quadrupole" in graph:
        xx, xy, yy, xz, yz, zz = graph.quadrupole.unbind(-1)
        full = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).unflatten(-1, (3, 3))
        full = rotation @ full @ rotation.T
        turned.quadrupole = full[:, [0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    return turned


def assert_observable(
    network: nn.Module, graph: Data, tolerance: float = 1e-9, seed: int = 0
) -> None:
    """Check the contract that every network of an observable keeps, in double precision.

    Rotation, reflection, translation, another order of the atoms, and of a dimer exchange of the
    molecules and the other phase of both orbitals, change nothing; a graph in a batch has the
    result it has alone; gradients with respect to the positions are finite. This is asked of a copy
    of the network, as it is and with other weights, since a new network returns a constant.

    Parameters
    ----------
    network : Module
        Called on a graph, it returns a tensor with a row for each dimer or absorber.
    graph : torch_geometric.data.Data
        One graph, not a batch.
    tolerance : float
        Of the results, relative to the largest of them, or to 1.
    seed : int
        Of weights, rotations, and orders.

    Raises
    ------
    AssertionError
        What is broken, and by how much.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> from kstep_integrators.observables.networks.xanes import XANESNetwork
    >>> from kstep_integrators.testing import assert_observable
    >>> network = XANESNetwork([1, 6], {6: 285.0}, np.linspace(0, 9, 10), layers=1)
    >>> assert_observable(network, structure_graph([6, 1, 1], np.eye(3), [0]))
    """
    random = torch.Generator().manual_seed(seed)
    graph = _double(graph)
    network = copy.deepcopy(network).double().eval()
    _check(network, graph, tolerance, random)
    with torch.no_grad():
        for weights in network.parameters():
            noise = torch.randn(weights.shape, generator=random, dtype=torch.float64)
            weights.add_(0.2 * noise.to(weights.device))
    _check(network, graph, tolerance, random)


def _check(network: nn.Module, graph: Data, tolerance: float, random: torch.Generator) -> None:
    """Check the contract of one network of double precision."""
    from kstep_integrators.observables.networks.graphs import Batch

    positions = graph.pos.clone().requires_grad_()
    value = network(_with(graph, pos=positions))
    if not bool(value.isfinite().all()):
        raise AssertionError(f"the network returns {value}")
    (slope,) = torch.autograd.grad(value.square().sum(), positions, allow_unused=True)
    if slope is not None and not bool(slope.isfinite().all()):
        raise AssertionError(f"the gradient with respect to the positions is {slope}")
    value = value.detach()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=random, dtype=torch.float64))
    rotation = (rotation * torch.linalg.det(rotation)).to(graph.pos)
    shift = torch.randn(3, generator=random, dtype=torch.float64).to(graph.pos)
    order = torch.randperm(len(graph.z), generator=random).to(graph.z.device)
    others = {
        "rotation": rotated_graph(graph, rotation),
        "reflection": rotated_graph(graph, -rotation),
        "translation": _with(graph, pos=graph.pos + 3.0 * shift),
        "another order of the atoms": _permuted(graph, order),
    }
    if "molecule" in graph:
        swapped = 1 - graph.molecule
        others["exchange of the molecules"] = _with(graph, molecule=swapped)
        others["the other phase of both orbitals"] = _with(graph, orbital=-graph.orbital)
    for name, other in others.items():
        _agree(name, network(other), value, tolerance)
    turned = others["rotation"]
    together = network(Batch.from_data_list([turned, graph]))
    _agree("a batch of two", together, torch.cat([value, value]), tolerance)


def _agree(name: str, found: Tensor, value: Tensor, tolerance: float) -> None:
    """Raise if a result is not the one expected."""
    off = float((found.detach() - value).abs().max())
    if not off <= tolerance * max(1.0, float(value.abs().max())):
        raise AssertionError(f"{name} changes the result by {off:.3g}, from {value} to {found}")


def _double(graph: Data) -> Data:
    """The graph with all but whole numbers in double precision."""
    return graph.clone().apply(lambda one: one.double() if one.is_floating_point() else one)


def _with(graph: Data, **fields: Any) -> Data:
    """The graph with some fields replaced."""
    other = graph.clone()
    for name, value in fields.items():
        other[name] = value
    return other


def _permuted(graph: Data, order: Tensor) -> Data:
    """The graph with its atoms in another order; absorbers stay the same atoms."""
    fields = {name: graph[name][order] for name in PER_ATOM if name in graph}
    if "absorber_index" in graph:
        fields["absorber_index"] = order.argsort()[graph.absorber_index]
    return _with(graph, **fields)
