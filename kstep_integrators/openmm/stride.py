"""C J C in the words of a CustomIntegrator: what the physics and the jump are asked, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kstep_integrators.openmm import stages
from kstep_integrators.openmm.plan import Plan
from kstep_integrators.openmm.words import Words

__all__ = ["ask", "evaluate", "stride"]

_IMPULSE: Final = "v + 0.5*dt*correction/m"


def evaluate(words: Words, plan: Plan) -> None:
    """One evaluation of the physics: all force groups but the jump's."""
    if plan.needs_forces:
        words.each("force", "f")
    words.set("potential", "energy")
    words.set("evaluations", "evaluations + 1")


def ask(words: Words, stage: int, vector: str = "dx", number: str = "ignored") -> None:
    """Ask the jump's force in one stage; see :mod:`kstep_integrators.openmm.stages`."""
    words.set("stage", f"{stage}")
    words.each(vector, "answer")
    words.set(number, "verdict")


@contextmanager
def stride(words: Words, plan: Plan) -> Iterator[None]:
    """C J C with one evaluation. What is added inside is done where it has landed.

    ``failed`` says whether it has.
    """
    words.set("failed", f"{stages.FINE}")
    if plan.kicks_before:
        with words.when("known < 1"):
            ask(words, stages.POSITIONS)
            _correct(words)
    with words.when("failed < 1"):
        if plan.kicks_before:
            words.each("v", _IMPULSE)
        _jump(words, plan)
        with words.when("failed < 1"):
            evaluate(words, plan)
            words.set("known", "1")
            if not plan.needs_forces:
                yield
                return
            _correct(words)
            with words.when("failed < 1"):
                if plan.corrects:
                    words.each("v", _IMPULSE)
                yield


def _jump(words: Words, plan: Plan) -> None:
    """J. The jump is told positions and velocities, and asked for the change of both.

    It lands on the constraints by itself.
    """
    words.each("here", "x")
    ask(words, stages.POSITIONS)
    words.set("seconds", "seconds + ignored")
    if plan.told_forces:
        words.each("x", "force")
        ask(words, stages.FORCES)
    words.each("x", "v")
    ask(words, stages.FLOW, "dx", "failed")
    words.set("watched", "max(0, -failed)")
    words.set("failed", "max(0, failed)")
    ask(words, stages.VELOCITIES, "dv", "predicted")
    words.each("x", "here + dx")
    words.each("v", "v + dv")
    words.set("stage", f"{stages.IDLE}")


def _correct(words: Words) -> None:
    """The correcting force at the positions that the jump was last told or has landed at."""
    words.each("here", "x")
    words.each("x", "force")
    ask(words, stages.CORRECTION, "correction", "residual")
    words.each("x", "here")
    words.set("stage", f"{stages.IDLE}")
    words.set("failed", "max(0, -residual)")
