"""The X-ray absorption spectrum of a structure at an edge, from a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators.observables.observable import Array, Observable

__all__ = ["SpectrumObservable"]


class SpectrumObservable(Observable):
    """X-ray absorption spectrum per absorbing atom, oscillator strength per eV.

    The mean over the absorbing atoms of a structure; :meth:`per_absorber` has each of them. Their
    energies are in :attr:`energies`.

    Examples
    --------
    >>> from kstep_integrators import Observable
    >>> observable = Observable.load("xanes.safetensors")  # doctest: +SKIP
    >>> observable(trajectory).shape, observable.energies.shape  # doctest: +SKIP
    ((100, 256), (256,))
    """

    kind: ClassVar[str] = "spectrum"
    unit: ClassVar[str] = "1/eV"

    @property
    def energies(self) -> Array:
        """Photon energies of the spectra, (E,), eV."""
        return np.asarray(self.header.grid, dtype=np.float64)

    def absorbers(self, atoms: Atoms) -> list[int]:
        """Indices of the atoms whose edge it is.

        Parameters
        ----------
        atoms : ase.Atoms

        Raises
        ------
        ValueError
            If there is none.
        """
        edges = self.header.absorbers
        found = [int(i) for i in np.flatnonzero(np.isin(atoms.numbers, edges))]
        if not found:
            names = ", ".join(chemical_symbols[z] for z in edges)
            raise ValueError(
                f"{atoms.get_chemical_formula()} has no atom of {names}, whose edge observable "
                f"{self.header.name!r} has learned"
            )
        return found

    def per_absorber(self, atoms: Atoms) -> Array:
        """Spectra of each absorbing atom of one structure.

        Parameters
        ----------
        atoms : ase.Atoms

        Returns
        -------
        (A, E) array
            1/eV, in the order of :meth:`absorbers`.

        Raises
        ------
        TypeError, ValueError
            As for a call.
        """
        self.check(atoms)
        return self._spectra([atoms])[0]

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure that the observable was not made for, or without an absorbing atom."""
        super().check(atoms)
        self.absorbers(atoms)

    def _predicted(self, batch: Sequence[Atoms], reference: Atoms) -> dict[str, Array]:
        del reference  # spectra have no sign
        means = [spectra.mean(axis=0) for spectra in self._spectra(batch)]
        return {
            "spectrum": np.array(means),
            "energies": np.tile(self.energies, (len(batch), 1)),
        }

    def _spectra(self, batch: Sequence[Atoms]) -> list[Array]:
        from kstep_integrators.observables.networks.graphs import Batch, structure_graph

        chosen = [self.absorbers(atoms) for atoms in batch]
        graphs = [
            structure_graph(atoms.numbers, atoms.positions, indices)
            for atoms, indices in zip(batch, chosen, strict=True)
        ]
        with torch.no_grad():
            found = self.network(Batch.from_data_list(graphs).to(self._device()))
        ends = np.cumsum([len(indices) for indices in chosen])[:-1]
        return [np.asarray(part) for part in np.split(found.cpu().numpy().astype(np.float64), ends)]
