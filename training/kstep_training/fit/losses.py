"""Losses of a fit over padded batches: errors of forces, energies and increments.

What a landing does to the structure is in :mod:`kstep_training.fit.structure_losses`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["energy_loss", "force_loss", "force_squared_error", "increment_loss"]


def force_squared_error(
    predicted: Tensor, label: Tensor, atom_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of squared errors over real components, and their number.

    Parameters
    ----------
    predicted, label : (B, N, 3) eV/angstrom
    atom_mask : (B, N) bool

    Returns
    -------
    sum, count : scalars; rms error = sqrt(sum / count)
    """
    error = torch.where(atom_mask.unsqueeze(-1), predicted - label, 0.0)
    return error.square().sum(), 3 * atom_mask.sum()


def force_loss(predicted: Tensor, label: Tensor, atom_mask: Tensor, delta: float) -> Tensor:
    """Mean Huber loss over the force components of real atoms, times two.

    Equal to the mean squared error (eV/angstrom)^2 while every error is below ``delta``.

    Parameters
    ----------
    predicted, label : (B, N, 3) eV/angstrom
    atom_mask : (B, N) bool
    delta : float
        eV/angstrom.
    """
    mask = atom_mask.unsqueeze(-1)
    loss = functional.huber_loss(
        torch.where(mask, predicted, 0.0),
        torch.where(mask, label, 0.0),
        reduction="sum",
        delta=delta,
    )
    return 2.0 * loss / (3 * atom_mask.sum())


def energy_loss(predicted: Tensor, label: Tensor, atom_mask: Tensor) -> Tensor:
    """Mean squared error of the energy per atom, (eV/atom)^2.

    Parameters
    ----------
    predicted, label : (B,) eV
    atom_mask : (B, N) bool
    """
    return ((predicted - label) / atom_mask.sum(1)).square().mean()


def increment_loss(
    predicted: Tensor, label: Tensor, scale: Tensor, atom_mask: Tensor, delta: float
) -> Tensor:
    """Mean Huber loss of increments in units of their standard deviations, times two.

    Equal to the mean squared error in these units while every error is below ``delta``; 1 for a
    network that predicts no increments and a ``delta`` beyond all of them.

    Parameters
    ----------
    predicted, label : (B, N, 3)
        Either dx or dv.
    scale : (B, N)
        Standard deviation of each atom's, by stride and element, in the same units.
    atom_mask : (B, N) bool
    delta : float
        Standard deviations.
    """
    real = torch.where(atom_mask, scale, 1.0).unsqueeze(-1)
    return force_loss(predicted / real, label / real, atom_mask, delta)
