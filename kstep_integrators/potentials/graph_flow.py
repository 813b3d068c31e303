"""Flows on a GPU: the steps of a jump recorded once as a CUDA graph, and replayed.

To launch the kernels of a force one by one takes the host longer than a GPU takes to run them. A
graph is one launch of all. It fixes shapes and addresses, so that what a jump starts from is copied
to where the graph reads it, and nothing in it may depend on a number that the host has to know:
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.nn.common.fixed_lists import ListPlan, list_plan
from kstep_integrators.nn.energy.compiled_forces import CompiledForces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.fixed_list_forces import FixedListForces
from kstep_integrators.potentials.flow_memory import FlowMemory, with_weights_of_its_own
from kstep_integrators.potentials.network_forces import DenseForces, ListForces
from kstep_integrators.potentials.recording import Recordings
from kstep_integrators.state import Evaluation, Forces, HessianProducts, PhaseState

__all__ = ["GraphFlow"]

STEPS = 8
"""Of the longest recording: a longer jump replays it, and then one of the steps that are left."""


class GraphFlow:
    """A network bound to atoms on a GPU, whose flows are recorded and replayed.

    The host is asked nothing within a jump. Small molecules need nothing from it. For neighbour
    lists each recording builds one at its first step, of a fixed width and with a skin for the
    steps that follow; whether an atom left the skin or had more neighbours is read once, after the
    last step. If so the jump is done again without recordings, and a width that was too small is
    raised.

    Parameters
    ----------
    forces : DenseForces or ListForces
    state : PhaseState
        The atoms.
    known : GraphFlow, optional
        Of these atoms, for a network that differs in the weights of its linear readout alone:
        recordings are shared, and read the weights where this one puts them.
    """

    def __init__(
        self,
        forces: DenseForces | ListForces,
        state: PhaseState,
        known: GraphFlow | None = None,
    ) -> None:
        self.forces = forces
        self.recorder: _Recorder = _Recorder(forces, state) if known is None else known.recorder

    @property
    def compiled(self) -> CompiledForces | None:
        """The compiled force, if there is one."""
        return self.forces.compiled

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        """Energy and forces."""
        return self.forces(positions, workspace)

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian by automatic differentiation."""
        return self.forces.linearized(positions)

    def flow(
        self, state: PhaseState, start: Evaluation, timestep: float, k: int
    ) -> tuple[PhaseState, Evaluation]:
        """k steps of velocity Verlet: see :class:`~kstep_integrators.state.FlowPotential`."""
        with torch.no_grad():
            done = self.recorder.flow(self.forces.network, state, start, timestep, k)
            if done is None:
                done = verlet_flow(self.forces, state, start, timestep, k)[:2]
                self.recorder.widen(done[0].positions)
        return done


class _Recorder:
    """Recordings for one set of atoms."""

    def __init__(self, forces: DenseForces | ListForces, state: PhaseState) -> None:
        self.forces, self.weights = with_weights_of_its_own(forces)
        self.recordings = Recordings(forces.device)
        self.memory = FlowMemory(state, forces.device)
        self.listed: FixedListForces | None = None
        self.plan: ListPlan | None = None
        if isinstance(forces, ListForces):
            self.plan = list_plan(forces.species, state.batch, forces.device)
        self.narrow = self.unable = False

    def flow(
        self,
        network: EnergyNetwork,
        state: PhaseState,
        start: Evaluation,
        timestep: float,
        k: int,
    ) -> tuple[PhaseState, Evaluation] | None:
        """State and potential k steps later; None if they cannot be had from recordings."""
        if self.unable:
            return None
        if self.listed is None:
            self._fit(state.positions)
        pieces = [STEPS] * (k // STEPS) + [k % STEPS] * (k % STEPS > 0)
        if not all((n, timestep) in self.recordings for n in pieces):
            self._load(network, state, start)  # to be recorded, steps are taken
        try:
            runs = [
                self.recordings.get((n, timestep), partial(self.steps, n, timestep)) for n in pieces
            ]
        except RuntimeError as error:
            self._give_up(error)
            return None
        self._load(network, state, start)
        for run in runs:
            run()
        if self.listed is not None:
            skin, width = self.listed.lacked()
            self.narrow = width
            if skin or width:
                return None
        return self.memory.taken(state, k * timestep)

    def steps(self, n: int, timestep: float) -> None:
        """Take n steps from where the memory is: what is recorded."""
        forces: Forces = self.forces if self.listed is None else self.listed
        memory = self.memory
        new, end, _ = verlet_flow(forces, memory.state, memory.inner, timestep, n)
        memory.store(new, end)

    def widen(self, positions: Tensor) -> None:
        """Make lists wider that were too narrow; positions (N, 3) in angstrom."""
        if self.narrow and self.listed is not None:
            self._fit(positions, at_least=self.listed.width + 1)
            self.recordings.clear()
            self.narrow = False

    def _fit(self, positions: Tensor, at_least: int = 1) -> None:
        if isinstance(self.forces, ListForces) and self.plan is not None:
            self.listed = FixedListForces.for_positions(self.forces, self.plan, positions, at_least)

    def _load(self, network: EnergyNetwork, state: PhaseState, start: Evaluation) -> None:
        self.memory.load(state, start)
        if self.weights is not None and network.linear is not None:
            self.weights.copy_(network.linear.weight)
        if self.listed is not None:
            self.listed.forget()

    def _give_up(self, error: RuntimeError) -> None:
        self.unable = True
        self.recordings.clear()
        warnings.warn(
            f"the steps of a flow could not be recorded as a CUDA graph ({error}); they are taken "
            "one by one, with the same result in a longer time",
            KStepWarning,
            stacklevel=4,
        )
