"""A model of another package as a potential: its base step and device, set once."""

from __future__ import annotations

import torch

from kstep_integrators.arguments import SetOnce

__all__ = ["ForeignModel"]


class ForeignModel(SetOnce):
    """The part that potentials from the interfaces of other packages share."""

    _timestep: float
    _device: torch.device

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self._timestep

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self._device
