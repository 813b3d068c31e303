"""The Lightning modules that fit networks: what they share, and force and energy matching."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from kstep_integrators.nn.energy.compiled_forces import CompiledForces
from kstep_integrators.nn.energy.forces import ForceFunction, energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.batches import Batch
from kstep_training.fit.losses import energy_loss, force_loss, force_squared_error
from kstep_training.fit.rotations import AnyBatch, rotated
from kstep_training.fit.settings import FitSettings

__all__ = ["EnergyFit", "NetworkFit", "learning_rate_factor"]


def learning_rate_factor(step: int, warmup: int, total: int, final: float) -> float:
    """Linear warm-up to 1, then half a cosine down to ``final``, by optimizer step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


class _Movable(Protocol):
    def to(self, device: torch.device | str) -> _Movable: ...


class NetworkFit(lightning.LightningModule):
    """Optimizer, schedule, and validation errors that are kept with the weights.

    Parameters
    ----------
    network : nn.Module
        Weights that do not require a gradient stay as they are.
    settings : FitSettings
    total_steps : int
        Optimizer steps of the whole fit, for the learning-rate schedule.

    Attributes
    ----------
    monitor : str
        The validation error that early stopping goes by.
    validation : dict of str to float
        Errors of the last validation.
    """

    monitor: ClassVar[str]

    def __init__(self, network: nn.Module, settings: FitSettings, total_steps: int) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.total_steps = total_steps
        self.validation: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The validation errors from the sums over the whole validation set."""
        raise NotImplementedError

    def augmented(self, batch: AnyBatch, index: int) -> AnyBatch:
        """A batch in a random orientation, if the settings ask for it.

        The rotation depends on where in the fit the batch stands and on nothing before, so that a
        resumed fit makes the same ones.
        """
        if self.settings.augmentation == "none":
            return batch
        place = [self.settings.seed, self.current_epoch, index, self.global_rank]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        return rotated(batch, generator, self.settings.augmentation)

    def on_validation_epoch_start(self) -> None:
        """Start the sums from which the errors of the whole set are made."""
        self._sums = {}

    def counted(self, index: int) -> int:
        """Number of frames of a validation batch that count; the others fill it up."""
        loader: Any = self.trainer.val_dataloaders
        place = index * self.trainer.world_size + self.trainer.global_rank
        count: int = loader.sampler.counted(place)
        return count

    def add(self, **parts: Tensor | int) -> None:
        """Add what a validation batch comes to, to the sums."""
        for key, value in parts.items():
            part = torch.as_tensor(value).detach().cpu().double()
            self._sums[key] = self._sums.get(key, torch.zeros(())) + part

    def on_validation_epoch_end(self) -> None:
        """Log the errors; the sums are those over all devices."""
        keys = sorted(self._sums)
        sums = torch.stack([self._sums[key] for key in keys]).to(self.device)
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self.validation = self.errors(dict(zip(keys, sums.tolist(), strict=True)))
        self.log_dict(self.validation, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the errors with the weights they belong to."""
        checkpoint["validation"] = self.validation

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule of :func:`learning_rate_factor`."""
        s = self.settings
        optimizer = torch.optim.AdamW(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=s.learning_rate,
            weight_decay=s.weight_decay,
            amsgrad=True,
        )
        final = s.final_learning_rate / s.learning_rate
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step, s.warmup_steps, self.total_steps, final),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: _Movable, device: torch.device, index: int
    ) -> _Movable:
        """Move a batch (Lightning does not know the dataclass)."""
        return batch.to(device)


class EnergyFit(NetworkFit):
    """Force and energy matching.

    Its validation errors are ``val_force_rms`` in meV/angstrom and ``val_energy_rms`` in meV/atom.

    Parameters
    ----------
    network : EnergyNetwork
    settings : FitSettings
    total_steps : int
    """

    monitor = "val_force_rms"
    network: EnergyNetwork

    def __init__(self, network: EnergyNetwork, settings: FitSettings, total_steps: int) -> None:
        super().__init__(network, settings, total_steps)
        self._compiled: dict[torch.Size, ForceFunction] = {}

    def forces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Energies (B,) eV and forces (B, N, 3) eV/angstrom, differentiable."""
        graph = batch.graph
        if not self.settings.compile:
            energy, forces = energy_and_forces(self.network, None, batch.positions, graph, True)
            return energy.sum(-1), forces
        shape = batch.positions.shape
        if shape not in self._compiled:
            self._compiled[shape] = CompiledForces(self.network, trainable=True)
        weights = dict(self.network.named_parameters())
        return self._compiled[shape](weights, batch.positions, graph)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        batch = self.augmented(batch, index)
        energy, forces = self.forces(batch)
        f = force_loss(forces, batch.forces, batch.atom_mask, self.settings.huber_delta)
        e = energy_loss(energy, batch.energies, batch.atom_mask)
        loss = f + self.settings.energy_weight * e
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(energy))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the sums."""
        # With gradients, because the function compiled for training is the one at hand.
        with torch.enable_grad():
            energy, forces = self.forces(batch)
        some = self.counted(index)
        batch, energy, forces = batch.first(some), energy[:some], forces[:some]
        squared, count = force_squared_error(forces, batch.forces, batch.atom_mask)
        per_atom = (energy - batch.energies) / batch.atom_mask.sum(1)
        self.add(f=squared, n=count, e=per_atom.square().sum(), m=len(energy))

    def errors(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Force rms (meV/angstrom) and energy rms (meV/atom)."""
        return {
            "val_force_rms": 1e3 * math.sqrt(sums["f"] / sums["n"]),
            "val_energy_rms": 1e3 * math.sqrt(sums["e"] / sums["m"]),
        }
