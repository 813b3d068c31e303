"""Running totals of a run."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass

from torch import Tensor

from kstep_integrators.fields import replaced
from kstep_integrators.notices import KStepWarning, milestone, warn_sparingly
from kstep_integrators.step.info import StepInfo

__all__ = ["Stats", "warn_of_changes"]


@dataclass(frozen=True)
class Stats:
    """Totals since the start of a run.

    Attributes
    ----------
    jumps : int
        Steps: strides travelled, fallbacks and rejected ones included.
    physics_evaluations : int
        1 at the start + 1 per jump + those of fallbacks, of moves of the volume, and of
        geometries a user edited.
    fallbacks : int
        Jumps that were undone and made with physics steps instead.
    shrinks : int
        How often a stride was halved, under ``on_error="shrink"``.
    exceeded : int
        Jumps beyond the tolerances that stand, under ``on_error="warn"``.
    accepted, flips : int
        Metropolized steps that were accepted at some chance, and those that ended in a reversal of
        the momenta. Both 0 without a Metropolis test.
    failures : int
        Metropolized steps and moves of the volume with a proposal rejected because its energy could
        not be computed.
    potential_failures : int
        Steps that were made otherwise, or rejected, as the potential raised or returned NaN.
    last_problem : str or None
        The last cause for any of these but an ordinary rejection.
    verifications : int
        Evaluations at positions whose energy had been estimated, to tell how good estimates are;
        they are not among ``physics_evaluations``.
    volume_moves, volume_accepted : int
        Moves of the volume that the barostat has tried, one evaluation each, and those accepted.
    volume_frozen : int or None
        The step from which their size changes no more: the isobaric ensemble is exact from there.
    volume : float or None
        Of the cell where a run with a barostat stands, angstrom^3.
    density : float or None
        There, g/cm^3.
    bond_changes : int
        Steps after which a bond was found broken or formed.
    jump_seconds, physics_seconds : float
        Wall-clock time in jumps (correctors included) and in physics evaluations.
    """

    jumps: int = 0
    physics_evaluations: int = 0
    fallbacks: int = 0
    shrinks: int = 0
    exceeded: int = 0
    accepted: int = 0
    flips: int = 0
    failures: int = 0
    potential_failures: int = 0
    last_problem: str | None = None
    verifications: int = 0
    volume_moves: int = 0
    volume_accepted: int = 0
    volume_frozen: int | None = None
    volume: float | None = None
    density: float | None = None
    bond_changes: int = 0
    jump_seconds: float = 0.0
    physics_seconds: float = 0.0
    _residual_squares: float = 0.0
    _residual_count: int = 0
    _energy_squares: float = 0.0
    _energy_count: int = 0
    _estimate_squares: float = 0.0

    @property
    def residual_rms(self) -> float | None:
        """Rms component of F_physics - F_potential over all landings, eV/angstrom, or None."""
        if not self._residual_count:
            return None
        return math.sqrt(self._residual_squares / self._residual_count)

    @property
    def residual_sum(self) -> tuple[float, int]:
        """Sum of squares of the components of the residual, (eV/angstrom)^2, and their count."""
        return self._residual_squares, self._residual_count

    @property
    def energy_error(self) -> float | None:
        """Rms error of the predicted change of potential energy per jump, eV, or None."""
        if not self._energy_count:
            return None
        return math.sqrt(self._energy_squares / self._energy_count)

    @property
    def estimate_error(self) -> float | None:
        """Rms error of estimated energies, eV, at the positions where they were verified."""
        if not self.verifications:
            return None
        return math.sqrt(self._estimate_squares / self.verifications)

    def charged(self, evaluations: int, seconds: float) -> Stats:
        """The totals with evaluations that no step has reported."""
        return dataclasses.replace(
            self,
            physics_evaluations=self.physics_evaluations + evaluations,
            physics_seconds=self.physics_seconds + seconds,
        )

    def with_volume_move(self, accepted: bool, failure: str | None) -> Stats:
        """The totals after one more move of the volume, and why it had no energy."""
        return dataclasses.replace(
            self,
            volume_moves=self.volume_moves + 1,
            volume_accepted=self.volume_accepted + accepted,
            failures=self.failures + (failure is not None),
            last_problem=self.last_problem if failure is None else f"volume move: {failure}",
        )

    def add(self, info: StepInfo, bonds_changed: bool = False) -> Stats:
        """The totals after one more step of one molecule."""
        stands = info.undone is None or not bool(info.undone[0])
        squares, count = _squares(info.residual if stands else None)
        error_squares, error_count = _squares(info.energy_error if stands else None)
        estimates = info.estimate_error
        if estimates is not None:
            estimates = estimates[estimates.isfinite()]
        estimate_squares, estimate_count = _squares(estimates)
        evaluations = 0 if info.evaluations is None else int(info.evaluations.sum())
        tested = 0 if info.verdict is None else len(info.verdict.accepted_at)
        accepted = 0 if info.verdict is None else int((info.verdict.accepted_at > 0).sum())
        return replaced(
            self,
            jumps=self.jumps + 1,
            fallbacks=self.fallbacks + len(info.fallbacks),
            shrinks=self.shrinks + sum(info.shrinks.values()),
            exceeded=self.exceeded + len(info.exceeded),
            accepted=self.accepted + accepted,
            flips=self.flips + tested - accepted,
            failures=self.failures + len(info.failures),
            potential_failures=self.potential_failures + _potential_failed(info),
            verifications=self.verifications + estimate_count,
            _estimate_squares=self._estimate_squares + estimate_squares,
            bond_changes=self.bond_changes + bonds_changed,
            last_problem=info.reason or self.last_problem,
            jump_seconds=self.jump_seconds + info.jump_seconds,
            physics_seconds=self.physics_seconds + info.physics_seconds,
            physics_evaluations=self.physics_evaluations + evaluations,
            _residual_squares=self._residual_squares + squares,
            _residual_count=self._residual_count + count,
            _energy_squares=self._energy_squares + error_squares,
            _energy_count=self._energy_count + error_count,
        )


def warn_of_changes(
    old: Stats, new: Stats, where: str, bonds: str | None, reason: str | None
) -> None:
    """Warn of what a step brought that the user of a run should know, now and then.

    Parameters
    ----------
    old, new : Stats
        Before and after the step.
    where : str
        Which step of which run.
    bonds : str or None
        Those that broke or formed.
    reason : str or None
        Why a jump that stands was beyond the tolerances.
    """
    _warn_of_rejections(old, new, where)
    _warn_of_fallbacks(old, new, where)
    before = (old.bond_changes, old.exceeded, old.potential_failures)
    if before == (new.bond_changes, new.exceeded, new.potential_failures):
        return
    if new.potential_failures > old.potential_failures:
        tested = new.failures > old.failures
        warn_sparingly(
            f"{where}: the potential failed: {str(new.last_problem).removeprefix('potential: ')}; "
            "the stride was "
            f"{'rejected' if tested else 'made with steps of the physics, k evaluations of it'}",
            old.potential_failures,
            new.potential_failures,
        )
    warn_sparingly(
        f"{where}: {bonds}. The model may not cover what follows",
        old.bond_changes,
        new.bond_changes,
    )
    warn_sparingly(
        f"{where}: {reason}; the jump stands, as on_error='warn'", old.exceeded, new.exceeded
    )


def _warn_of_rejections(old: Stats, new: Stats, where: str) -> None:
    """Warn of a Metropolized run that stands still: tens of strides, and not one accepted."""
    if new.accepted or new.flips == old.flips or (milestone(old.flips, new.flips) or 1) < 10:
        return
    advice = (
        "make the stride shorter (k, or StrideTuning), or take a potential that is nearer to the "
        "physics"
    )
    if new.failures:
        failed = new.failures if new.failures < new.flips else "all"
        advice = f"{failed} of them failed, the last with {new.last_problem}"
    warnings.warn(
        f"{where}: none of the {new.flips} strides so far was accepted, so the run stands where it "
        f"began; {advice} (next warning at {10 * new.flips})",
        KStepWarning,
        stacklevel=3,
    )


def _warn_of_fallbacks(old: Stats, new: Stats, where: str) -> None:
    """Warn of a run whose jumps are mostly undone, which is the physics at k times the cost."""
    reached = milestone(old.fallbacks, new.fallbacks) or 1
    if "_tolerance " in str(new.last_problem):  # which the user has asked for
        return
    if reached < 10 or 2 * new.fallbacks < new.jumps or 2 * new.potential_failures > new.fallbacks:
        return
    warnings.warn(
        f"{where}: {new.fallbacks} jumps in {new.jumps} strides were undone and made with steps of "
        f"the physics, k evaluations of it each, the last because {new.last_problem}; make the "
        "stride or the timestep shorter, or take a potential that is nearer to the physics "
        f"(next warning at {10 * reached})",
        KStepWarning,
        stacklevel=3,
    )


def _potential_failed(info: StepInfo) -> bool:
    """True if it was the potential that a stride was made otherwise for, or rejected."""
    reasons = {**info.fallbacks, **info.failures}
    return any(why.startswith("potential: ") for why in reasons.values())


def _squares(values: Tensor | None) -> tuple[float, int]:
    """Sum of squares, and count."""
    if values is None:
        return 0.0, 0
    if values.numel() == 1:  # as errors of an energy are
        value = float(values)
        return value * value, 1
    return float(values.square().sum()), values.numel()
