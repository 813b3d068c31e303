"""The stride of a run that learns: short at first, longer as its potential gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kstep_integrators import units
from kstep_integrators.fields import GLOBAL, replaced, scoped
from kstep_integrators.state import PhaseState, inverse_masses
from kstep_integrators.step.info import StepInfo

__all__ = ["Pace", "begin_pace", "next_pace", "trouble_of"]

FIRST_STRIDE = 1.0 * units.FS
"""Longest first stride, ASE time units: what velocity Verlet on the physics alone would bear."""
LANDINGS = 4
"""Landings that are looked at before a stride grows."""
KICK = 1e-3
"""eV per atom; kinetic energy of the correcting kicks of one stride that counts as 1."""
ERROR = 2e-3
"""eV per atom; error of the predicted energy, where nothing is kicked, that counts as 1."""
TOO_MUCH = 2.0
"""Trouble at which a stride is halved."""


@dataclass(frozen=True)
class Pace:
    """How long a stride may be at present.

    Attributes
    ----------
    levels : tuple of int
        Base steps to choose from, ascending; the last is the k asked for.
    level : int
    recent : tuple of float
        Trouble of the landings since the last change: 1 is as much as a stride may have.
    step : int
        Of the run, at the last change.
    """

    levels: tuple[int, ...] = scoped(GLOBAL)
    level: int = scoped(GLOBAL, default=0)
    recent: tuple[float, ...] = scoped(GLOBAL, default=())
    step: int = scoped(GLOBAL, default=0)

    @property
    def k(self) -> int:
        """Base steps of the next stride."""
        return self.levels[self.level]


def begin_pace(k: int, timestep: float, grow: bool = True) -> Pace:
    """The pace of a run that begins.

    Parameters
    ----------
    k : int
        Base steps that are asked for.
    timestep : float
        Base step, ASE time units.
    grow : bool
        False: k from the start on, and always.
    """
    levels = [k]
    while grow and levels[0] > 1 and levels[0] * timestep > FIRST_STRIDE * (1.0 + 1e-9):
        levels.insert(0, -(-levels[0] // 2))
    return Pace(tuple(levels))


def trouble_of(
    info: StepInfo, state: PhaseState, stride: float, force: Tensor | None, kelvin: float | None
) -> float | None:
    r"""The error of one landing, of which 1 is as much as a stride may have.

    Under a Metropolis test, the rise of the total energy over 2 kT. Where the corrector kicks, the
    kinetic energy :math:`\overline{(h F)^2 / 2m}` of the correcting force F over the stride h,
    which counts light atoms as they heat. Else the error of the predicted energy.

    Parameters
    ----------
    info : StepInfo
        Of all molecules.
    state : PhaseState
        Where they landed.
    stride : float
        ASE time units.
    force : (N, 3) Tensor or None
        That the corrector kicks by, eV/angstrom; None if it does not.
    kelvin : float or None
        Of the Metropolis test.

    Returns
    -------
    float or None
        Infinite if a jump was undone; None if nothing is known.
    """
    if info.fallbacks or info.undone is not None:
        return math.inf
    if kelvin is not None:
        if info.verdict is None:
            return None
        change = info.verdict.first_change.clamp(min=0.0) / (2.0 * units.KB * kelvin)
        return float(change.mean())
    if force is not None:
        kicks = (stride * force).square() * (0.5 * inverse_masses(state))
        return float(kicks.sum()) / len(state.numbers) / KICK
    if info.energy_error is None:
        return None
    return float(info.energy_error.abs().sum()) / len(state.numbers) / ERROR


def next_pace(pace: Pace, trouble: float | None, step: int) -> Pace:
    """The pace after one more landing.

    A doubled stride has four times the kick, so it grows where a quarter of what is allowed has
    not been reached.

    Parameters
    ----------
    pace : Pace
    trouble : float or None
        From :func:`trouble_of`.
    step : int
        Steps that the run has made.
    """
    if trouble is None or len(pace.levels) == 1:
        return pace
    recent = (*pace.recent, trouble)[-LANDINGS:]
    if _mean(recent[-2:]) > TOO_MUCH or math.isinf(trouble):
        level = max(0, pace.level - 1)
    elif len(recent) == LANDINGS and 4.0 * _mean(recent) < 1.0:
        level = min(len(pace.levels) - 1, pace.level + 1)
    else:
        return replaced(pace, recent=recent)
    if level == pace.level:
        return replaced(pace, recent=recent)
    return replaced(pace, level=level, recent=(), step=step)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
