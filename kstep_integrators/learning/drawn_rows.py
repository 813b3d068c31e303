"""Forces and stresses of a label of many atoms that are learned, drawn at random.

Atoms of a liquid or a crystal say much the same, and features cost as much as a force for each
coordinate and as two energies for each strain.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kstep_integrators.learning.lessons import Example
from kstep_integrators.mechanics.strain import STRAINS

__all__ = ["drawn_coordinates", "drawn_strains"]

ATOMS = 64
"""All forces and stresses are learned from labels of no more atoms; beyond, the forces of as many
of them from each of the first labels."""
EARLY = 32
"""Number of those first labels."""
LATER_ATOMS, LATER_STRAINS = 16, 1
"""Atoms whose forces, and components of the stress, are learned from each later label: where an
evaluation takes a second, the first labels add half of one, and these a tenth."""


def drawn_coordinates(example: Example, labels: int) -> Tensor:
    """Coordinates (n,) int64 whose forces are learned; the same for the same label of a run.

    Parameters
    ----------
    example : Example
    labels : int
        Learned before it.
    """
    if example.forces is None:
        return torch.zeros(0, dtype=torch.int64)
    count = len(example.positions)
    atoms = np.arange(count)
    if count > ATOMS:
        most = ATOMS if labels < EARLY else LATER_ATOMS
        rng = np.random.default_rng([example.step, example.molecule])
        atoms = np.sort(rng.choice(count, most, replace=False))
    return torch.from_numpy((3 * atoms[:, None] + np.arange(3)).ravel())


def drawn_strains(example: Example, labels: int) -> Tensor:
    """Components (n,) int64 of the stress that are learned, of xx, yy, zz, yz, xz, xy.

    Parameters
    ----------
    example : Example
    labels : int
        Learned before it.
    """
    if example.stress is None:
        return torch.zeros(0, dtype=torch.int64)
    if len(example.positions) <= ATOMS or labels < EARLY:
        return torch.arange(len(STRAINS))
    rng = np.random.default_rng([example.step, example.molecule, len(STRAINS)])
    return torch.from_numpy(np.sort(rng.choice(len(STRAINS), LATER_STRAINS, replace=False)))
