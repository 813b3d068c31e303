"""Forces and Hessians of an energy network for one set of atoms: all pairs, or a skin list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.common.neighbor_lists import (
    Box,
    SkinList,
    build_skin_list,
    dense_layout,
    refresh,
)
from kstep_integrators.nn.energy.compiled_forces import CompiledForces
from kstep_integrators.nn.energy.forces import energy_and_forces, strain_derivatives
from kstep_integrators.nn.energy.hessians import TracedHessian, hessian_products
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["DenseForces", "ListForces"]


class DenseForces:
    """All pairs of each molecule, for small ones.

    Parameters
    ----------
    network : EnergyNetwork
    species : (N,) int64
        Index of each atom's element in the model's table.
    state : PhaseState
        The atoms.
    device : torch.device
    compiled : bool
        Whether forces are compiled and Hessians traced, both when they are first asked for.
    known : CompiledForces, optional
        Of these atoms, compiled for a network that differs in its weights alone.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        species: Tensor,
        state: PhaseState,
        device: torch.device,
        compiled: bool,
        known: CompiledForces | None = None,
    ) -> None:
        self.network, self.device = network, device
        self.padding, self.graph = dense_layout(species, state.batch, device)
        self.shift = network.shift_energy(self.graph).sum(-1)
        self.compiled: CompiledForces | None = None
        self.hessian: TracedHessian | None = None
        if compiled and network.linear is None:  # a record holds weights, and those may change
            self.hessian = TracedHessian(network)
        if compiled and known is not None:
            self.compiled = known.of(network)
        elif compiled:
            self.compiled = CompiledForces(network)

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, None]:
        """Energy and forces."""
        x = self.padding.pad(positions)
        if self.compiled is not None:
            energy, f = self.compiled(None, x, self.graph)
        else:
            per_atom, f = energy_and_forces(self.network, None, x, self.graph)
            energy = per_atom.to(torch.float64).sum(-1)
        return Evaluation(energy + self.shift, self.padding.flat(f)), None

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian by automatic differentiation."""
        padding, x = self.padding, self.padding.pad(positions)
        kept: list[Callable[[Tensor], Tensor]] = []

        def products(vectors: Tensor) -> Tensor:
            # A Krylov space asks for one vector after the other: keep the gradient for them.
            if self.hessian is not None and len(vectors) > 1:
                return self.hessian(x, self.graph, vectors)
            if not kept:
                kept.append(hessian_products(self.network, x, self.graph))
            return kept[0](vectors)

        def flat(vectors: Tensor) -> Tensor:
            # The axis that counts the vectors goes behind the atoms and back.
            wide = padding.pad(vectors.movedim(0, 1)).movedim(2, 0)
            return padding.flat(products(wide).movedim(0, 2)).movedim(1, 0)

        return flat


class ListForces:
    """Neighbours within a cutoff, for large molecules and in cells. Eager.

    Parameters are those of :class:`DenseForces`.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        species: Tensor,
        state: PhaseState,
        device: torch.device,
        compiled: bool,
        known: CompiledForces | None = None,
    ) -> None:
        self.network, self.device = network, device
        self.compiled = known  # none: the width of a list changes
        self.species, self.batch = species.to(device), state.batch.to(device)
        self.n_molecules, self.box = state.n_molecules, Box.of(state.to(device))

    def _list(self, positions: Tensor) -> SkinList:
        return build_skin_list(
            positions, self.species, self.batch, self.network.cutoff, box=self.box
        )

    def __call__(
        self, positions: Tensor, workspace: SkinList | None
    ) -> tuple[Evaluation, SkinList]:
        """Energy and forces; the workspace is the skin list."""
        skin = self._list(positions) if workspace is None else workspace
        skin = refresh(skin, positions)
        return self.with_list(positions, skin.graph), skin

    def with_list(self, positions: Tensor, graph: Graph) -> Evaluation:
        """Energy and forces on a list that is known."""
        energy, f = energy_and_forces(self.network, None, positions, graph)
        energy = energy.to(torch.float64) + self.network.shift_energy(graph)
        total = torch.zeros(self.n_molecules, dtype=torch.float64, device=energy.device)
        return Evaluation(total.index_add(0, self.batch, energy), f)

    def virial(self, positions: Tensor) -> Tensor:
        """Derivatives of the energy by the strain of the cell, (6,) eV, of one molecule."""
        return strain_derivatives(self.network, positions, self._list(positions).graph)

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian by automatic differentiation."""
        return hessian_products(self.network, positions, self._list(positions).graph)
