"""The Lightning module that fits an increment network to windows of trajectories."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kstep_integrators.nn.increments.network import IncrementNetwork, Increments
from kstep_training.dataset.batches import WindowBatch
from kstep_training.fit.lightning_module import TrajectoryFit
from kstep_training.fit.losses import force_loss, force_squared_error, increment_loss
from kstep_training.fit.settings import FitSettings
from kstep_training.fit.structure_losses import (
    InternalCoordinates,
    structure_error,
    structure_penalty,
)

__all__ = ["IncrementFit"]


class IncrementFit(TrajectoryFit):
    """Increments in units of their standard deviations, optionally with forces at the landing.

    Its validation errors are root mean squares over those of the increments themselves, so that a
    network which predicts none has 1: ``val_dx_k4``, ``val_dv_k4``, ... for each k,
    ``val_increment`` over all, and with a force head ``val_force_rms`` in meV/angstrom.

    Parameters
    ----------
    network : IncrementNetwork
    settings : FitSettings
    total_steps : int
    coordinates : InternalCoordinates
        Of the molecules of the dataset.
    """

    monitor = "val_increment"
    network: IncrementNetwork

    def __init__(
        self,
        network: IncrementNetwork,
        settings: FitSettings,
        total_steps: int,
        coordinates: InternalCoordinates,
    ) -> None:
        super().__init__(network, settings, total_steps)
        self.coordinates = coordinates

    def predict(self, batch: WindowBatch) -> Increments:
        """Predict the increments of windows from their starts."""
        b = batch
        increments: Increments = self.network(
            b.positions, b.velocities, b.forces, b.k_index, b.graph
        )
        return increments

    def scale(self, batch: WindowBatch) -> Tensor:
        """Standard deviations of dx and dv of each atom, (B, N, 2)."""
        scales = self.network.scales.to(batch.positions.dtype)
        return scales[batch.k_index.unsqueeze(1), batch.species]

    def training_step(self, batch: WindowBatch, index: int) -> Tensor:
        """Loss of one batch."""
        s = self.settings
        batch = self.augmented(batch, index)
        increments, scale = self.predict(batch), self.scale(batch)
        mask, delta = batch.atom_mask, s.increment_delta
        loss = increment_loss(increments.positions, batch.dx, scale[..., 0], mask, delta)
        loss = loss + increment_loss(increments.velocities, batch.dv, scale[..., 1], mask, delta)
        if increments.forces is not None:
            force = force_loss(increments.forces, batch.end_forces, mask, s.huber_delta)
            loss = loss + s.force_weight * force
        landing, molecule = batch.landing(increments.positions), batch.molecule
        if s.structure_weight > 0.0:
            known = self._known(landing)
            error = structure_error(landing, batch.end_positions, molecule, known)
            loss = loss + s.structure_weight * error.sum()
        if s.penalty_weight > 0.0:
            known = self._known(landing)
            penalty = structure_penalty(landing, molecule, known, s.penalty_tolerance)
            loss = loss + s.penalty_weight * penalty.sum()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.k_index))
        return loss

    def _known(self, positions: Tensor) -> InternalCoordinates:
        """Internal coordinates of the molecules, on the device where they are needed."""
        if self.coordinates.bonds.mean.device != positions.device:
            self.coordinates = self.coordinates.to(positions.device)
        return self.coordinates

    def validation_step(self, batch: WindowBatch, index: int) -> None:
        """Add one batch to the sums, in units of the standard deviations."""
        some, increments = self.counted(index), self.predict(batch)
        batch = batch.first(some)
        increments = increments.first(some)
        scale = self.scale(batch).unsqueeze(-2)
        sums: dict[str, Tensor | int] = {}
        for kind, (name, predicted, target) in enumerate(
            (("dx", increments.positions, batch.dx), ("dv", increments.velocities, batch.dv))
        ):
            real = batch.atom_mask.unsqueeze(-1)
            error = torch.where(real, (predicted - target) / scale[..., kind], 0.0).double()
            whole = torch.where(real, target / scale[..., kind], 0.0).double()
            for i, k in enumerate(self.network.config["strides"]):
                here = batch.k_index == i
                sums[f"{name}_k{k}"] = error[here].square().sum()
                sums[f"{name}_k{k} of"] = whole[here].square().sum()
        if increments.forces is not None:
            force = force_squared_error(increments.forces, batch.end_forces, batch.atom_mask)
            sums["force"], sums["force of"] = force
        self.add(**sums)

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Relative errors of dx and dv by k, their rms, and that of the forces."""
        relative = {
            f"val_{key}": math.sqrt(sums[key] / whole)
            for key in sums
            if not key.endswith(" of") and key != "force" and (whole := sums[f"{key} of"]) > 0.0
        }
        squares = [error * error for error in relative.values()]
        errors = {**relative, "val_increment": math.sqrt(sum(squares) / len(squares))}
        if "force" in sums:
            errors["val_force_rms"] = 1e3 * math.sqrt(sums["force"] / sums["force of"])
        return errors
