"""Network of a direct jump: positions, velocities and forces to increments of a stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kstep_integrators import units
from kstep_integrators.nn.common.e3nn_extra import needs_e3nn
from kstep_integrators.nn.common.edges import Edges
from kstep_integrators.nn.common.graph import Graph, displacements, species_table
from kstep_integrators.nn.common.radial import BesselBasis
from kstep_integrators.nn.increments.backbone import PhaseBackbone
from kstep_integrators.nn.increments.egnn import EGNNLayer
from kstep_integrators.nn.increments.heads import VectorInputs, VectorReadout
from kstep_integrators.nn.increments.painn import PaiNNLayer
from kstep_integrators.nn.increments.transformer import TransformerLayer

__all__ = ["BASELINES", "INCREMENT_BACKBONES", "IncrementNetwork", "Increments"]


def _tensor_product(channels: int, layers: int, radial: int, heads: int) -> nn.Module:
    """Make a backbone in which heads have no meaning."""
    with needs_e3nn():
        from kstep_integrators.nn.increments.tensor_product import PhaseTensorProduct
    return PhaseTensorProduct(channels, layers, radial)


INCREMENT_BACKBONES: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "egnn": partial(PhaseBackbone, EGNNLayer),
    "painn": partial(PhaseBackbone, PaiNNLayer),
    "tensor_product": _tensor_product,
    "transformer": partial(PhaseBackbone, TransformerLayer),
}
"""Makers of backbones by the name used in recipes and model files."""

BASELINES = ("plain", "verlet")
"""Baselines that increments can be added to."""

SPEED = (units.KB * 300.0 / 12.0) ** 0.5
"""Thermal velocity of a carbon atom at 300 K, by which velocities are divided."""


@dataclass(frozen=True)
class Increments:
    """Increments over a stride, and the forces expected of the physics at the landing.

    Attributes
    ----------
    positions : (B, N, 3) angstrom
    velocities : (B, N, 3) angstrom / ASE time
    forces : (B, N, 3) eV/angstrom or None
        Forces at the landing; None without a force head.
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor | None

    def first(self, count: int) -> Increments:
        """Increments of the first molecules of a batch."""
        forces = None if self.forces is None else self.forces[:count]
        return Increments(self.positions[:count], self.velocities[:count], forces)


class IncrementNetwork(nn.Module):
    """Increments of positions and velocities over one stride, equivariant, without net momentum.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers the network knows, ascending.
    strides : sequence of int
        Numbers of base steps it can jump.
    timestep_fs : float
        Base step, fs.
    baseline : {"verlet", "plain"}
        Propagation that the increments are added to.
    scales : nested sequence of float, [stride][element] -> (dx, dv)
        Standard deviations of the increments, angstrom and angstrom / ASE time: outputs are
        multiplied by them.
    masses : sequence of float
        Mass of each element, u.
    backbone : str
        A key of :data:`INCREMENT_BACKBONES`.
    channels, layers, radial, heads : int
        Width, message-passing layers, size of the radial basis, heads.
    cutoff : float
        angstrom.
    bound : float
        Largest increment of an atom in units of its scale: its length x is taken to
        bound * tanh(x / bound).
    force_head : bool
        Whether forces at the landing are predicted.

    Notes
    -----
    Tables are kept in float64: call ``float()`` or ``double()`` before use.

    Raises
    ------
    ImportError
        If the backbone is ``"tensor_product"`` and e3nn is not installed.
    ValueError
        If the backbone or the baseline is unknown, or a table has another size.
    """

    species_of: Tensor
    scales: Tensor
    masses: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        strides: Sequence[int],
        timestep_fs: float,
        baseline: str,
        scales: Sequence[Sequence[Sequence[float]]],
        masses: Sequence[float],
        backbone: str = "egnn",
        channels: int = 64,
        layers: int = 3,
        radial: int = 16,
        cutoff: float = 5.0,
        heads: int = 4,
        bound: float = 5.0,
        force_head: bool = False,
    ) -> None:
        super().__init__()
        if backbone not in INCREMENT_BACKBONES:
            raise ValueError(
                f"unknown backbone {backbone!r} of increments; choose one of "
                f"{sorted(INCREMENT_BACKBONES)}"
            )
        if baseline not in BASELINES:
            raise ValueError(f"unknown baseline {baseline!r}; choose one of {sorted(BASELINES)}")
        if not strides or any(k < 1 for k in strides) or len(set(strides)) != len(strides):
            raise ValueError(f"strides are {list(strides)}; expected different positive integers")
        table = torch.tensor(scales, dtype=torch.float64)
        expected = (len(strides), len(elements), 2)
        if tuple(table.shape) != expected or not bool((table > 0).all()):
            raise ValueError(
                f"scales have shape {tuple(table.shape)}; expected {expected}, all positive"
            )
        if len(masses) != len(elements) or any(m <= 0 for m in masses):
            raise ValueError(
                f"masses are {list(masses)} for {len(elements)} elements; expected one positive "
                "mass each"
            )
        if heads < 1 or channels % (2 * heads):
            raise ValueError(
                f"{channels} channels and {heads} heads given; expected channels a multiple of "
                "twice the heads"
            )
        if bound <= 0 or timestep_fs <= 0:
            raise ValueError(
                f"bound is {bound} and timestep_fs {timestep_fs}; expected positive numbers"
            )
        self.config: dict[str, Any] = {
            "elements": [int(z) for z in elements],
            "strides": [int(k) for k in strides],
            "timestep_fs": float(timestep_fs),
            "baseline": baseline,
            "scales": table.tolist(),
            "masses": [float(m) for m in masses],
            "backbone": backbone,
            "channels": channels,
            "layers": layers,
            "radial": radial,
            "cutoff": float(cutoff),
            "heads": heads,
            "bound": float(bound),
            "force_head": force_head,
        }
        self.cutoff, self.bound = float(cutoff), float(bound)
        self.basis = BesselBasis(radial, cutoff)
        self.element = nn.Embedding(len(elements), channels)
        self.stride = nn.Embedding(len(strides), channels)
        self.inputs = VectorInputs(channels)
        self.backbone = INCREMENT_BACKBONES[backbone](channels, layers, radial, heads)
        self.readout = VectorReadout(channels, 3 if force_head else 2)
        self.force_head = force_head
        self.register_buffer("scales", table, persistent=False)
        self.register_buffer(
            "masses", torch.tensor(list(masses), dtype=torch.float64), persistent=False
        )
        self.register_buffer("species_of", species_table(elements), persistent=False)

    def forward(
        self, positions: Tensor, velocities: Tensor, forces: Tensor, stride: Tensor, graph: Graph
    ) -> Increments:
        """Increments for molecules (B, N, 3), each over a stride of its own.

        Parameters
        ----------
        positions : (B, N, 3) angstrom
            Differences are taken in their precision.
        velocities : (B, N, 3) angstrom / ASE time
            Without net momentum.
        forces : (B, N, 3) eV/angstrom
            At the start.
        stride : (B,) int64
            Index into the strides.
        graph : Graph
            All pairs of each molecule.

        Returns
        -------
        Increments
            Zero for padding atoms.

        Raises
        ------
        ValueError
            If the graph is a neighbour list.
        """
        if graph.index is not None:
            raise ValueError(
                "increments are computed for all pairs of a molecule, and a neighbour list was "
                "given; expected a dense graph "
                "(see kstep_integrators.nn.common.neighbor_lists.dense_graph)"
            )
        dtype = self.element.weight.dtype
        real = graph.atom_mask.unsqueeze(-1).to(dtype)
        mass = self.masses.to(dtype)[graph.species].unsqueeze(-1) * real
        v, f = velocities.to(dtype) * real, forces.to(dtype) * real
        vectors, distances = (part.to(dtype) for part in displacements(positions, graph))
        edges = Edges(vectors, distances, graph.index, self.basis)

        s = self.element(graph.species) + self.stride(stride).unsqueeze(1)
        given = self._given(v, f, mass)
        features, moved = self.backbone(s, self.inputs(s, given), edges)
        raw = self.readout(s, features, moved, given)

        scale = self.scales.to(dtype)[stride.unsqueeze(-1), graph.species].unsqueeze(-1)
        dx = _momentum_free(scale[:, :, 0] * self.bounded(raw[..., 0]), mass) * real
        dv = _momentum_free(scale[:, :, 1] * self.bounded(raw[..., 1]), mass) * real
        if not self.force_head:
            return Increments(dx, dv, None)
        # An isolated molecule feels no net force.
        change = (raw[..., 2] - _mean(raw[..., 2], real)) * real
        return Increments(dx, dv, f + change)

    @staticmethod
    def _given(v: Tensor, f: Tensor, mass: Tensor) -> Tensor:
        """Vectors that each atom brings along, of order one: (B, N, 3, 4).

        Velocities and accelerations, whose differences between atoms matter, and both divided by
        their thermal size for each element. Forces of molecules at 300 K are of the order of
        1 eV/angstrom; a quarter of the acceleration of carbon is of order one for hydrogen too.
        """
        root = (mass.clamp(min=1.0) / 12.0).sqrt()
        v = v / SPEED
        return torch.stack([v, v * root, 0.25 * f / root.square(), f], dim=-1)

    def bounded(self, raw: Tensor) -> Tensor:
        """Vectors (..., 3) shortened to lengths below the bound."""
        # Of the length and not of each component, which would single out the axes.
        length = (raw.square().sum(-1, keepdim=True) + 1e-12).sqrt() / self.bound
        return raw * (torch.tanh(length) / length)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over atoms, (B, 1, 3)."""
    return (values * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)


def _momentum_free(values: Tensor, mass: Tensor) -> Tensor:
    return values - _mean(values, mass)
