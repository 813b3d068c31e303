"""Running totals of a run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from kstep_integrators.stepper import StepInfo

__all__ = ["Stats"]


@dataclass(frozen=True)
class Stats:
    """Totals since the start of a run.

    Attributes
    ----------
    jumps : int
        Steps: strides travelled, fallbacks and rejected ones included.
    physics_evaluations : int
        1 at the start + 1 per jump + those of fallbacks and of geometries a user edited.
    fallbacks : int
        Jumps that were undone and made with physics steps instead.
    last_fallback : str or None
        Why, the last time.
    accepted, flips : int
        Metropolized steps that were accepted at some chance, and those that ended in a reversal of
        the momenta. Both 0 without a Metropolis test.
    failures : int
        Metropolized steps with a proposal rejected because its energy could not be computed.
    last_failure : str or None
        Why, the last time.
    jump_seconds, physics_seconds : float
        Wall-clock time in jumps (correctors included) and in physics evaluations.
    """

    jumps: int = 0
    physics_evaluations: int = 0
    fallbacks: int = 0
    last_fallback: str | None = None
    accepted: int = 0
    flips: int = 0
    failures: int = 0
    last_failure: str | None = None
    jump_seconds: float = 0.0
    physics_seconds: float = 0.0
    _residual_squares: float = 0.0
    _residual_count: int = 0
    _energy_squares: float = 0.0
    _energy_count: int = 0

    @property
    def residual_rms(self) -> float | None:
        """Rms component of F_physics - F_potential over all landings, eV/angstrom, or None."""
        if not self._residual_count:
            return None
        return math.sqrt(self._residual_squares / self._residual_count)

    @property
    def energy_error(self) -> float | None:
        """Rms error of the predicted change of potential energy per jump, eV, or None."""
        if not self._energy_count:
            return None
        return math.sqrt(self._energy_squares / self._energy_count)

    def add(self, info: StepInfo) -> Stats:
        """The totals after one more step."""
        residual, error = info.residual, info.energy_error
        tested = 0 if info.verdict is None else len(info.verdict.accepted_at)
        accepted = 0 if info.verdict is None else int((info.verdict.accepted_at > 0).sum())
        return dataclasses.replace(
            self,
            jumps=self.jumps + 1,
            fallbacks=self.fallbacks + (info.fallback is not None),
            last_fallback=info.fallback or self.last_fallback,
            accepted=self.accepted + accepted,
            flips=self.flips + tested - accepted,
            failures=self.failures + (info.failure is not None),
            last_failure=info.failure or self.last_failure,
            jump_seconds=self.jump_seconds + info.jump_seconds,
            _residual_squares=self._residual_squares
            + (0.0 if residual is None else float(residual.square().sum())),
            _residual_count=self._residual_count + (0 if residual is None else residual.numel()),
            _energy_squares=self._energy_squares
            + (0.0 if error is None else float(error.square().sum())),
            _energy_count=self._energy_count + (0 if error is None else error.numel()),
        )
