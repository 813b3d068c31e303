"""A property of a geometry, predicted by a fitted network: what users load and call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from kstep_integrators.observables.domain import check_domain, warn_of_kind

if TYPE_CHECKING:  # whose networks need e3nn
    from kstep_integrators.observables.coupling_observable import CouplingObservable
    from kstep_integrators.observables.observable_file import ObservableHeader
    from kstep_integrators.observables.spectrum_observable import SpectrumObservable

__all__ = ["Observable"]

Array = npt.NDArray[np.float64]

BATCH = 32
"""Structures that pass the network at once."""


class Observable(ABC):
    """A property that a fitted network reads off a geometry.

    :meth:`load` makes one of couplings
    (:class:`~kstep_integrators.observables.coupling_observable.CouplingObservable`) or of spectra
    (:class:`~kstep_integrators.observables.spectrum_observable.SpectrumObservable`), to be called
    with atoms.

    Parameters
    ----------
    network : torch.nn.Module
    header : ObservableHeader
    digest : str
        SHA-256 of the file.

    Examples
    --------
    >>> observable = Observable.load("couplings.safetensors")  # doctest: +SKIP
    >>> observable(atoms)  # doctest: +SKIP
    array(-0.0412)
    """

    kind: ClassVar[str]
    unit: ClassVar[str]

    def __init__(self, network: torch.nn.Module, header: ObservableHeader, digest: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.header = header
        self.digest = digest
        self._warned: set[str] = set()

    @staticmethod
    def load(
        path: str | Path, device: str = "cpu", element: str | None = None
    ) -> CouplingObservable | SpectrumObservable:
        """Read an observable from its file.

        Parameters
        ----------
        path : str or Path
            Made by ``kstep fit`` of a folder of labels.
        device : str
            PyTorch's name of where the network works.
        element : str, optional
            Of spectra that know several edges: whose edge is asked for.

        Raises
        ------
        ValueError
            If an element is given that the observable has no edge of, or none where it has several.
        ModelFileError
            If the file is missing, damaged, of another program or another format version.
        ImportError
            If e3nn or torch_geometric is missing; the message names the extra.
        """
        from kstep_integrators.observables.coupling_observable import CouplingObservable
        from kstep_integrators.observables.observable_file import read_observable
        from kstep_integrators.observables.spectrum_observable import SpectrumObservable

        network, header, digest = read_observable(path)
        network = network.to(device)
        if header.kind == "spectrum":
            return SpectrumObservable(network, header, digest, element)
        if element is not None:
            raise ValueError(f"element is {element!r}, but {path} is of couplings; leave it out")
        return CouplingObservable(network, header, digest)

    def __call__(self, frames: Atoms | Iterable[Atoms]) -> Array:
        """The property of one structure, or of each of several.

        Parameters
        ----------
        frames : ase.Atoms, or an iterable of them
            Such as a list, or an open ASE trajectory. Frames of one trajectory in their order.

        Returns
        -------
        numpy.ndarray
            Without the first axis for one structure. See the class for shape and unit.

        Raises
        ------
        TypeError
            For what is no atoms.
        ValueError
            For a structure that the observable was not made for; the message says why.
        """
        single = isinstance(frames, Atoms)
        structures: Iterable[Atoms] = [frames] if isinstance(frames, Atoms) else frames
        values = np.asarray(self.measure(structures)[self.kind])
        return np.asarray(values[0] if single else values)

    def measure(self, frames: Iterable[Atoms], reference: Atoms | None = None) -> dict[str, Array]:
        """The property of each of several structures, with what it was made from.

        Parameters
        ----------
        frames : iterable of ase.Atoms
        reference : ase.Atoms, optional
            The same molecules, by which the sign of couplings is fixed; the first of the frames if
            there is none.

        Returns
        -------
        dict of str to (n, ...) array
            The property under the name of its kind.

        Raises
        ------
        TypeError, ValueError
            As for a call.
        """
        parts = []
        for batch in _batches(frames):
            for atoms in batch:
                self.check(atoms)
            reference = batch[0] if reference is None else reference
            parts.append(self._predicted(batch, reference))
        if not parts:
            raise ValueError("there are 0 structures, expected one at least")
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure that the observable was not made for.

        Warns once of each kind (the formula, or those of both molecules) that it was not trained
        on.

        Parameters
        ----------
        atoms : ase.Atoms

        Raises
        ------
        TypeError
            For what is no atoms.
        ValueError
            For elements, a charge, a multiplicity or a cell that its labels did not have.
        """
        check_domain(atoms, self.header)

    def _warn_of(self, kind: str) -> None:
        """Warn of a kind that the labels did not have, once."""
        if kind not in self._warned:
            self._warned.add(kind)
            warn_of_kind(kind, self.header)

    @abstractmethod
    def _predicted(self, batch: Sequence[Atoms], reference: Atoms) -> dict[str, Array]:
        """The property of checked structures."""

    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def _batches(frames: Iterable[Atoms]) -> Iterator[list[Atoms]]:
    batch: list[Any] = []
    for atoms in frames:
        batch.append(atoms)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
