"""Molecules in the native kernel: arrays in, energies, forces and steps out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kstep_integrators.nn.native.interface import Array, Handle, pointer
from kstep_integrators.nn.native.weights import Sizes

__all__ = ["NativeSystem"]

FUNCTION_DISPLACEMENT = 1e-5
"""angstrom; of the central differences of the functions of a linear readout. In float64 rounding
and truncation are then both near 1e-10."""

FORCE_DISPLACEMENT = 5e-6
"""angstrom; of the atom that moves most in the central differences of forces. In float64 they are
right to some 1e-9: larger ones meet the kinks of third derivatives where pairs pass the cutoff,
smaller ones the rounding of the forces."""


class NativeSystem(Handle):
    """One set of molecules, and the memory that their forces are computed in.

    Made by :meth:`~kstep_integrators.nn.native.network.NativeNetwork.system`, whose
    parameters are described there. Threads that call it wait for each other.
    """

    _free = "kstep_system_free"

    def __init__(
        self,
        network: Handle,
        table: Sizes,
        species: ArrayLike,
        sizes: Sequence[int],
        cell: ArrayLike | None,
        pbc: Sequence[bool],
    ) -> None:
        self.network, self.lib = network, network.lib  # the weights live as long as this
        self.table = table
        first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        kinds = np.ascontiguousarray(species, dtype=np.int32)
        self.molecules, self.atoms = len(sizes), len(kinds)
        if first[-1] != self.atoms or kinds.min() < 0 or kinds.max() >= table.species:
            raise ValueError(
                f"sizes add up to {first[-1]} atoms and species are {self.atoms} indices from "
                f"{kinds.min()} to {kinds.max()}; expected equal numbers, and indices from 0 to "
                f"{table.species - 1}"
            )
        vectors = None if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
        if vectors is not None and not abs(np.linalg.det(vectors)) > 1e-6:
            raise ValueError(
                f"cell is {vectors.tolist()}, expected three vectors that span a volume: give "
                "directions that are not periodic any vector out of the plane of the others"
            )
        periodic = np.asarray(pbc, dtype=np.int32)
        if vectors is None and periodic.any():
            raise ValueError(f"pbc is {tuple(pbc)}, but there is no cell: pass cell=...")
        self.handle = self.lib.kstep_system_new(
            network.handle,
            self.molecules,
            pointer(first),
            pointer(kinds),
            pointer(vectors),
            pointer(periodic),
        )
        if not self.handle:
            raise MemoryError(f"no memory for {self.atoms} atoms")

    def forces(
        self, positions: ArrayLike, linear: Array | None = None, threads: int = 1
    ) -> tuple[Array, Array]:
        """Energies and forces.

        Parameters
        ----------
        positions : (N, 3) angstrom
        linear : (S, R) float64, optional
            Weights of the network's linear readout, eV; zero if they are not given.
        threads : int
            Molecules are shared out among so many; one molecule is computed by one.

        Returns
        -------
        energies : (B,) eV
            Without element shifts; NaN for a molecule whose positions are not finite.
        forces : (N, 3) eV/angstrom
        """
        x = self._coordinates(positions)
        energies, forces = np.empty(self.molecules), np.empty((self.atoms, 3))
        self._checked(
            self.lib.kstep_forces(
                self.handle,
                pointer(linear),
                pointer(x),
                threads,
                pointer(energies),
                pointer(forces),
            )
        )
        return energies, forces

    def flow(
        self,
        positions: Array,
        momenta: Array,
        energies: Array,
        forces: Array,
        inverse_masses: Array,
        mobile: Array,
        timestep: float,
        steps: int,
        linear: Array | None = None,
        threads: int = 1,
    ) -> None:
        """Steps of velocity Verlet, in place (Swope et al., doi:10.1063/1.442716).

        Parameters
        ----------
        positions, momenta, forces : (N, 3) float64, contiguous
            angstrom, ASE momenta, eV/angstrom; forces are those at the positions, before and after.
        energies : (B,) float64
            eV; overwritten.
        inverse_masses, mobile : (N,) float64, contiguous
            1/u; momenta are multiplied by ``mobile`` after each kick, 1 or 0.
        timestep : float
            ASE time units.
        steps : int
        linear, threads
            As for :meth:`forces`.
        """
        self._coordinates(positions)
        self._checked(
            self.lib.kstep_flow(
                self.handle,
                pointer(linear),
                pointer(inverse_masses),
                pointer(mobile),
                timestep,
                steps,
                threads,
                pointer(positions),
                pointer(momenta),
                pointer(energies),
                pointer(forces),
            )
        )

    def hessian_products(
        self, positions: ArrayLike, vectors: Array, linear: Array | None = None, threads: int = 1
    ) -> Array:
        """Hessians times vectors, by central differences of the forces.

        Parameters
        ----------
        positions : (N, 3) angstrom
        vectors : (n, N, 3) float64, angstrom
        linear, threads
            As for :meth:`forces`.

        Returns
        -------
        (n, N, 3) eV/angstrom
            Of a float64 network right to some 1e-9; of no use in float32.
        """
        x, v = self._coordinates(positions), self._coordinates(vectors, (len(vectors),))
        products = np.empty_like(v)
        self._checked(
            self.lib.kstep_hessian(
                self.handle,
                pointer(linear),
                pointer(x),
                FORCE_DISPLACEMENT,
                len(v),
                pointer(v),
                threads,
                pointer(products),
            )
        )
        return products

    def functions(self, positions: ArrayLike, slopes: bool = True) -> tuple[Array, Array | None]:
        """Functions of the linear readout, summed over the atoms of each element, one molecule.

        Parameters
        ----------
        positions : (N, 3) angstrom
        slopes : bool
            Whether derivatives are wanted.

        Returns
        -------
        sums : (S, R)
        slopes : (3 N, S, R) or None
            Derivatives by the coordinates, 1/angstrom, by central differences: as exact as a
            float64 network allows, some 1e-9, and of no use in float32.
        """
        x = self._coordinates(positions)
        shape = (self.table.species, self.table.functions)
        sums = np.empty(shape)
        derivatives = np.empty((3 * self.atoms, *shape)) if slopes else None
        self._checked(
            self.lib.kstep_functions(
                self.handle,
                pointer(x),
                FUNCTION_DISPLACEMENT,
                pointer(sums),
                pointer(derivatives),
            )
        )
        return sums, derivatives

    @property
    def pairs(self) -> int:
        """Pairs within the cutoff in the molecule that was computed last."""
        return int(self.lib.kstep_system_pairs(self.handle))

    @property
    def bytes(self) -> int:
        """Memory of lists and intermediate results."""
        return int(self.lib.kstep_system_bytes(self.handle))

    def _coordinates(self, given: ArrayLike, rows: tuple[int, ...] = ()) -> Array:
        """An array as the C side reads it: one of another shape would be read beyond its end."""
        array = np.ascontiguousarray(given, dtype=np.float64)
        if array.shape != (*rows, self.atoms, 3):
            raise ValueError(
                f"positions or vectors have the shape {array.shape}, expected "
                f"{(*rows, self.atoms, 3)}: forces are of the atoms they were prepared for"
            )
        return array

    def _checked(self, failed: int) -> None:
        if failed:
            raise MemoryError(f"the kernel found no memory, or no thread, for {self.atoms} atoms")
