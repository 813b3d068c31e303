"""Memory that recordings of a flow read and write: its start and end, and weights that change."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from kstep_integrators.potentials.network_forces import DenseForces, ListForces
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["FlowMemory", "with_weights_of_its_own"]


class FlowMemory:
    """Memory in which recordings find the start of a flow and leave its end."""

    def __init__(self, state: PhaseState, device: torch.device) -> None:
        there = state.replace(templates=None).to(device)
        self.mobile = torch.ones_like(there.masses)
        self.masses: Tensor | None = None
        self.fixed: Tensor | None = None
        self.state = there.replace(
            positions=torch.zeros_like(there.positions),
            momenta=torch.zeros_like(there.momenta),
            masses=there.masses.clone(),
            mobile=self.mobile,
            fix_com=False,
            bonds=None,
            bond_lengths=None,
            bond_offsets=None,
        )
        self.forces = torch.zeros_like(there.positions)
        self.inner = Evaluation(torch.zeros_like(there.time), self.forces)

    def store(self, state: PhaseState, inner: Evaluation) -> None:
        """Overwrite what changes in a flow."""
        self.state.positions.copy_(state.positions)
        self.state.momenta.copy_(state.momenta)
        self.inner.energy.copy_(inner.energy)
        self.forces.copy_(inner.require_forces())

    def load(self, state: PhaseState, inner: Evaluation) -> None:
        """Overwrite all, as far as it differs: fields of a state are never written in place."""
        self.store(state, inner)
        if self.masses is not state.masses:
            self.masses = state.masses
            self.state.masses.copy_(state.masses)
        if self.fixed is not state.mobile:
            self.fixed = state.mobile
            if state.mobile is None:
                self.mobile.fill_(1.0)
            else:
                self.mobile.copy_(state.mobile)

    def taken(self, state: PhaseState, duration: float) -> tuple[PhaseState, Evaluation]:
        """Copies of what is here, as a state some time after another."""
        end = Evaluation(self.inner.energy.clone(), self.forces.clone())
        here = self.state
        return state.replace(
            positions=here.positions.clone(),
            momenta=here.momenta.clone(),
            time=state.time + duration,
        ), end


def with_weights_of_its_own(
    forces: DenseForces | ListForces,
) -> tuple[DenseForces | ListForces, Tensor | None]:
    """The same forces, with a copy of the readout that a run may learn; and its weights."""
    linear = forces.network.linear
    if linear is None:
        return forces, None
    mine, weights = copy.copy(forces), linear.weight.detach().clone()
    mine.network = forces.network.with_weights(weights)
    if mine.compiled is not None:
        mine.compiled = mine.compiled.of(mine.network, reading=True)
    return mine, weights
