"""Langevin dynamics of many replicas at once, as the reference of sampling: BAOAB."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["baoab"]


def baoab(
    evaluate: Callable[[Tensor], Evaluation],
    state: PhaseState,
    timestep: float,
    friction: float,
    temperature_K: float,
    steps: int,
    every: int,
    rng: np.random.Generator,
) -> tuple[PhaseState, np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Langevin dynamics whose positions have the right variances at any step in a harmonic well.

    Leimkuhler & Matthews, doi:10.1093/amrx/abs010. OBABO and velocity Verlet do not: their
    variances are too large by a part (omega h / 2)^2, 3 % for a stretch of O-H at 0.5 fs, which
    long runs would see. One evaluation per step.

    Parameters
    ----------
    evaluate : callable
        Positions (N, 3) to energies and forces.
    state : PhaseState
    timestep, friction : float
        ASE time units and their inverse.
    temperature_K : float
    steps, every : int
        Steps made; a frame is kept after each ``every`` of them.
    rng : numpy.random.Generator

    Returns
    -------
    state : PhaseState
    positions : (F, N, 3) float32
    momenta : (F, N, 3) float32
    energies : (F, B) eV
        Potential energies.
    """
    x, p, m = state.positions, state.momenta, state.masses
    keep = math.exp(-friction * timestep)
    width = ((1.0 - keep**2) * units.KB * temperature_K * m).sqrt()
    now = evaluate(x)
    positions, momenta, energies = [], [], []
    for number in range(1, steps + 1):
        p = p + 0.5 * timestep * now.require_forces()
        x = x + 0.5 * timestep * p / m
        p = keep * p + width * torch.from_numpy(rng.standard_normal(tuple(p.shape)))
        x = x + 0.5 * timestep * p / m
        now = evaluate(x)
        p = p + 0.5 * timestep * now.require_forces()
        if number % every == 0:
            positions.append(x.numpy().astype(np.float32))
            momenta.append(p.numpy().astype(np.float32))
            energies.append(now.energy.numpy())
    end = state.replace(positions=x, momenta=p, time=state.time + steps * timestep)
    return end, np.array(positions), np.array(momenta), np.array(energies)
