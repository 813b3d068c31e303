"""The coupling of a dimer at the level of the labels, from that of GFN2-xTB and a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from ase import Atoms

from kstep_integrators.observables.couplings import (
    DimerState,
    OrbitalReference,
    dimer_state,
    orbital_reference,
)
from kstep_integrators.observables.couplings.dimer import dimer_kind
from kstep_integrators.observables.observable import Array, Observable

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["CouplingObservable", "graph_of_dimer"]


class CouplingObservable(Observable):
    """Electronic coupling between the two molecules of a dimer, eV.

    The coupling V0 of GFN2-xTB, computed here, and a network's correction to that of the labels'
    method. Signs of the frames of one call are fixed by the orbitals of the first one, whose V0 is
    not negative: a coupling that changes its sign along a trajectory does so here.

    Examples
    --------
    >>> from kstep_integrators import Observable
    >>> Observable.load("couplings.safetensors")(trajectory)  # doctest: +SKIP
    array([-0.0412, -0.0398, -0.0371])
    """

    kind: ClassVar[str] = "coupling"
    unit: ClassVar[str] = "eV"

    _known: tuple[bytes, OrbitalReference] | None = None

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure that the observable was not made for, or is no dimer.

        Parameters
        ----------
        atoms : ase.Atoms

        Raises
        ------
        TypeError, ValueError
            As of every observable, and for other than two molecules.
        """
        super().check(atoms)
        self._warn_of(dimer_kind(atoms))

    def _orbitals(self, reference: Atoms) -> OrbitalReference:
        """Orbitals of the molecules of a structure, kept because they are relaxed for it."""
        key = reference.numbers.tobytes() + reference.positions.tobytes()
        if self._known is None or self._known[0] != key:
            carrier = str(self.header.carrier)
            orbitals = orbital_reference(reference, carrier)
            if dimer_state(reference, carrier, orbitals).coupling.value < 0.0:
                orbitals = orbitals.turned
            self._known = key, orbitals
        return self._known[1]

    def _predicted(self, batch: Sequence[Atoms], reference: Atoms) -> dict[str, Array]:
        from kstep_integrators.observables.networks.graphs import Batch

        carrier = str(self.header.carrier)
        orbitals = self._orbitals(reference)
        states = [dimer_state(atoms, carrier, orbitals) for atoms in batch]
        graphs = [graph_of_dimer(a, s) for a, s in zip(batch, states, strict=True)]
        with torch.no_grad():
            correction = self.network(Batch.from_data_list(graphs).to(self._device()))
        cheap = np.array([state.coupling.value for state in states])
        sign = np.where(cheap < 0.0, -1.0, 1.0)
        corrected = sign * (np.abs(cheap) + correction.cpu().numpy().astype(np.float64))
        return {
            "coupling": corrected,
            "cheap": cheap,
            "separation": np.array([state.separation for state in states]),
            "angle": np.array([state.angle for state in states]),
            "participation": np.array([state.participation for state in states]),
        }


def graph_of_dimer(atoms: Atoms, state: DimerState, dtype: torch.dtype = torch.float32) -> Data:
    """Graph that the network of couplings takes, in the gauge in which V0 is not negative.

    Parameters
    ----------
    atoms : ase.Atoms
    state : DimerState
        Of these atoms.
    dtype : torch.dtype
    """
    from kstep_integrators.observables.networks.graphs import dimer_graph

    # Phases in which V0 is not negative.
    orbital = np.where(
        (state.molecule[:, None] == 1) & (state.coupling.value < 0.0), -state.orbital, state.orbital
    )
    described: Any = [
        state.separation,
        state.angle,
        abs(state.coupling.value),
        state.participation,
    ]
    return dimer_graph(
        atoms.numbers,
        atoms.positions - atoms.positions.mean(axis=0),  # digits left in single precision
        state.molecule,
        state.populations,
        orbital,
        state.dipole,
        state.quadrupole,
        described,
        dtype=dtype,
    )
