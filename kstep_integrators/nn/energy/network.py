"""Invariant-energy network: backbone, readouts, element shifts, and repulsion."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from kstep_integrators.nn.common.e3nn_extra import needs_e3nn
from kstep_integrators.nn.common.graph import Graph, displacements, pair_values, species_table
from kstep_integrators.nn.common.radial import frozen_below
from kstep_integrators.nn.energy.backbone import Backbone, MovingBackbone
from kstep_integrators.nn.energy.egnn import EGNNLayer
from kstep_integrators.nn.energy.heads import AtomicEnergy, Repulsion
from kstep_integrators.nn.energy.linear_readout import LinearReadout
from kstep_integrators.nn.energy.painn import PaiNN
from kstep_integrators.nn.energy.transformer import TransformerLayer

__all__ = ["BACKBONES", "EnergyNetwork"]


def _tensor_product(
    species: int, channels: int, layers: int, radial: int, cutoff: float
) -> Backbone:
    with needs_e3nn():
        from kstep_integrators.nn.energy.tensor_product import TensorProduct
    return TensorProduct(species, channels, layers, radial, cutoff)


BACKBONES: dict[str, Callable[[int, int, int, int, float], Backbone]] = {
    "egnn": partial(MovingBackbone, EGNNLayer),
    "painn": PaiNN,
    "tensor_product": _tensor_product,
    "transformer": partial(MovingBackbone, TransformerLayer),
}
"""Makers of backbones by the name used in recipes and model files."""


class EnergyNetwork(nn.Module):
    """Potential energy of molecules, invariant under rotation, reflection and permutation.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers the network knows, ascending.
    backbone : str
        A key of :data:`BACKBONES`.
    shifts : sequence of float
        Energy of each element in eV, added per atom in float64.
    scale : float
        eV; multiplies the readout, so that the network's own outputs are of order one.
    channels, layers, radial, cutoff
        Passed to the backbone.
    nearest : (S, S) nested sequence of float, optional
        Closest approach of each pair of elements in the training data, angstrom. Below it the
        backbone sees a constant distance and the repulsion alone acts along the pair, so that
        what the network would make of distances it has never seen does not matter. Half
        the covalent distances by default.
    stretch : (S, S) nested sequence of float, optional
        Factors of the distances between elements, for a backbone that sees them as it has learned
        others: sums of the covalent radii of those over these. 1 by default.
    readout : bool
        False for a network without the readout of its last layer.
    repulsion : bool
        False for one without nuclear repulsion, as the correction of a method that has it.
    linear : int or None
        Functions of a further readout that is linear in its weights, which a run may learn
        (:class:`~kstep_integrators.nn.energy.linear_readout.LinearReadout`); None for none.

    Raises
    ------
    ImportError
        If the backbone is ``"tensor_product"`` and e3nn is not installed.
    ValueError
        If the backbone is unknown or ``shifts`` does not match ``elements``.
    """

    species_of: Tensor
    shifts: Tensor
    nearest: Tensor
    stretch: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        backbone: str = "painn",
        shifts: Sequence[float] | None = None,
        scale: float = 1.0,
        channels: int = 64,
        layers: int = 2,
        radial: int = 16,
        cutoff: float = 5.0,
        nearest: Sequence[Sequence[float]] | None = None,
        stretch: Sequence[Sequence[float]] | None = None,
        readout: bool = True,
        repulsion: bool = True,
        linear: int | None = None,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"unknown backbone {backbone!r}; choose one of {sorted(BACKBONES)}")
        shifts = [0.0] * len(elements) if shifts is None else list(shifts)
        if len(shifts) != len(elements):
            raise ValueError(
                f"{len(shifts)} shifts given for {len(elements)} elements; give one each"
            )
        radii = torch.tensor([float(covalent_radii[z]) for z in elements], dtype=torch.float64)
        bonds = radii.unsqueeze(0) + radii.unsqueeze(1)
        # Half a bond length is closer than any vibration brings two atoms.
        near = 0.5 * bonds if nearest is None else torch.tensor(nearest, dtype=torch.float64)
        if near.shape != bonds.shape or not bool((near > 0).all()):
            raise ValueError(
                f"nearest has shape {tuple(near.shape)}; expected {tuple(bonds.shape)}, positive"
            )
        self.config: dict[str, Any] = {
            "elements": [int(z) for z in elements],
            "backbone": backbone,
            "shifts": [float(e) for e in shifts],
            "scale": float(scale),
            "channels": channels,
            "layers": layers,
            "radial": radial,
            "cutoff": float(cutoff),
            "nearest": near.tolist(),
        }
        # Model files of networks without a choice here are older than the choice.
        choices: dict[str, tuple[Any, Any]] = {
            "stretch": (stretch, None),
            "readout": (readout, True),
            "repulsion": (repulsion, True),
            "linear": (linear, None),
        }
        self.config |= {name: one for name, (one, usual) in choices.items() if one != usual}
        factors = torch.ones_like(bonds)
        if stretch is not None:
            factors = torch.tensor(stretch, dtype=torch.float64)
        if factors.shape != bonds.shape or not bool((factors > 0).all()):
            raise ValueError(
                f"stretch has shape {tuple(factors.shape)}; expected {tuple(bonds.shape)}, positive"
            )
        # As far as two atoms are seen by the backbone, whatever it takes their distance for.
        self.cutoff = float(cutoff) / min(1.0, float(factors.min()))
        self.scale = float(scale)
        self.backbone = BACKBONES[backbone](len(elements), channels, layers, radial, cutoff)
        self.readout = AtomicEnergy(channels) if readout else None
        self.repulsion = Repulsion(elements, torch.maximum(near, bonds)) if repulsion else None
        self.linear = None
        if linear is not None:
            self.linear = LinearReadout(len(elements), self.backbone.invariants, linear)
        self.register_buffer("nearest", near, persistent=False)
        self.stretched = stretch is not None
        self.register_buffer("stretch", factors, persistent=False)
        self.register_buffer("shifts", torch.tensor(shifts, dtype=torch.float64), persistent=False)
        self.register_buffer("species_of", species_table(elements), persistent=False)

    def interaction_energy(self, positions: Tensor, graph: Graph, fixed: bool = False) -> Tensor:
        """Energy per atom without element shifts, (..., N) eV, in the network's precision.

        Parameters
        ----------
        positions : (..., N, 3) angstrom
            Differences are taken in their precision, so float64 positions keep translation
            invariance even far from the origin.
        graph : Graph
        fixed : bool
            Whether the result is wanted for a Hessian and not for gradients of the weights: the
            backbone then takes the way that is cheapest to differentiate twice, if it has one.
        """
        features, distances = self.invariants(positions, graph, fixed)
        energy = torch.zeros_like(features[-1][..., 0])
        if self.readout is not None:
            energy = self.scale * self.readout(features[-1])
        if self.repulsion is not None:
            energy = energy + self.repulsion(distances, graph)
        if self.linear is not None:
            energy = energy + self.linear(features, graph.species)
        return torch.where(graph.atom_mask, energy, torch.zeros_like(energy))

    def invariants(
        self, positions: Tensor, graph: Graph, fixed: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """Invariants of the atoms, (..., N, F) each, and neighbour distances, (..., N, K).

        Parameters are those of :meth:`interaction_energy`.
        """
        vectors, distances = displacements(positions, graph)
        dtype = self.backbone.embedding.weight.dtype
        vectors, distances = vectors.to(dtype), distances.to(dtype)
        seen = frozen_below(distances, pair_values(self.nearest, graph))
        if self.stretched:
            seen = seen * pair_values(self.stretch, graph)
        along = vectors * (seen / distances).unsqueeze(-1)
        lean = self.lean_backbone(graph) if fixed else None
        features = (self.backbone if lean is None else lean.fixed)(along, seen, graph)
        return features, distances

    def with_weights(self, weights: Tensor) -> EnergyNetwork:
        """The same network with other weights of its linear readout, (S, D) eV; it shares the rest.

        Raises
        ------
        ValueError
            If it has no linear readout.
        """
        if self.linear is None:
            raise ValueError("the network has no linear readout: make it with linear=...")
        old = self.linear.weight
        shared = {id(part): part for name, part in self.named_children() if name != "linear"}
        other = copy.deepcopy(self, shared)
        if other.linear is not None:
            other.linear.weight = nn.Parameter(weights.to(old), requires_grad=old.requires_grad)
        return other

    def lean_backbone(self, graph: Graph) -> PaiNN | None:
        """Backbone with a cheaper way of its own to be differentiated twice, or None."""
        if isinstance(self.backbone, PaiNN) and graph.index is None:
            return self.backbone
        return None

    def shift_energy(self, graph: Graph) -> Tensor:
        """Element shifts per atom, (..., N) eV, float64."""
        return torch.where(graph.atom_mask, self.shifts[graph.species], 0.0)
