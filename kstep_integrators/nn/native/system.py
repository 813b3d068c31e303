"""Molecules in the native kernel: arrays in, energies, forces and steps out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kstep_integrators.nn.native.interface import Array, Handle, pointer
from kstep_integrators.nn.native.weights import Sizes

__all__ = ["NativeSystem"]


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
        vectors = None
        if cell is not None:
            shape = (self.molecules, 3, 3)
            vectors = np.ascontiguousarray(np.broadcast_to(np.asarray(cell, np.float64), shape))
            if not (np.abs(np.linalg.det(vectors)) > 1e-6).all():
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
        """Hessians times vectors, by derivatives of the forces along these.

        Parameters
        ----------
        positions : (N, 3) angstrom
        vectors : (n, N, 3) float64, angstrom
        linear, threads
            As for :meth:`forces`.

        Returns
        -------
        (n, N, 3) eV/angstrom
            As exact as the forces.
        """
        x, v = self._coordinates(positions), self._coordinates(vectors, (len(vectors),))
        products = np.empty_like(v)
        self._checked(
            self.lib.kstep_hessian(
                self.handle,
                pointer(linear),
                pointer(x),
                len(v),
                pointer(v),
                threads,
                pointer(products),
            )
        )
        return products

    def average(
        self,
        path: Array,
        mean: Array,
        rest: Array,
        rate: Array,
        weights: Array,
        steps: tuple[int, int],
        linear: Array | None = None,
        threads: int = 1,
    ) -> None:
        """Steps of velocity Verlet from rest, and the weighted mean of the positions, in place.

        x_1 = x_0 + rate F(x_0) / 2, x_j+1 = 2 x_j - x_j-1 + rate F(x_j) and A = sum_j w_j x_j, as
        in García-Archilla, Sanz-Serna and Skeel (1999), doi:10.1137/S1064827596313851.

        Parameters
        ----------
        path : (n + 1, N, 3) float64, contiguous
            angstrom; positions as far as the first of the steps are read, those after it written.
        mean : (N, 3) float64, contiguous
            angstrom; begun at the first position of all, then added to.
        rest : (N, 3) float64, contiguous
            Forces at the first position of all, eV/angstrom.
        rate : (N,) float64, contiguous
            Squared time step over mass, 0 for atoms that are fixed.
        weights : (n + 1,) float64, contiguous
            Of the positions; they sum to one.
        steps : two of int
            Positions to start from and to stop at, from 0 to n.
        linear, threads
            As for :meth:`forces`.
        """
        self._coordinates(path, (len(weights),))
        self._checked(
            self.lib.kstep_average(
                self.handle,
                pointer(linear),
                pointer(rest),
                pointer(rate),
                pointer(weights),
                *steps,
                threads,
                pointer(path),
                pointer(mean),
            )
        )

    def average_adjoint(
        self,
        path: Array,
        vector: Array,
        ahead: Array,
        after: Array,
        rate: Array,
        weights: Array,
        steps: tuple[int, int],
        linear: Array | None = None,
        threads: int = 1,
    ) -> None:
        """The steps of :meth:`average` backward, for A_x^T times a vector, in place.

        Parameters
        ----------
        path, rate, weights, linear, threads
            As :meth:`average` left or had them.
        vector : (N, 3) float64, contiguous
        ahead, after : (N, 3) float64, contiguous
            Derivatives of the product of mean and vector by the last of the positions that have
            been gone back to, and by the one after it, when these alone move and what follows from
            them; the product at the end is ``ahead``.
        steps : two of int
            Positions to stop at and to start from, from 0 to n.
        """
        self._coordinates(path, (len(weights),))
        self._checked(
            self.lib.kstep_average_adjoint(
                self.handle,
                pointer(linear),
                pointer(rate),
                pointer(weights),
                pointer(path),
                pointer(vector),
                *steps,
                threads,
                pointer(ahead),
                pointer(after),
            )
        )

    def functions(
        self, positions: ArrayLike, coordinates: ArrayLike = (), threads: int = 1
    ) -> tuple[Array, Array]:
        """Functions of the linear readout, summed over the atoms of each element, one molecule.

        Parameters
        ----------
        positions : (N, 3) angstrom
        coordinates : (n,) int
            Of the 3 N, by which derivatives are wanted.
        threads : int
            Coordinates are shared out among so many.

        Returns
        -------
        sums : (S, R)
        slopes : (n, S, R)
            Derivatives by these coordinates, 1/angstrom, as exact as the sums.
        """
        x = self._coordinates(positions)
        shape = (self.table.species, self.table.functions)
        chosen = np.ascontiguousarray(coordinates, dtype=np.int32)
        if chosen.ndim != 1 or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < x.size):
            raise ValueError(
                f"coordinates are {chosen.tolist()}, expected some of 0 to {x.size - 1}"
            )
        sums, derivatives = np.empty(shape), np.empty((len(chosen), *shape))
        self._checked(
            self.lib.kstep_functions(
                self.handle,
                pointer(x),
                len(chosen),
                pointer(chosen),
                threads,
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
