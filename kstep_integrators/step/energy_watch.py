"""Drift of the energy that a run ought to conserve, seen from its last landings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kstep_integrators.units import MEV, PS

__all__ = ["DRIFT", "WATCHED", "drifts"]

LEAST, WATCHED = 64, 256
"""Landings from which a drift is told, and the last that are looked at."""
DRIFT = 1.0 * MEV / PS
"""eV per atom and ASE time unit; warms by some 4 K in a picosecond."""
RISE = 0.5 * MEV
"""eV per atom; less than this may yet come back, as energies wander in a molecule of few atoms."""
CERTAIN = 3.0
"""Rise of the mean, over the scatter about it, that is no chance."""


def drifts(energies: Sequence[float], stride: float) -> bool:
    """Tell a drift from what the energy fluctuates by.

    The means of the first and the last quarter differ by more than the scatter about the means of
    the quarters would let them, and by more than what does no harm; and it goes on: what the energy
    did while a potential learned its first labels is over.

    Parameters
    ----------
    energies : sequence of float
        Conserved energies at landings in a row, eV per atom.
    stride : float
        From one to the next, ASE time units.

    Examples
    --------
    >>> from kstep_integrators import units
    >>> rise = 2e-5 * np.arange(64)  # eV per atom in each stride
    >>> drifts(rise, 4.0 * units.FS), drifts(0.2 * rise, 4.0 * units.FS)
    (True, False)
    """
    if len(energies) < LEAST:
        return False
    values = np.asarray(energies[-(len(energies) - len(energies) % 4) :])
    quarters = values.reshape(4, -1)
    means = quarters.mean(axis=1)
    rise = abs(float(means[3] - means[0]))
    last = float(np.sign(means[3] - means[0]) * (means[3] - means[2]))
    if last < rise / 6.0:  # half of the mean of the three
        return False
    # About a line in each: a steady drift is no scatter.
    time = np.arange(quarters.shape[1]) - 0.5 * (quarters.shape[1] - 1)
    slopes = (quarters @ time) / (time @ time)
    left = quarters - means[:, None] - slopes[:, None] * time
    scatter = float(np.sqrt(np.mean(left**2)))
    return rise > max(RISE, DRIFT * 0.75 * len(values) * stride, CERTAIN * scatter)
