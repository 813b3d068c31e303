"""Burn-in of a Metropolized run: which stride travels farthest for one evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from kstep_integrators.arguments import positive_integer
from kstep_integrators.step.metropolis import Verdict

__all__ = ["BurnIn", "StrideTuning", "begin_tuning"]


@dataclass(frozen=True)
class StrideTuning:
    """Strides to be tried in a burn-in, in turn, so that all see the same part of the run.

    Given as ``k``, it makes the first ``len(candidates) * jumps`` steps of a Metropolized run a
    burn-in. Then the stride is frozen at the candidate that travelled farthest for each evaluation:
    the mean of (stride times the chance at which it was accepted, 0 if it was rejected) over the
    mean number of evaluations. A stride that went on adapting would leave the canonical ensemble.

    Attributes
    ----------
    candidates : tuple of int
        Base steps per stride.
    jumps : int
        Steps with each.

    Raises
    ------
    ValueError
        If there are fewer than two candidates, or a number is not a positive integer.
    TypeError
        If candidates are not several numbers.

    Examples
    --------
    >>> from kstep_integrators import StrideTuning
    >>> StrideTuning((20, 50, 100), jumps=10).steps  # KStepDynamics(..., k=StrideTuning(...))
    30
    """

    candidates: tuple[int, ...] = (20, 50, 100, 200, 400)
    jumps: int = 20

    def __post_init__(self) -> None:
        candidates: object = vars(self)["candidates"]
        if isinstance(candidates, str | bytes) or not isinstance(candidates, Iterable):
            raise TypeError(
                f"candidates are {candidates!r}, expected several numbers of base steps, such as "
                "(20, 50, 100); for a single stride pass k=... itself"
            )
        object.__setattr__(
            self,
            "candidates",
            tuple(
                positive_integer("an entry of candidates", one, "base steps per stride")
                for one in candidates
            ),
        )
        if len(set(self.candidates)) < 2 or len(set(self.candidates)) < len(self.candidates):
            raise ValueError(
                f"candidates are {self.candidates}, expected at least two different numbers of "
                "base steps; for a single stride pass k=... itself"
            )
        positive_integer("jumps", self.jumps, "steps with each candidate")

    @property
    def steps(self) -> int:
        """Length of the burn-in."""
        return self.jumps * len(self.candidates)


@dataclass(frozen=True)
class BurnIn:
    """Results of a burn-in so far.

    Attributes
    ----------
    candidates : tuple of int
    jumps : int
        As in :class:`StrideTuning`.
    travelled : tuple of int
        Base steps, of each candidate.
    evaluations : tuple of int
        Of each candidate.
    steps : int
        Made so far.
    """

    candidates: tuple[int, ...]
    jumps: int
    travelled: tuple[int, ...]
    evaluations: tuple[int, ...]
    steps: int = 0

    @property
    def k(self) -> int:
        """Base steps of the next stride."""
        return self.candidates[self.steps % len(self.candidates)]

    @property
    def over(self) -> bool:
        """True when all has been tried."""
        return self.steps >= self.jumps * len(self.candidates)

    def add(self, verdict: Verdict, evaluations: int) -> BurnIn:
        """With one more step, of the stride whose turn it was."""
        here = self.steps % len(self.candidates)
        travelled, spent = list(self.travelled), list(self.evaluations)
        travelled[here] += self.k * int(verdict.accepted_at.sum())
        spent[here] += evaluations
        return dataclasses.replace(
            self, travelled=tuple(travelled), evaluations=tuple(spent), steps=self.steps + 1
        )

    @property
    def reach(self) -> tuple[float, ...]:
        """Base steps travelled for each evaluation, of each candidate."""
        pairs = zip(self.travelled, self.evaluations, strict=True)
        return tuple(far / max(1, spent) for far, spent in pairs)

    @property
    def best(self) -> int:
        """The candidate with the longest reach; the shortest of them, if none ever moved."""
        reach = self.reach
        if not any(reach):
            return min(self.candidates)
        return self.candidates[reach.index(max(reach))]


def begin_tuning(tuning: StrideTuning) -> BurnIn:
    """A burn-in before its first step."""
    none = (0,) * len(tuning.candidates)
    return BurnIn(tuning.candidates, tuning.jumps, none, none)
