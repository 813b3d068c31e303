"""Forces, Hessians and flows of a PaiNN network for one set of atoms, by the native kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_integrators.mechanics.near_pairs import periodic_cell
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.library import NativeLibrary
from kstep_integrators.nn.native.network import NativeNetwork
from kstep_integrators.nn.native.system import NativeSystem
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["NativeForces", "PackedNetwork"]

ATOM_STEPS = 4_000
"""Steps times atoms in one call of the kernel, some tenth of a second: between two calls Python
sees Ctrl-C."""

PRODUCT = 2
"""Forces that a product with a Hessian costs."""


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
    known : NativeForces, optional
        Of these atoms in these cells, for a network that differs in the weights of its linear
        readout alone.
    """

    def __init__(
        self,
        packed: PackedNetwork,
        network: EnergyNetwork,
        species: Tensor,
        state: PhaseState,
        dtype: torch.dtype,
        known: NativeForces | None = None,
    ) -> None:
        self.packed, self.dtype = packed, dtype
        self.species, self.pbc = species.cpu().numpy(), state.pbc
        self.cells: NDArray[np.float64] | None = None
        if any(state.pbc):
            cells = state.cell.cpu().numpy()
            self.cells = np.stack([periodic_cell(cell, state.pbc) for cell in cells])
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
            network = self.packed.of(dtype)
            self.systems[dtype] = network.system(self.species, self.sizes, self.cells, self.pbc)
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
        at_once = self._at_once()
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
        """The Hessian, by derivatives of the forces along vectors, as exact as these."""
        x = positions.detach().numpy().copy()
        at_once = self._at_once(PRODUCT)

        def products(vectors: Tensor) -> Tensor:
            system, rows = self.system(self.dtype), vectors.detach().numpy()
            done = [
                system.hessian_products(x, rows[n : n + at_once], self.linear, self.threads)
                for n in range(0, len(rows), at_once)
            ]
            return torch.from_numpy(np.concatenate(done)) if done else torch.empty_like(vectors)

        return products

    def average(
        self, positions: Tensor, forces: Tensor, rate: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weighted mean of the positions along steps of velocity Verlet from rest.

        A(x_0) = sum_j w_j x_j with x_1 = x_0 + rate F(x_0) / 2 and
        x_j+1 = 2 x_j - x_j-1 + rate F(x_j), as in García-Archilla, Sanz-Serna and Skeel (1999),
        doi:10.1137/S1064827596313851.

        Parameters
        ----------
        positions : (N, 3) float64, angstrom
        forces : (N, 3) float64
            Those at the positions, eV/angstrom.
        rate : (N, 1) float64
            Squared time step over mass, angstrom^2/eV; 0 for atoms that are fixed.
        weights : (n + 1,) float64
            Of the positions x_0 to x_n; they sum to one.

        Returns
        -------
        path : (n + 1, N, 3)
            The positions x_0 to x_n, after n - 1 forces.
        mean : (N, 3)
        """
        x, rest = self._row(positions, "positions"), self._row(forces, "forces")
        pace, w = self._row(rate, "rate", 1), _weights(weights)
        path, mean = np.empty((len(w), *x.shape)), x.copy()
        path[0] = x
        at_once, system = self._at_once(), self.system(self.dtype)
        for first in range(0, len(w) - 1, at_once):
            steps = first, min(first + at_once, len(w) - 1)
            system.average(path, mean, rest, pace, w, steps, self.linear, self.threads)
        return torch.from_numpy(path), torch.from_numpy(mean)

    def average_adjoint(self, path: Tensor, rate: Tensor, weights: Tensor, force: Tensor) -> Tensor:
        """The transposed derivative of the mean of :meth:`average` times a force at the mean.

        Exact: it takes n products with Hessians along the path.

        Parameters
        ----------
        path, rate, weights
            As for and from :meth:`average`.
        force : (N, 3) float64

        Returns
        -------
        (N, 3)
            A_x^T times the force, in units of the force.
        """
        pace, w = self._row(rate, "rate", 1), _weights(weights)
        f, x = self._row(force, "force"), np.ascontiguousarray(path.detach().numpy())
        ahead = w[-1] * f
        after = np.zeros_like(f)
        at_once, system = self._at_once(PRODUCT), self.system(self.dtype)
        for last in range(len(w) - 1, 0, -at_once):
            steps = max(last - at_once, 0), last
            system.average_adjoint(x, f, ahead, after, pace, w, steps, self.linear, self.threads)
        return torch.from_numpy(ahead)

    def _at_once(self, forces: int = 1) -> int:
        """Steps in one call of the kernel, if each costs so many forces."""
        return max(1, ATOM_STEPS // (forces * len(self.species)))

    def _row(self, tensor: Tensor, name: str, columns: int = 3) -> NDArray[np.float64]:
        """Numbers of all atoms as the kernel reads them: fewer would be read beyond their end."""
        if tensor.shape != (len(self.species), columns):
            raise ValueError(
                f"the shape of {name} is {tuple(tensor.shape)}, expected "
                f"{(len(self.species), columns)}: one row for each atom that was bound"
            )
        return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the kernel's own memory: copies prepare that anew."""
        return {**vars(self), "systems": {}}


def _weights(weights: Tensor) -> NDArray[np.float64]:
    """Weights of positions, which must leave in place what does not move."""
    w = np.ascontiguousarray(weights.detach().numpy(), dtype=np.float64)
    if w.ndim != 1 or len(w) < 2 or not abs(w.sum() - 1.0) < 1e-9:
        raise ValueError(
            f"weights have the shape {w.shape} and sum to {w.sum():.12g}, expected 1: one weight "
            "for the start and for each step, divided by their sum"
        )
    return w
