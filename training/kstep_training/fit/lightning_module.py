"""The Lightning modules of the stage ``fit``: what they share, and force and energy matching."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kstep_integrators.nn.energy.compiled_forces import CompiledForces
from kstep_integrators.nn.energy.forces import ForceFunction, energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.batches import Batch
from kstep_training.fit.losses import energy_loss, force_loss, force_squared_error
from kstep_training.fit.network_fit import NetworkFit
from kstep_training.fit.rotations import AnyBatch, rotated
from kstep_training.fit.settings import FitSettings

__all__ = ["EnergyFit", "TrajectoryFit", "learning_rate_factor"]


def learning_rate_factor(step: int, warmup: int, total: int, final: float) -> float:
    """Linear warm-up to 1, then half a cosine down to ``final``, by optimizer step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


class TrajectoryFit(NetworkFit):
    """Rotations of batches from trajectories, and the schedule of the stage ``fit``."""

    settings: FitSettings

    def learning_rate_factor(self, step: int) -> float:
        """Linear warm-up, then half a cosine: :func:`learning_rate_factor`."""
        s = self.settings
        final = s.final_learning_rate / s.learning_rate
        return learning_rate_factor(step, s.warmup_steps, self.total_steps, final)

    def augmented(self, batch: AnyBatch, index: int) -> AnyBatch:
        """A batch in a random orientation, if the settings ask for it."""
        if self.settings.augmentation == "none":
            return batch
        return rotated(batch, self.generator(index), self.settings.augmentation)


class EnergyFit(TrajectoryFit):
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
        self._compiled: dict[tuple[torch.Size, torch.Size, bool], ForceFunction] = {}

    def forces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Energies (B,) eV and forces (B, N, 3) eV/angstrom, differentiable."""
        graph = batch.graph
        if not self.settings.compile:
            energy, forces = energy_and_forces(self.network, None, batch.positions, graph, True)
            return energy.sum(-1), forces
        shape = batch.positions.shape, graph.pair_mask.shape, graph.index is None
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
