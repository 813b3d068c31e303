"""Random numbers for the molecules of a state: from one generator, or from one for each.

With one for each, what a molecule draws does not depend on the others that it runs with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kstep_integrators.state import PhaseState

__all__ = ["Noise", "gammas", "normals", "normals_of_atoms", "uniforms"]

Noise: TypeAlias = np.random.Generator | Sequence[np.random.Generator]
"""One generator for all molecules of a state, or one for each of them in their order."""


def uniforms(noise: Noise, state: PhaseState) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each molecule, (B,)."""
    if isinstance(noise, np.random.Generator):
        return noise.random(state.n_molecules)
    return np.array([generator.random() for generator in noise])


def normals(noise: Noise, state: PhaseState) -> Tensor:
    """One standard normal for each molecule, (B,) on the device of the state."""
    if isinstance(noise, np.random.Generator):
        drawn = noise.standard_normal(state.n_molecules)
    else:
        drawn = np.array([generator.standard_normal() for generator in noise])
    return torch.from_numpy(drawn).to(state.positions.device)


def gammas(noise: Noise, shapes: Tensor) -> Tensor:
    """One standard gamma variate for each molecule, of shapes (B,); on their device."""
    given = shapes.cpu().numpy()
    if isinstance(noise, np.random.Generator):
        drawn = noise.standard_gamma(given)
    else:
        pairs = zip(noise, given, strict=True)
        drawn = np.array([generator.standard_gamma(shape) for generator, shape in pairs])
    return torch.from_numpy(drawn).to(shapes.device)


def normals_of_atoms(noise: Noise, state: PhaseState) -> Tensor:
    """Three standard normals for each atom, (N, 3) on the device of the state."""
    if isinstance(noise, np.random.Generator):
        drawn = noise.standard_normal(tuple(state.positions.shape))
    else:
        sizes = torch.bincount(state.batch).tolist()
        pairs = zip(noise, sizes, strict=True)
        drawn = np.concatenate([generator.standard_normal((size, 3)) for generator, size in pairs])
    return torch.from_numpy(drawn).to(state.positions.device)
