"""Forces on neighbour lists of a fixed width, which never ask the host and say what they lacked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kstep_integrators.nn.common.fixed_lists import ListPlan, fixed_list
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.potentials.network_forces import ListForces
from kstep_integrators.state import Evaluation

__all__ = ["SKIN", "FixedListForces"]

SKIN = 1.0
"""Angstrom that a list reaches beyond the cutoff; it serves until an atom has moved by half."""
STEP = 16
"""Widths are multiples of it, so that they seldom change."""


class FixedListForces:
    """The forces of a :class:`ListForces` in shapes that are known beforehand.

    The first call of a flow builds a list, later ones use it. Nothing is decided on the way: what
    the host would have to know is gathered on the device and read once, afterwards. Forces of a
    list that lacked anything are wrong, and what came of them is to be thrown away.

    Parameters
    ----------
    forces : ListForces
    plan : ListPlan
        Of its atoms.
    width : int
        Slots of a row.

    Attributes
    ----------
    seen : (2,) float64
        Since :meth:`forget`: the largest square of a displacement since a list was built,
        angstrom^2, and the neighbours of the atom that had most.
    """

    def __init__(self, forces: ListForces, plan: ListPlan, width: int) -> None:
        self.forces, self.plan, self.width = forces, plan, width
        self.seen = torch.zeros(2, dtype=torch.float64, device=forces.device)

    @classmethod
    def for_positions(
        cls, forces: ListForces, plan: ListPlan, positions: Tensor, at_least: int = 1
    ) -> FixedListForces:
        """With as many slots as atoms have neighbours at positions (N, 3), and some to spare.

        This waits for the device.
        """
        most = int(fixed_list(positions, plan, forces.network.cutoff + SKIN, 1)[1])
        spare = STEP * math.ceil((1.1 * most + 1) / STEP)
        others = max(1, plan.atoms.shape[1] - 1)
        return cls(forces, plan, min(max(spare, at_least), others))

    def __call__(
        self, positions: Tensor, workspace: tuple[Graph, Tensor] | None
    ) -> tuple[Evaluation, tuple[Graph, Tensor]]:
        """Energy and forces; the workspace is a list and the positions that it was built at."""
        if workspace is None:
            reach = self.forces.network.cutoff + SKIN
            graph, most = fixed_list(positions, self.plan, reach, self.width)
            workspace = graph, positions
            now = torch.stack([torch.zeros_like(self.seen[0]), most.to(torch.float64)])
        else:
            # Atoms whose positions are not finite have no say; the guard deals with their molecule.
            moved = (positions - workspace[1]).square().sum(1).nan_to_num(0.0, 0.0, 0.0).max()
            now = torch.stack([moved, torch.zeros_like(moved)])
        self.seen.copy_(torch.maximum(self.seen, now))
        return self.forces.with_list(positions, workspace[0]), workspace

    def forget(self) -> None:
        """Begin anew with what is seen."""
        self.seen.zero_()

    def lacked(self) -> tuple[bool, bool]:
        """Skin and width: true for what any list since :meth:`forget` had too little of.

        This waits for the device.
        """
        moved, most = self.seen.tolist()
        return moved > (0.5 * SKIN) ** 2, most > self.width
