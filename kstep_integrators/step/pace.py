"""The stride of a run that learns: short at first, longer as its potential gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kstep_integrators import units
from kstep_integrators.fields import GLOBAL, replaced, scoped
from kstep_integrators.state import PhaseState, inverse_masses
from kstep_integrators.step.energy_watch import WATCHED, drifts
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
    energies : tuple of float
        Conserved energies since then, eV per atom.
    allowed : float
        Four times the trouble below which a stride grows: less than 1 after one that drifted.
    drifted : bool
        Whether the last change was made because the energy drifted.
    """

    levels: tuple[int, ...] = scoped(GLOBAL)
    level: int = scoped(GLOBAL, default=0)
    recent: tuple[float, ...] = scoped(GLOBAL, default=())
    step: int = scoped(GLOBAL, default=0)
    energies: tuple[float, ...] = scoped(GLOBAL, default=())
    allowed: float = scoped(GLOBAL, default=1.0)
    drifted: bool = scoped(GLOBAL, default=False)

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


def next_pace(
    pace: Pace,
    trouble: float | None,
    step: int,
    energy: float | None = None,
    timestep: float = units.FS,
) -> Pace:
    """The pace after one more landing.

    A doubled stride has four times the kick, so it grows where a quarter of what is allowed has
    not been reached. Small kicks may still heat, as they follow one another like noise where a
    liquid changes with every contact: a stride whose energy drifts is halved, and comes back when
    the error has been halved, or the energy has not drifted for long.

    Parameters
    ----------
    pace : Pace
    trouble : float or None
        From :func:`trouble_of`.
    step : int
        Steps that the run has made.
    energy : float or None
        That is to be conserved, eV per atom; None if nothing is, or it is not known.
    timestep : float
        Base step, ASE time units.
    """
    if len(pace.levels) == 1:
        return pace
    pace = replaced(pace, energies=() if energy is None else (*pace.energies, energy)[-WATCHED:])
    if pace.level and drifts(pace.energies, pace.k * timestep):
        allowed = min(pace.allowed, 0.25 * _mean(pace.recent)) if pace.recent else pace.allowed
        return replaced(_at(pace, pace.level - 1, step), allowed=allowed, drifted=True)
    if len(pace.energies) == WATCHED and pace.allowed < 1.0:
        pace = replaced(pace, allowed=min(1.0, 2.0 * pace.allowed), energies=())
    if trouble is None:
        return pace
    recent = (*pace.recent, trouble)[-LANDINGS:]
    level = pace.level
    if _mean(recent[-2:]) > TOO_MUCH or math.isinf(trouble):
        level = max(0, level - 1)
    elif len(recent) == LANDINGS and 4.0 * _mean(recent) < pace.allowed:
        level = min(len(pace.levels) - 1, level + 1)
    if level == pace.level:
        return replaced(pace, recent=recent)
    return _at(pace, level, step)


def _at(pace: Pace, level: int, step: int) -> Pace:
    """The pace at another level."""
    return replaced(pace, level=level, recent=(), energies=(), step=step, drifted=False)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
