"""Forces, Hessians and flows of a PaiNN network for one set of atoms, by the native kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.library import NativeLibrary
from kstep_integrators.nn.native.network import NativeNetwork
from kstep_integrators.nn.native.system import NativeSystem
from kstep_integrators.state import BoundPotential, Evaluation, HessianProducts, PhaseState

__all__ = ["NativeForces", "PackedNetwork"]

ATOM_STEPS = 4_000
"""Steps times atoms in one call of the kernel, some tenth of a second: between two calls Python
sees Ctrl-C."""


class PackedNetwork:
    """Weights of a network as the kernel takes them, packed when they are first asked for.

    Networks that differ in the weights of their linear readouts alone share one.

    Parameters
    ----------
    network : EnergyNetwork
        Of the backbone ``painn``.
    library : NativeLibrary
    """

    def __init__(self, network: EnergyNetwork, library: NativeLibrary) -> None:
        self.network, self.library = network, library
        self._packed: dict[torch.dtype, NativeNetwork] = {}

    def of(self, dtype: torch.dtype) -> NativeNetwork:
        """The weights for arithmetic in float32 or float64."""
        if dtype not in self._packed:
            self._packed[dtype] = NativeNetwork(self.network, dtype, self.library)
        return self._packed[dtype]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the kernel's own memory: copies pack anew."""
        return {**vars(self), "_packed": {}}


class NativeForces:
    """Forces of the molecules of a state, each computed by itself.

    They are functions of the positions to the last bit, whatever was computed before and by however
    many threads. Molecules are shared out among as many as PyTorch uses.

    Parameters
    ----------
    packed : PackedNetwork
    network : EnergyNetwork
        It gives the weights of a linear readout, and the energies of the elements.
    species : (N,) int64
        Index of each atom's element in the model's table.
    state : PhaseState
        The atoms.
    dtype : torch.dtype
        float32 or float64.
    eager : BoundPotential
        The same forces by PyTorch.
    known : NativeForces, optional
        Of these atoms, for a network that differs in the weights of its linear readout alone.
    """

    def __init__(
        self,
        packed: PackedNetwork,
        network: EnergyNetwork,
        species: Tensor,
        state: PhaseState,
        dtype: torch.dtype,
        eager: BoundPotential,
        known: NativeForces | None = None,
    ) -> None:
        self.packed, self.dtype, self.eager = packed, dtype, eager
        self.species = species.cpu().numpy()
        self.sizes = torch.bincount(state.batch).tolist()
        self.linear: NDArray[np.float64] | None = None
        if network.linear is not None:
            weights = network.linear.weight.detach().to("cpu", torch.float64)
            self.linear = np.ascontiguousarray(weights.numpy())
        shifts = network.shifts[species.to(network.shifts.device)].cpu()
        energies = torch.zeros(len(self.sizes), dtype=torch.float64)
        self.shift = energies.index_add(0, state.batch.cpu(), shifts)
        self.systems: dict[torch.dtype, NativeSystem] = {} if known is None else known.systems

    @property
    def threads(self) -> int:
        """Threads that molecules are shared out among: as many as PyTorch uses now."""
        return torch.get_num_threads() if len(self.sizes) > 1 else 1

    def system(self, dtype: torch.dtype) -> NativeSystem:
        """The atoms as the kernel has them, for arithmetic in one precision."""
        if dtype not in self.systems:
            self.systems[dtype] = self.packed.of(dtype).system(self.species, self.sizes)
        return self.systems[dtype]

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, None]:
        """Energy and forces."""
        x = positions.detach().numpy()
        energies, forces = self.system(self.dtype).forces(x, self.linear, self.threads)
        return Evaluation(torch.from_numpy(energies) + self.shift, torch.from_numpy(forces)), None

    def flow(
        self, state: PhaseState, start: Evaluation, timestep: float, k: int
    ) -> tuple[PhaseState, Evaluation]:
        """k steps of velocity Verlet, without a word of Python in between."""
        positions, momenta, forces = (
            np.array(tensor.numpy(), dtype=np.float64, order="C")
            for tensor in (state.positions, state.momenta, start.require_forces())
        )
        energies = np.empty(len(self.sizes))
        inverse_masses = 1.0 / state.masses.numpy().ravel()
        mobile = np.ones_like(inverse_masses)
        if state.mobile is not None:
            mobile = np.ascontiguousarray(state.mobile.numpy().ravel(), dtype=np.float64)
        system = self.system(self.dtype)
        at_once = max(1, ATOM_STEPS // len(positions))
        for done in range(0, k, at_once):
            system.flow(
                positions,
                momenta,
                energies,
                forces,
                inverse_masses,
                mobile,
                timestep,
                min(at_once, k - done),
                self.linear,
                self.threads,
            )
        new = state.replace(
            positions=torch.from_numpy(positions),
            momenta=torch.from_numpy(momenta),
            time=state.time + k * timestep,
        )
        return new, Evaluation(torch.from_numpy(energies) + self.shift, torch.from_numpy(forces))

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian: by differences of float64 forces, in float64 by automatic differentiation.

        Differences are right to 1e-9, which is more than a float32 network asks for, but too little
        for symmetries that are kept to 1e-9 in float64.
        """
        if self.dtype == torch.float64:
            return self.eager.linearized(positions)
        x = positions.detach().numpy().copy()

        def products(vectors: Tensor) -> Tensor:
            rows = self.system(torch.float64).hessian_products(
                x, vectors.detach().numpy(), self.linear, self.threads
            )
            return torch.from_numpy(rows)

        return products

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the kernel's own memory: copies prepare that anew."""
        return {**vars(self), "systems": {}}
