"""The protocol of a potential: the cheap method that a flow jump integrates."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch

from kstep_integrators.state import (
    BoundPotential,
    PhaseState,
)

__all__ = ["Potential"]


@runtime_checkable
class Potential(Protocol):
    """A cheap method that a flow jump integrates."""

    @property
    def timestep(self) -> float:
        """Base step the potential is meant for, ASE time units."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the forces."""
        ...

    def to(self, device: torch.device | str) -> Potential:
        """The same potential on another device."""
        ...

    def bind(self, state: PhaseState) -> BoundPotential:
        """Check that the potential covers these atoms and return their force function.

        Raises
        ------
        ValueError
            If it does not; the message says what is not covered.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Description for logs, checkpoints and restart files."""
        ...
