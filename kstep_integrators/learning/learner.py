"""Learning from labels: blocks of them are graded and learned, and the potential follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import replaced
from kstep_integrators.learning.adapted import AdaptedPotential
from kstep_integrators.learning.drawn_rows import drawn_coordinates, drawn_strains
from kstep_integrators.learning.lessons import Example, Grade, Lessons
from kstep_integrators.learning.ridge import prior, update
from kstep_integrators.potentials.virial import potential_virial
from kstep_integrators.state import Evaluation, EvaluationFailed, PhaseState

__all__ = [
    "Learner",
    "base_at",
    "block_length",
    "first_lessons",
    "learn_pending",
    "make_learner",
    "relearned",
]

SINGLY = 100
"""Labels that are learned one by one, as long as each says much."""
SHARE = 50
"""Later on a block is the 50th part of what is known."""
HELD = 64
"""Examples that are kept to compare a refit with."""
RECENT = 8
"""Labels over which what is learned has to beat the base."""
ABSURD = 1.0
"""eV per atom, of ten at least; labels whose energy is off by more are those of something else."""
LARGEST = 50.0
"""eV/angstrom; labels of geometries with larger forces teach nothing about the rest."""
FORCE_NOISE = 0.3
"""(eV/angstrom)^2; variance of a component of the force that is not explained, where weights vary
by 1 eV: it regularizes. Anything from 0.1 to 1 does as well."""
ENERGY_NOISE = 0.03
"""eV^2; the same of an energy."""
VIRIAL_NOISE = 0.3
"""eV^2 per atom; the same of a stress times the volume."""
OFFSET_VARIANCE = 1e4
"""eV^2; of the offset of the energy of a molecule, which may be anything."""


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

    def state_of(self, example: Example) -> PhaseState:
        """The molecule of an example where it was computed, and in its cell."""
        state = self.states[example.molecule]
        device = state.positions.device
        positions, cell = example.positions.to(device), example.cell.to(device)
        return state.replace(positions=positions, cell=cell.unsqueeze(0))


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
    for state in states:
        potential.bind(state)
    return Learner(potential, tuple(states), tuple(kinds), columns)


def first_lessons(learner: Learner) -> Lessons:
    """Nothing learned yet."""
    weights = learner.potential.weights
    kinds = max(learner.kinds) + 1
    variance = torch.full(
        (len(learner.columns) + kinds,), learner.potential.weight_variance
    ).double()
    variance[-kinds:] = OFFSET_VARIANCE
    return Lessons(prior(variance), weights, weights, (None,) * kinds)


def relearned(learner: Learner, lessons: Lessons) -> Lessons:
    """Lessons that begin anew from the potential of a learner, after a refit."""
    fresh = first_lessons(learner)
    return replaced(
        fresh,
        grades=lessons.grades,
        labels=lessons.labels,
        refits_begun=lessons.refits_begun,
    )


def block_length(labels: int) -> int:
    """Labels to be learned together, when some have been learned."""
    return 1 if labels < SINGLY else labels // SHARE


@dataclass(frozen=True)
class _Rows:
    """An example as rows: forces, then virials, and last the energy.

    Attributes
    ----------
    design : (n, P)
    targets : (n,)
        Physics minus prior.
    noise : (n,)
    forces : int
        Rows of forces.
    """

    design: Tensor
    targets: Tensor
    noise: Tensor
    forces: int


def learn_pending(learner: Learner, lessons: Lessons, now: bool = False) -> Lessons:
    """Learn from the labels that wait, if they are a block.

    Parameters
    ----------
    learner : Learner
    lessons : Lessons
    now : bool
        Also from fewer than a block.

    Returns
    -------
    Lessons
        The same object, if nothing was to be learned.
    """
    if not lessons.learning or not lessons.pending:
        return lessons
    if not now and len(lessons.pending) < block_length(lessons.labels):
        return lessons
    before, offsets = lessons.posterior, list(lessons.offsets)
    learned: list[Example] = []
    posterior, grades = before, []
    for example in lessons.pending:
        rows = _rows(learner, example, offsets, lessons.labels + len(learned))
        if rows is None:
            continue
        forces = slice(0, rows.forces)
        of_base = rows.targets[forces]
        error = (rows.targets - rows.design @ before.mean)[forces]
        posterior, expected = update(posterior, rows.design, rows.targets, rows.noise)
        grades.append((error.square(), of_base.square(), expected.variance[forces]))
        learned.append(example)
    lessons = replaced(lessons, pending=())
    if not learned:
        return lessons
    lessons = replaced(
        lessons,
        posterior=posterior,
        offsets=tuple(offsets),
        held=(*lessons.held, *learned)[-HELD:],
        labels=lessons.labels + len(learned),
        grades=(*lessons.grades, _grade(grades, lessons.labels, learned[-1].step)),
    )
    if not _beats_base(lessons.grades):
        return replaced(lessons, trusted=False, weights=lessons.prior)
    weights = lessons.prior.clone().flatten()
    weights[learner.columns] += posterior.mean[: len(learner.columns)]
    return replaced(lessons, trusted=True, weights=weights.reshape(lessons.prior.shape))


def _rows(
    learner: Learner, example: Example, offsets: list[float | None], labels: int
) -> _Rows | None:
    """None for a geometry that teaches nothing, or where the base fails.

    A component of the force counts by the inverse mass of its atom, as its error acts on motion.
    """
    state, potential = learner.state_of(example), learner.potential
    if example.forces is not None and not bool((example.forces.abs() < LARGEST).all()):
        return None
    base = base_at(learner, state)
    if base is None:
        return None
    kind, width, kinds = learner.kinds[example.molecule], len(learner.columns), len(offsets)
    left = example.energy - float(base.energy[0])
    first = offsets[kind]
    if first is None:
        first = offsets[kind] = left
    if not abs(left - first) < ABSURD * max(10, len(state.numbers)):
        return None
    chosen, strains = drawn_coordinates(example, labels), drawn_strains(example, labels)
    features = potential.features(state, chosen, strains)
    parts, targets, noise = [features.forces], torch.zeros(0), torch.zeros(0)
    if example.forces is not None:
        missing = example.forces - base.require_forces().to(example.forces)
        light = 1.0 / state.masses.to(missing.device)
        each = FORCE_NOISE * light.mean() / light
        targets, noise = missing.flatten()[chosen], each.expand(-1, 3).flatten()[chosen]
    if example.stress is not None:
        volume = float(torch.linalg.det(example.cell).abs())
        known = potential_virial(potential, state)
        if bool(known.isfinite().all()):  # not every calculator takes every sheared cell
            parts.append(features.virials)
            targets = torch.cat([targets, (volume * example.stress - known)[strains]])
            noise = torch.cat(
                [noise, torch.full((len(strains),), VIRIAL_NOISE * len(state.numbers))]
            )
    targets = torch.cat([targets, torch.tensor([left - first])]).to(torch.float64)
    noise = torch.cat([noise, torch.tensor([ENERGY_NOISE])]).to(torch.float64)
    columns = torch.cat([*parts, features.energies.unsqueeze(0)]).cpu().flatten(1)
    design = torch.nn.functional.pad(columns[:, learner.columns], (0, kinds))
    design[-1, width + kind] = 1.0
    if not bool(targets.isfinite().all() and design.isfinite().all()):
        return None
    return _Rows(design, targets, noise, len(chosen))


def base_at(learner: Learner, state: PhaseState) -> Evaluation | None:
    """The potential with the weights of the prior at one geometry; None where it fails."""
    potential = learner.potential
    try:
        with torch.no_grad():
            base, _ = potential.bind(state)(state.positions.to(potential.device), None)
    except EvaluationFailed:
        return None
    return None if base.failures else base


def _grade(grades: Sequence[tuple[Tensor, Tensor, Tensor]], labels: int, step: int) -> Grade:
    def rms(parts: Sequence[Tensor]) -> float:
        together = torch.cat(list(parts))
        return math.sqrt(float(together.mean())) if len(together) else math.nan

    error, base, variance = zip(*grades, strict=True)
    return Grade(labels, len(grades), step, rms(error), rms(base), rms(variance))


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
