"""Where jumps begin to pay, in seconds for each evaluation of the physics."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_integrators.cli.demo.records import RunRecord

__all__ = ["BreakEven", "break_even"]


@dataclass(frozen=True)
class BreakEven:
    """How the wall-clock gain of jumps depends on the cost t of a physics evaluation.

    For the same simulated time, a run costs evaluations * (t + overhead), so that the gain is

        n_reference (t + o_reference) / (n_jumps (t + o_jumps)).

    Attributes
    ----------
    evaluations_reference, evaluations_jumps : int
        Physics evaluations counted in each run.
    overhead_reference, overhead_jumps : float
        Seconds outside the physics for each evaluation; for jumps, this is mostly the jump.
    """

    evaluations_reference: int
    evaluations_jumps: int
    overhead_reference: float
    overhead_jumps: float

    def gain(self, evaluation_seconds: float) -> float:
        """Wall-clock speed-up for physics of the given cost in seconds."""
        reference = self.evaluations_reference * (evaluation_seconds + self.overhead_reference)
        return reference / (self.evaluations_jumps * (evaluation_seconds + self.overhead_jumps))

    @property
    def seconds(self) -> float | None:
        """Cost of an evaluation above which jumps save time; None if they save no evaluations."""
        saved = self.evaluations_reference - self.evaluations_jumps
        if saved <= 0:
            return None
        outside = (
            self.evaluations_jumps * self.overhead_jumps
            - self.evaluations_reference * self.overhead_reference
        )
        return max(outside / saved, 0.0)


def break_even(reference: RunRecord, jumps: RunRecord) -> BreakEven:
    """Break-even between two runs of the same simulated time."""
    return BreakEven(
        evaluations_reference=reference.n_evaluations,
        evaluations_jumps=jumps.n_evaluations,
        overhead_reference=reference.overhead_seconds,
        overhead_jumps=jumps.overhead_seconds,
    )
