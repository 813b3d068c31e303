"""Losses on bonds, angles and dihedrals of landings, in units of their variances."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_training.dataset.dataset_file import DatasetFile
from kstep_training.dataset.internal_coordinates import KINDS

__all__ = ["CoordinateTable", "InternalCoordinates", "structure_error", "structure_penalty"]

LEAST_STD = {"bonds": 0.01, "angles": 0.0175, "dihedrals": 0.0175}
"""Angstrom and radians (1 degree): rigid coordinates, such as constrained bonds, are not judged in
units of numerical noise."""


@dataclass(frozen=True)
class CoordinateTable:
    """Coordinates of one kind, of M molecules, padded to C of them.

    Attributes
    ----------
    atoms : (M, C, 2, 3 or 4) int64
    mean, std : (M, C) float64
        Angstrom or radians.
    mask : (M, C) bool
    """

    atoms: Tensor
    mean: Tensor
    std: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> CoordinateTable:
        """The table on another device."""
        return CoordinateTable(**{key: tensor.to(device) for key, tensor in vars(self).items()})


@dataclass(frozen=True)
class InternalCoordinates:
    """The internal coordinates of all molecules of a dataset, and how they are distributed."""

    bonds: CoordinateTable
    angles: CoordinateTable
    dihedrals: CoordinateTable

    @classmethod
    def of(cls, dataset: DatasetFile) -> InternalCoordinates:
        """Tables of the molecules of a dataset, in its order."""
        return cls(**{kind: _table(dataset, kind) for kind in KINDS})

    def to(self, device: torch.device | str) -> InternalCoordinates:
        """The tables on another device."""
        return InternalCoordinates(**{key: table.to(device) for key, table in vars(self).items()})


def _table(dataset: DatasetFile, kind: str) -> CoordinateTable:
    # A molecule known from distorted frames only has no statistics, and then nothing to judge by.
    every = [molecule.coordinates[kind] for molecule in dataset.molecules]
    equilibria = [own if "mean" in own else {"mean": []} for own in every]
    widest = max(len(own["mean"]) for own in equilibria)
    size = KINDS[kind][0]
    atoms = torch.zeros(len(equilibria), widest, size, dtype=torch.int64)
    mean = torch.zeros(len(equilibria), widest, dtype=torch.float64)
    std = torch.ones_like(mean)
    mask = torch.zeros(len(equilibria), widest, dtype=torch.bool)
    for row, own in enumerate(equilibria):
        n = len(own["mean"])
        if n:
            atoms[row, :n] = torch.tensor(own["indices"])
            mean[row, :n] = torch.tensor(own["mean"], dtype=torch.float64)
            std[row, :n] = torch.tensor(own["std"], dtype=torch.float64)
            mask[row, :n] = True
    return CoordinateTable(atoms, mean, std.clamp(min=LEAST_STD[kind]), mask)


def structure_penalty(
    landing: Tensor, molecule: Tensor, coordinates: InternalCoordinates, tolerance: float
) -> Tensor:
    """Mean squares of what deviates more than usual from the equilibrium means.

    Parameters
    ----------
    landing : (B, N, 3) angstrom
        Predicted.
    molecule : (B,) int64
    coordinates : InternalCoordinates
    tolerance : float
        Standard deviations that cost nothing; beyond them the excess counts.

    Returns
    -------
    (3,)
        For bonds, angles and dihedrals, in units of their variances.
    """
    values = []
    for kind, table in vars(coordinates).items():
        deviation = _measure(kind, table, landing, molecule) - table.mean[molecule].to(landing)
        excess = (_scaled(kind, table, deviation, molecule).abs() - tolerance).clamp(min=0.0)
        values.append(_mean_square(excess, table, molecule))
    return torch.stack(values)


def structure_error(
    landing: Tensor, target: Tensor, molecule: Tensor, coordinates: InternalCoordinates
) -> Tensor:
    """Mean squared errors of the internal coordinates of a landing.

    Parameters
    ----------
    landing, target : (B, N, 3) angstrom
        Predicted and true.
    molecule : (B,) int64
    coordinates : InternalCoordinates

    Returns
    -------
    (3,)
        For bonds, angles and dihedrals, in units of their variances.
    """
    values = []
    for kind, table in vars(coordinates).items():
        predicted, true = (_measure(kind, table, x, molecule) for x in (landing, target))
        values.append(
            _mean_square(_scaled(kind, table, predicted - true, molecule), table, molecule)
        )
    return torch.stack(values)


def _measure(kind: str, table: CoordinateTable, positions: Tensor, molecule: Tensor) -> Tensor:
    """(B, C) angstrom or radians; some finite value with finite slope for padding."""
    atoms = table.atoms[molecule]
    rows = torch.arange(len(positions), device=positions.device)[:, None, None]
    corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    elsewhere = torch.tensor(corners[: atoms.shape[-1]]).to(positions)
    real = table.mask[molecule][..., None, None]
    points = torch.where(real, positions[rows, atoms], elsewhere).unbind(-2)
    steps = [b - a for a, b in itertools.pairwise(points)]
    if kind == "bonds":
        lengths: Tensor = torch.linalg.vector_norm(steps[0], dim=-1)
        return lengths
    if kind == "angles":
        back, on = -steps[0], steps[1]
        across = torch.linalg.vector_norm(torch.linalg.cross(back, on), dim=-1)
        return torch.atan2(across, (back * on).sum(-1))
    first, axis, last = steps
    left, right = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
    sine = (first * right).sum(-1) * torch.linalg.vector_norm(axis, dim=-1)
    return torch.atan2(sine, (left * right).sum(-1))


def _scaled(kind: str, table: CoordinateTable, deviation: Tensor, molecule: Tensor) -> Tensor:
    if kind == "dihedrals":  # to [-pi, pi): full turns are no deviation
        deviation = torch.remainder(deviation + math.pi, 2.0 * math.pi) - math.pi
    return deviation / table.std[molecule].to(deviation)


def _mean_square(values: Tensor, table: CoordinateTable, molecule: Tensor) -> Tensor:
    real = table.mask[molecule]
    return torch.where(real, values, 0.0).square().sum() / real.sum().clamp(min=1)
