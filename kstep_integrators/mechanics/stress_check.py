"""The check of a stress: whether it is the derivative of the energy by the strain of the cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.mechanics.strain import STRAINS, strained
from kstep_integrators.state import PhaseState

__all__ = ["StressVerdict", "check_stress"]

_PROBE = torch.tensor([0.5, -0.3, 0.6, 0.3, -0.4, 0.2], dtype=torch.float64)
"""Strain of the check, xx, yy, zz, yz, xz, xy: no component of a stress goes unseen, nor does a
pressure or an exchange of two components."""
_SIZE = 2e-3
"""Of the smaller strain; the larger is twice as large."""
_NOISE = 2e-5
"""eV: about 1e-6 hartree, the convergence of energies."""
_RELATIVE, _PER_ATOM = 0.01, 1e-3
"""Of the virial, and eV per atom of it: what every method is granted."""


@dataclass(frozen=True)
class StressVerdict:
    """The stress of a method beside the differences of its energy along one strain of a cell.

    Attributes
    ----------
    wrong : bool
        Whether the stress is not the derivative of the energy, beyond doubt.
    found : float, eV/angstrom^3
        Change of the energy with the strain, over the volume.
    said : float, eV/angstrom^3
        What the stress says that it is.
    error_bar : float, eV/angstrom^3
        What of the difference may be the size of the strain and the convergence of the method.
    """

    wrong: bool
    found: float
    said: float
    error_bar: float

    def text(self) -> str:
        """The difference in a line, in GPa."""
        found, said, bar = (x / units.GPA for x in (self.found, self.said, self.error_bar))
        return (
            f"along a strain of the first cell the energy changes by {found:.4g} +- {bar:.1g} GPa "
            f"times the volume, where the stress says {said:.4g} GPa"
        )


def check_stress(
    state: PhaseState, energy: Callable[[PhaseState], float], virial: Tensor
) -> StressVerdict | None:
    """Compare a stress with differences of the energy: four energies, along one strain.

    Two central differences, of a strain and of twice the strain, are extrapolated, and their
    distance is part of the error bar.

    Parameters
    ----------
    state : PhaseState
        One molecule or replica, in a cell that is periodic in all directions.
    energy : callable
        Of a state, eV.
    virial : (6,) float64, eV
        The stress times the volume, in the order xx, yy, zz, yz, xz, xy.

    Returns
    -------
    StressVerdict or None
        None where there is no energy.
    """
    weights = _PROBE / _PROBE.norm()
    strain = torch.einsum("i,iab->ab", weights, STRAINS)
    slopes = []
    for size in (_SIZE, 2.0 * _SIZE):
        above, below = (energy(strained(state, sign * size * strain)) for sign in (1.0, -1.0))
        slopes.append((above - below) / (2.0 * size))
    if not all(map(math.isfinite, slopes)):
        return None
    near, far = slopes
    found, said = (4.0 * near - far) / 3.0, float(weights @ virial)
    granted = _RELATIVE * float(virial.norm()) + _PER_ATOM * len(state.numbers)
    bar = abs(far - near) + _NOISE / _SIZE + granted
    volume = float(torch.linalg.det(state.cell[0]).abs())
    wrong = not abs(found - said) <= bar
    return StressVerdict(wrong, found / volume, said / volume, bar / volume)
