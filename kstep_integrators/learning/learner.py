"""Learning from labels: blocks of them are graded, added to the equations, and solved for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import replaced
from kstep_integrators.learning.adapted import AdaptedPotential
from kstep_integrators.learning.lessons import Example, Grade, Lessons
from kstep_integrators.learning.ridge import Equations, Posterior, add_rows, no_equations, solve
from kstep_integrators.state import BoundPotential, EvaluationFailed, PhaseState

__all__ = ["Learner", "block_length", "first_lessons", "learn_pending", "make_learner"]

SINGLY = 100
"""Labels that are learned one by one, as long as each says much."""
SHARE = 50
"""Later on a block is this share of what is known."""
HELD = 64
"""Examples that are kept to compare a refit with."""
RECENT = 8
"""Labels over which what is learned has to beat the base."""
LARGEST = 50.0
"""eV/angstrom; labels of geometries with larger forces teach nothing about the rest."""

PRECISION = 0.03
"""Of the prior, relative to what one label says of the average weight."""
ENERGY = 0.1
"""Importance of an energy beside that of a component of the force, 1/angstrom^2, per atom."""


@dataclass(frozen=True)
class Learner:
    """All that learning needs beside what has been learned.

    Attributes
    ----------
    potential : AdaptedPotential
        With the weights of the prior.
    states : tuple of PhaseState
        One for each molecule.
    kinds : tuple of int
        Which molecules are of the same composition.
    columns : (P,) int64
        Weights of the elements that occur, among all S x D.
    """

    potential: AdaptedPotential
    states: tuple[PhaseState, ...]
    kinds: tuple[int, ...]
    columns: Tensor
    bases: tuple[BoundPotential, ...]

    @property
    def size(self) -> int:
        """Unknowns: weights, and an offset of the energy for each kind of molecule."""
        return len(self.columns) + max(self.kinds) + 1


def make_learner(potential: AdaptedPotential, states: Sequence[PhaseState]) -> Learner:
    """A learner for the molecules of a run.

    Parameters
    ----------
    potential : AdaptedPotential
        Whose weights are the prior.
    states : sequence of PhaseState
        One for each molecule.

    Raises
    ------
    ValueError
        If the potential does not cover them.
    """
    formulas: list[tuple[int, ...]] = []
    kinds, used = [], set[int]()
    for state in states:
        formula = tuple(sorted(state.numbers.tolist()))
        if formula not in formulas:
            formulas.append(formula)
        kinds.append(formulas.index(formula))
        used |= set(potential.species(state.numbers).tolist())
    width = potential.weights.shape[1]
    columns = torch.cat([torch.arange(width) + s * width for s in sorted(used)])
    bases = tuple(potential.bind(state) for state in states)
    return Learner(potential, tuple(states), tuple(kinds), columns, bases)


def first_lessons(learner: Learner) -> Lessons:
    """Nothing learned yet."""
    weights = learner.potential.weights
    offsets = (None,) * (max(learner.kinds) + 1)
    return Lessons(no_equations(learner.size), weights, weights, weights, offsets)


def block_length(labels: int) -> int:
    """Labels to be learned together, when some have been learned."""
    return 1 if labels < SINGLY else max(1, labels // SHARE)


@dataclass(frozen=True)
class _Rows:
    """One example as rows of the equations."""

    design: Tensor  # (3 N, P) eV/angstrom per eV
    force: Tensor  # (3 N,) residual of the prior
    energy_row: Tensor  # (P,)
    energy: float  # physics minus prior


def learn_pending(learner: Learner, lessons: Lessons) -> Lessons:
    """Learn from the labels that wait, if they are a block.

    Parameters
    ----------
    learner : Learner
    lessons : Lessons

    Returns
    -------
    Lessons
        The same object, if nothing was to be learned.
    """
    if not lessons.learning or len(lessons.pending) < block_length(lessons.labels):
        return lessons
    posterior = None
    if lessons.labels:
        posterior = solve(lessons.equations, _precision(learner, lessons))
    equations, offsets = lessons.equations, list(lessons.offsets)
    grades: list[tuple[Tensor, Tensor, Tensor | None]] = []
    learned = []
    for example in lessons.pending:
        rows = _rows(learner, example)
        if rows is None:
            continue
        grades.append(_graded(rows, posterior, learner))
        kind = learner.kinds[example.molecule]
        if offsets[kind] is None:
            offsets[kind] = rows.energy
        equations = _taught(equations, learner, rows, kind, float(offsets[kind] or 0.0))
        learned.append(example)
    lessons = replaced(lessons, pending=())
    if not learned:
        return lessons
    known = lessons.labels + len(learned)
    lessons = replaced(
        lessons,
        equations=equations,
        offsets=tuple(offsets),
        held=(*lessons.held, *learned)[-HELD:],
        labels=known,
        grades=(*lessons.grades, _grade(grades, lessons.labels, learned[-1].step)),
    )
    mean = solve(equations, _precision(learner, lessons)).mean
    solved = lessons.prior.clone().flatten()
    solved[learner.columns] += mean[: len(learner.columns)]
    solved = solved.reshape(lessons.prior.shape)
    trusted = _beats_base(lessons.grades)
    weights = solved if trusted else lessons.prior
    return replaced(lessons, solved=solved, trusted=trusted, weights=weights)


def _rows(learner: Learner, example: Example) -> _Rows | None:
    """None for a geometry that teaches nothing, or where the base fails."""
    state, potential = learner.states[example.molecule], learner.potential
    if example.forces is not None and not bool((example.forces.abs() < LARGEST).all()):
        return None
    try:
        there = example.positions.to(potential.device)
        with torch.no_grad():
            base, _ = learner.bases[example.molecule](there, None)
    except EvaluationFailed:
        return None
    if base.failures:
        return None
    features = potential.features(state.numbers, example.positions, example.forces is not None)
    columns = learner.columns
    energy = example.energy - float(base.energy[0])
    energy_row = features.energies.cpu().flatten()[columns]
    if features.forces is None or example.forces is None:
        none = torch.zeros(0, dtype=torch.float64)
        return _Rows(none.new_zeros(0, len(columns)), none, energy_row, energy)
    design = features.forces.cpu().flatten(1)[:, columns]
    left = example.forces - base.require_forces().to(example.forces)
    return _Rows(design, left.flatten(), energy_row, energy)


def _taught(
    equations: Equations, learner: Learner, rows: _Rows, kind: int, offset: float
) -> Equations:
    width, size = len(learner.columns), learner.size
    design = rows.design.new_zeros(len(rows.force) + 1, size)
    design[:-1, :width] = rows.design
    design[-1, :width] = rows.energy_row
    design[-1, width + kind] = 1.0
    targets = torch.cat([rows.force, rows.force.new_tensor([rows.energy - offset])])
    importance = torch.ones_like(targets)
    importance[-1] = ENERGY * len(learner.states[0].numbers)
    return add_rows(equations, design, targets, importance)


def _precision(learner: Learner, lessons: Lessons) -> Tensor:
    """Diagonal of the prior's precision; next to none for offsets of the energy."""
    width = len(learner.columns)
    trace = float(lessons.equations.gram.diagonal()[:width].sum())
    average = trace / (width * lessons.labels)
    precision = torch.full((learner.size,), PRECISION * average, dtype=torch.float64)
    precision[width:] = 1e-9 * average + 1e-12
    return precision


def _graded(
    rows: _Rows, posterior: Posterior | None, learner: Learner
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Squares of the residual with what is known, of the base, and predicted variances."""
    of_base = rows.force.square()
    if posterior is None:
        return of_base, of_base, None
    width = len(learner.columns)
    left = rows.force - rows.design @ posterior.mean[:width]
    design = torch.nn.functional.pad(rows.design, (0, learner.size - width))
    return left.square(), of_base, posterior.deviation(design).square()


def _grade(grades: list[tuple[Tensor, Tensor, Tensor | None]], labels: int, step: int) -> Grade:
    def rms(parts: Sequence[Tensor | None]) -> float:
        known = [part for part in parts if part is not None and len(part)]
        return math.sqrt(float(torch.cat(known).mean())) if known else math.nan

    left, base, predicted = zip(*grades, strict=True)
    return Grade(labels, len(grades), step, rms(left), rms(base), rms(predicted))


def _beats_base(grades: Sequence[Grade]) -> bool:
    """True if what was learned is better than the base over the last labels, or nothing tells."""
    learned = base = 0.0
    seen = 0
    for grade in reversed(grades):
        if seen >= RECENT or grade.labels == 0:
            break
        if not math.isnan(grade.residual):
            learned += grade.count * grade.residual**2
            base += grade.count * grade.of_base**2
        seen += grade.count
    return learned <= base


def relearned(learner: Learner, lessons: Lessons) -> Lessons:
    """Lessons that begin anew from the potential of a learner, after a refit."""
    fresh = first_lessons(learner)
    return dataclasses.replace(
        fresh,
        grades=lessons.grades,
        labels=lessons.labels,
        refits=lessons.refits + 1,
        pending=lessons.pending,
    )
