"""The X-ray absorption spectrum of a structure at an edge, from a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators.observables.observable import Array, Observable

if TYPE_CHECKING:
    from kstep_integrators.observables.observable_file import ObservableHeader

__all__ = ["SpectrumObservable"]


class SpectrumObservable(Observable):
    """X-ray absorption spectrum per absorbing atom, oscillator strength per eV.

    The mean over the absorbing atoms of a structure; :meth:`per_absorber` has each of them.

    Parameters
    ----------
    network, header, digest
        As of :class:`~kstep_integrators.observables.observable.Observable`.
    element : str, optional
        Whose edge is asked for; the only one that the observable has, if it has one.

    Attributes
    ----------
    element : str
    energies : (E,) array
        Photon energies of the spectra, eV.

    Raises
    ------
    ValueError
        If there are several edges and no element is given, or one that has no edge here.

    Examples
    --------
    >>> from kstep_integrators import Observable
    >>> observable = Observable.load("xanes.safetensors")  # doctest: +SKIP
    >>> observable(trajectory).shape, observable.energies.shape  # doctest: +SKIP
    ((100, 256), (256,))
    """

    kind: ClassVar[str] = "spectrum"
    unit: ClassVar[str] = "1/eV"

    def __init__(
        self,
        network: torch.nn.Module,
        header: ObservableHeader,
        digest: str,
        element: str | None = None,
    ) -> None:
        super().__init__(network, header, digest)
        edges = {chemical_symbols[int(z)]: e for z, e in header.network["edges"].items()}
        if element is None and len(edges) > 1:
            raise ValueError(
                f"observable {header.name!r} has the edges of {', '.join(edges)}; say whose is "
                "asked for, such as element='C'"
            )
        chosen = next(iter(edges)) if element is None else element
        if chosen not in edges:
            raise ValueError(
                f"element is {element!r}, expected one of {', '.join(edges)}, whose edges "
                f"observable {header.name!r} has"
            )
        self.element = chosen
        self.energies = edges[chosen] + np.asarray(header.grid, dtype=np.float64)

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
        found = [i for i, symbol in enumerate(atoms.symbols) if symbol == self.element]
        if not found:
            raise ValueError(
                f"{atoms.get_chemical_formula()} has no atom of {self.element}, whose edge it is "
                f"that observable {self.header.name!r} is asked for"
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
        self._warn_of(atoms.get_chemical_formula())

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
            # About their mean, which leaves digits in single precision.
            structure_graph(atoms.numbers, atoms.positions - atoms.positions.mean(axis=0), indices)
            for atoms, indices in zip(batch, chosen, strict=True)
        ]
        with torch.no_grad():
            found = self.network(Batch.from_data_list(graphs).to(self._device()))
        ends = np.cumsum([len(indices) for indices in chosen])[:-1]
        return [np.asarray(part) for part in np.split(found.cpu().numpy().astype(np.float64), ends)]
