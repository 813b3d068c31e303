"""Weights of a PaiNN network in the native kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike

from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.interface import Handle, declare, pointer
from kstep_integrators.nn.native.library import NativeLibrary
from kstep_integrators.nn.native.system import NativeSystem
from kstep_integrators.nn.native.weights import numbers_of, sizes_of

__all__ = ["NativeNetwork"]


class NativeNetwork(Handle):
    """Weights of a network, packed for the kernel.

    Parameters
    ----------
    network : EnergyNetwork
        Of the backbone ``painn``. Weights are taken as they are now.
    dtype : torch.dtype
        float32 or float64 arithmetic of the features; geometry, radial functions and sums are in
        float64 in any case.
    library : NativeLibrary

    Raises
    ------
    ValueError
        If the backbone is another.
    MemoryError
        If there is no room for the weights.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from kstep_integrators.nn.energy.network import EnergyNetwork
    >>> from kstep_integrators.nn.native.library import native_library
    >>> network = EnergyNetwork([1, 8], channels=8, layers=1)
    >>> if (library := native_library()) is not None:
    ...     native = NativeNetwork(network, torch.float64, library)
    ...     water = native.system([1, 0, 0], sizes=[3])
    ...     energy, forces = water.forces(np.eye(3))
    ...     assert np.abs(forces.sum(0)).max() < 1e-12
    """

    _free = "kstep_network_free"

    def __init__(self, network: EnergyNetwork, dtype: torch.dtype, library: NativeLibrary) -> None:
        self.lib = library.lib
        declare(self.lib)
        self.sizes = sizes_of(network, dtype)
        numbers = numbers_of(network)
        self.handle = self.lib.kstep_network_new(ctypes.byref(self.sizes), pointer(numbers))
        if not self.handle:
            raise MemoryError("no memory for the weights of the network")

    def system(
        self,
        species: ArrayLike,
        sizes: Sequence[int],
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> NativeSystem:
        """Prepare for one set of molecules.

        Parameters
        ----------
        species : (N,) int
            Index of each atom's element in the network's table.
        sizes : sequence of int
            Atoms of each molecule, in order.
        cell : (3, 3) or (B, 3, 3) float, optional
            Cell vectors as rows, angstrom, of all molecules or of each; none of them in the plane
            of the others: where a direction is not periodic, any such vector.
        pbc : three of bool
            Directions that are periodic.
        """
        return NativeSystem(self, self.sizes, species, sizes, cell, pbc)

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return int(self.lib.kstep_network_bytes(self.handle))
