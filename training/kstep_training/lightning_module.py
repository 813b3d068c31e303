"""The Lightning module that fits an energy network to energies and forces."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor

from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_integrators.nn.forces import ForceFunction, compiled_forces, energy_and_forces
from kstep_training.config import FitConfig
from kstep_training.dataset import Batch
from kstep_training.losses import energy_loss, force_loss, force_squared_error

__all__ = ["EnergyFit", "learning_rate_factor"]


def learning_rate_factor(step: int, warmup: int, total: int, final: float) -> float:
    """Linear warm-up to 1, then half a cosine down to ``final``, by optimizer step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


class EnergyFit(lightning.LightningModule):
    """Force and energy matching.

    Parameters
    ----------
    network : EnergyNetwork
    config : FitConfig
    total_steps : int
        Optimizer steps of the whole fit, for the learning-rate schedule.

    Attributes
    ----------
    validation : dict of str to float
        Errors of the last validation: ``val_force_rms`` in meV/angstrom, ``val_energy_rms`` in
        meV/atom.
    """

    def __init__(self, network: EnergyNetwork, config: FitConfig, total_steps: int) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.total_steps = total_steps
        self.validation: dict[str, float] = {}
        self._compiled: dict[torch.Size, ForceFunction] = {}
        self._sums: dict[str, Tensor] = {}

    def forces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Energies (B,) eV and forces (B, N, 3) eV/angstrom, differentiable."""
        graph = batch.graph
        if not self.config.compile:
            energy, forces = energy_and_forces(self.network, None, batch.positions, graph, True)
            return energy.sum(-1), forces
        shape = batch.positions.shape
        if shape not in self._compiled:
            self._compiled[shape] = compiled_forces(self.network, batch.positions, graph, True)
        weights = dict(self.network.named_parameters())
        return self._compiled[shape](weights, batch.positions, graph)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        energy, forces = self.forces(batch)
        f = force_loss(forces, batch.forces, batch.atom_mask, self.config.huber_delta)
        e = energy_loss(energy, batch.energies, batch.atom_mask)
        loss = f + self.config.energy_weight * e
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(energy))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the sums from which the rms errors of the whole set are made."""
        self._sums = {key: torch.zeros((), dtype=torch.float64) for key in ("f", "n", "e", "m")}

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the sums."""
        # With gradients, because the function compiled for training is the one at hand.
        with torch.enable_grad():
            energy, forces = self.forces(batch)
        squared, count = force_squared_error(forces, batch.forces, batch.atom_mask)
        per_atom = (energy - batch.energies) / batch.atom_mask.sum(1)
        for key, value in zip(
            "fnem", (squared, count, per_atom.square().sum(), len(energy)), strict=True
        ):
            self._sums[key] += torch.as_tensor(value).detach().cpu().double()

    def on_validation_epoch_end(self) -> None:
        """Log force rms (meV/angstrom) and energy rms (meV/atom)."""
        s = self._sums
        self.validation = {
            "val_force_rms": 1e3 * float(torch.sqrt(s["f"] / s["n"])),
            "val_energy_rms": 1e3 * float(torch.sqrt(s["e"] / s["m"])),
        }
        self.log_dict(self.validation, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the errors with the weights they belong to."""
        checkpoint["validation"] = self.validation

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule of :func:`learning_rate_factor`."""
        c = self.config
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay, amsgrad=True
        )
        final = c.final_learning_rate / c.learning_rate
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step, c.warmup_steps, self.total_steps, final),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        """Move a batch (Lightning does not know the dataclass)."""
        return batch.to(device)
