"""The particles of a System as the model takes them: atoms, a whole solute, a bound jump."""

from __future__ import annotations

import logging

import numpy as np
import torch

from kstep_integrators import units
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.openmm.inner import Inner
from kstep_integrators.openmm.particles import Array, Particles
from kstep_integrators.openmm.source import Model, ModelSource, jump_of
from kstep_integrators.openmm.whole import Tree, tree_of
from kstep_integrators.potentials.sum import some_atoms
from kstep_integrators.state import PhaseState

__all__ = ["Subject"]

_log = logging.getLogger(__name__)


class Subject:
    """What a jump moves, made when it is first needed and kept.

    Parameters
    ----------
    source : ModelSource
    particles : Particles
    inner : Inner
        What a flow integrates beside the model.
    model : NetworkPotential or DirectJump, optional
        The model, if it is loaded.
    """

    def __init__(
        self, source: ModelSource, particles: Particles, inner: Inner, model: Model | None
    ) -> None:
        self.source, self.particles, self.inner, self._model = source, particles, inner, model
        self._atoms: PhaseState | None = None
        self._bound: dict[tuple[float, bytes], BoundJump] = {}
        self._tree: Tree | None = None
        self._mended = False

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = self.source.load()
        return self._model

    def state(self, positions: Array, box: Array | None) -> PhaseState:
        """At rest at positions (nm), the solute whole if there is a box (nm)."""
        finite = np.isfinite(positions).all()
        if box is not None and finite:
            positions = self.whole(positions, box)
        if self._atoms is None or not finite:
            # With all checks, which need not be made again at each jump.
            self._atoms = self.particles.state(positions).to(self._loaded().device)
        x = torch.from_numpy(positions * units.NM)
        state = self._atoms.replace(positions=x.to(self._atoms.positions.device))
        if box is None:
            return state
        cell = torch.from_numpy(box * units.NM).to(state.cell)
        return state.replace(cell=cell, pbc=(True, True, True))

    def covered(self, state: PhaseState) -> PhaseState:
        """The atoms that the model covers: bonds of others are no matter of it."""
        if self.inner.covered is None:
            return state
        return some_atoms(state, torch.tensor(self.inner.covered, device=state.masses.device))

    def whole(self, positions: Array, box: Array) -> Array:
        """With the solute in one piece."""
        if self._tree is None:
            self._tree = tree_of(np.array(self.inner.covered), positions, box)
        mended = self._tree.whole(positions, box)
        if mended is not positions and not self._mended:
            self._mended = True
            _log.warning(
                "the solute was given in pieces, and put together for the model. On the platforms "
                "Reference and CPU positions are as you set them: an expensive method that knows "
                "of no box sees the pieces. Set positions with whole molecules, such as those of "
                "getState(positions=True, enforcePeriodicBox=False)"
            )
        return mended

    def jump(self, timestep: float, state: PhaseState) -> BoundJump:
        """The jump of this base step (ASE time units) in this box, kept for the next time."""
        key = (timestep, state.cell.cpu().numpy().tobytes())
        if key not in self._bound:
            jump = jump_of(self.inner.beside(self._loaded()), timestep)
            atoms = self.particles.nowhere().replace(cell=state.cell, pbc=state.pbc)
            self._bound = {key: jump.bind(atoms)}
        return self._bound[key]
