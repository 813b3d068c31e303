"""The cost of a mollified kick at 8 fs, and how expensive a gradient must be for it to pay."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Final

import torch
from ase import Atoms

from kstep_integrators import NetworkPotential
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Mollified, pulled_back
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.units import FS

__all__ = ["AveragingCost", "averaging_cost"]

LONG_FS: Final = 8.0
SHORT_FS: Final = 4.0
_TIMES: Final = 21


@dataclass(frozen=True)
class AveragingCost:
    """Seconds of the mollified kick of a stride, and of one force of the potential.

    For the same simulated time, mollified strides of 8 fs make as many steps of the flow as
    impulses at 4 fs, and half of the evaluations: n (t + kick) against 2 n t, t being the cost of
    an evaluation. They take less time where t > kick.

    Attributes
    ----------
    kick, force : float
        Seconds.

    Examples
    --------
    >>> AveragingCost(0.004, 0.0001).line(0.002)[-42:]
    'gradient costs more than that (2 ms here).'
    """

    kick: float
    force: float

    def line(self, physics: float) -> str:
        """Its cost, and from where on it pays, beside the cost of an evaluation, seconds."""
        return (
            f"Mollified kicks at {LONG_FS:g} fs (corrector='mollified'): {1e3 * self.kick:.2g} ms "
            f"per stride, {self.kick / self.force:.0f} forces of the model. They take less time "
            f"than impulses at {SHORT_FS:g} fs, with twice as many evaluations, once a gradient "
            f"costs more than that ({1e3 * physics:.2g} ms here)."
        )


def averaging_cost(model: NetworkPotential, atoms: Atoms) -> AveragingCost:
    """Measure a mollified kick of a molecule; medians of 21 times.

    Parameters
    ----------
    model : NetworkPotential
    atoms : ase.Atoms
    """
    corrector, state = Mollified(), state_from_atoms(atoms, model.device)
    jump = make_jump(model, 0.5 * FS).bind(state)
    inner = jump.begin(state)
    kicks, forces = list[float](), list[float]()
    residual = torch.full_like(state.positions, 0.01)
    for _ in range(_TIMES):
        began = time.perf_counter()
        jump.begin(state)
        forces.append(time.perf_counter() - began)
        began = time.perf_counter()
        aim = corrector.aim(state, inner, LONG_FS * FS, jump)
        if aim is not None:
            pulled_back(aim, residual).sum().item()
        kicks.append(time.perf_counter() - began)
    return AveragingCost(statistics.median(kicks), statistics.median(forces))
