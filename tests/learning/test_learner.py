"""Labels in, weights out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from kstep_integrators import CalculatorPotential
from kstep_integrators.fields import replaced
from kstep_integrators.learning import learner as module
from kstep_integrators.learning.learner import (
    HELD,
    block_length,
    first_lessons,
    learn_pending,
    make_learner,
    relearned,
)
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import cheap, physics, potential
from tests.learning.lessons import example, student, taught


def error(learner, lessons, truth, seed=1000, name="ethanol"):
    """Rms component of the error of the force at a geometry that was not learned, eV/angstrom."""
    label = example(truth, seed, name)
    bound = learner.potential.with_weights(lessons.weights).bind(learner.states[0])
    found, _ = bound(label.positions, None)
    return float((found.require_forces() - label.forces).square().mean().sqrt())


def test_what_the_readout_can_represent_is_recovered(monkeypatch):
    """Physics of known weights: to 1 meV/angstrom, if the noise says that all can be explained."""
    truth, learner = potential("linear"), student()
    labels = [example(truth, seed) for seed in range(1, 31)]
    usual = taught(learner, labels)
    of_base = error(learner, first_lessons(learner), truth)
    assert of_base > 1.5
    assert error(learner, usual, truth) < of_base / 30.0
    monkeypatch.setattr(module, "FORCE_NOISE", 1e-8)
    exact = taught(learner, labels)
    assert error(learner, exact, truth) < 1e-3
    first, last = exact.grades[1], exact.grades[-1]
    assert last.residual < 1e-3 < first.residual
    assert (last.labels, last.count, last.step) == (29, 1, 30)
    assert exact.labels == 30


def test_a_label_is_the_better_known_the_more_were_learned():
    truth, learner = potential("linear"), student()
    grades = taught(learner, [example(truth, seed) for seed in range(1, 21)]).grades
    assert grades[0].residual == grades[0].of_base
    assert grades[-1].predicted < 0.5 * grades[1].predicted
    assert grades[-1].residual < 0.1 * grades[0].residual


def test_where_the_base_is_the_physics_nothing_is_learned():
    learner = student(cheap())
    lessons = taught(learner, [example(cheap(), seed) for seed in range(1, 12)])
    assert not lessons.weights.any()
    assert lessons.trusted
    assert all(grade.residual == grade.of_base == 0.0 for grade in lessons.grades)


def test_labels_that_mislead_leave_the_base():
    """Ten labels of one physics, then eight of another, far from it and near the base."""
    base = cheap(depth=1.8)
    learner = student(base)
    astray = taught(learner, [example(cheap(depth=9.0), seed) for seed in range(1, 11)])
    assert astray.trusted
    assert astray.weights.any()
    back = taught(learner, [example(base, seed) for seed in range(11, 19)], astray)
    assert not back.trusted
    assert not back.weights.any()
    assert back.posterior.mean.any()  # it learns on, and may be trusted again
    again = taught(learner, [example(cheap(depth=9.0), seed) for seed in range(31, 39)], back)
    assert again.trusted
    assert again.weights.any()


def test_blocks_grow_with_what_is_known():
    assert [block_length(n) for n in (0, 1, 99, 100, 149, 150, 1000)] == [1, 1, 1, 2, 2, 3, 20]
    truth, learner = potential("linear"), student()
    lessons = replaced(first_lessons(learner), labels=150)
    label = example(truth, 1)
    for waiting in (1, 2):
        lessons = replaced(lessons, pending=(label,) * waiting)
        assert learn_pending(learner, lessons) is lessons
    block = learn_pending(learner, replaced(lessons, pending=(label,) * 3))
    assert (block.labels, block.pending, block.grades[-1].count) == (153, (), 3)


def test_a_block_is_graded_by_what_was_known_before_it():
    truth, learner = potential("linear"), student()
    labels = [example(truth, seed) for seed in range(1, 5)]
    together = learn_pending(learner, replaced(first_lessons(learner), pending=tuple(labels)))
    (grade,) = together.grades
    assert grade.residual == grade.of_base  # nothing was known
    one_by_one = taught(learner, labels)
    assert len(one_by_one.grades) == 4
    torch.testing.assert_close(together.weights, one_by_one.weights, rtol=0, atol=1e-9)


def test_nothing_is_learned_when_frozen_or_from_nothing():
    learner = student()
    fresh = first_lessons(learner)
    assert learn_pending(learner, fresh) is fresh
    frozen = replaced(fresh, frozen_at=3, pending=(example(potential("linear"), 1),))
    assert not frozen.learning
    assert learn_pending(learner, frozen) is frozen


def test_energies_alone():
    truth, learner = potential("linear"), student()
    labels = [example(truth, seed, forces=False) for seed in range(1, 31)]
    lessons = taught(learner, labels)
    assert lessons.labels == 30
    assert all(math.isnan(grade.residual) for grade in lessons.grades)
    bound = learner.potential.with_weights(lessons.weights).bind(learner.states[0])
    base = learner.potential.bind(learner.states[0])

    def spread(of):
        """Of what it is off by, which may be a constant."""
        off = [
            float(of(one.positions, None)[0].energy[0]) - one.energy
            for one in (example(truth, seed) for seed in range(100, 120))
        ]
        return np.std(off)

    assert spread(bound) < 0.5 * spread(base)


def test_the_offset_of_the_energy_may_be_anything():
    """Total energies of thousands of eV, and another offset for each kind of molecule."""
    learner = student(names=("ethanol", "water", "ethanol"))
    truth = potential("linear")

    def shifted(seed, by):
        labels = [
            example(truth, seed, name, i) for i, name in enumerate(("ethanol", "water", "ethanol"))
        ]
        offsets = (by, -3.0 * by, by)
        return [
            dataclasses.replace(one, energy=one.energy + offset)
            for one, offset in zip(labels, offsets, strict=True)
        ]

    assert learner.kinds == (0, 1, 0)
    weights = [
        taught(learner, [one for seed in range(1, 7) for one in shifted(seed, by)]).weights
        for by in (0.0, 4000.0)
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)


def test_geometries_that_teach_nothing_are_passed_over():
    truth = potential("linear")
    learner = student(CalculatorPotential(BrokenCalculator(physics(), [2])))
    label = example(truth, 1)
    wild = dataclasses.replace(label, forces=label.forces * 1e3)
    undefined = dataclasses.replace(label, forces=label.forces * math.nan)
    lessons = taught(learner, [wild, undefined])
    assert (lessons.labels, lessons.pending, lessons.grades) == (0, (), ())
    # the base fails at the second
    lessons = taught(learner, [label, example(truth, 2)], lessons)
    assert (lessons.labels, lessons.pending) == (1, ())


def test_the_last_labels_are_held_for_comparison():
    learner, label = student(), example(potential("linear"), 1)
    labels = [dataclasses.replace(label, step=i) for i in range(HELD + 3)]
    lessons = taught(learner, labels)
    assert [one.step for one in lessons.held] == list(range(3, HELD + 3))


def test_after_a_refit_it_begins_anew():
    truth, learner = potential("linear"), student()
    lessons = taught(learner, [example(truth, seed) for seed in range(1, 6)])
    fitted = make_learner(
        learner.potential.with_weights(truth.network.linear.weight), learner.states
    )
    after = relearned(fitted, lessons)
    assert after.labels == 5
    assert after.grades == lessons.grades
    assert after.refits_begun == lessons.refits_begun
    assert not after.posterior.mean.any()
    assert error(fitted, after, truth) < 1e-12
    on = taught(fitted, [example(truth, seed) for seed in range(6, 9)], after)
    torch.testing.assert_close(on.weights, after.prior, rtol=0, atol=1e-9)


def test_elements_of_the_molecules_alone_have_weights():
    learner = student(names=("water",))
    assert len(learner.columns) == 2 * 48
    lessons = taught(learner, [example(potential("linear"), 1, "water")])
    assert lessons.weights[[0, 3]].any(1).all()
    assert not lessons.weights[[1, 2]].any()


def test_molecules_beyond_the_potential_are_refused():
    learner = student()
    cell = learner.states[0].replace(pbc=(True, True, True))
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        make_learner(learner.potential, [cell])
