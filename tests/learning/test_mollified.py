"""Runs that learn where the mollified corrector has the physics computed: at averaged positions."""

from __future__ import annotations

import numpy as np
import pytest

from kstep_integrators import Guard
from kstep_integrators.correctors import Mollified
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import physics
from tests.learning.runs import FS, LANGEVIN, begin, learning, make_small, start

K = 32


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def mollified(folder, atoms=None, settings=None, **options):
    learn = learning(folder, **(settings or {}))
    return begin(folder, atoms, learn=learn, k=K, corrector="mollified", **options)


def test_strides_begin_as_impulses_and_grow_to_averages(tmp_path):
    """One evaluation a stride, at the positions while it is short, and nothing else."""
    dynamics = mollified(tmp_path, verify_interval=0)
    dynamics.run(0)
    strides, estimated = [], []
    for _ in range(60):
        stride = dynamics.k * 0.25
        dynamics.run(1)
        strides.append(stride)
        estimated.append(dynamics.estimates() is not None)
    assert strides[0] == 1.0
    assert strides[-1] == 8.0
    assert estimated == [stride > 2.0 for stride in strides]
    assert dynamics.stats.physics_evaluations == dynamics.atoms.calc.evaluations == 61
    assert len(dynamics.labels) == 61
    assert dynamics.get_time() == pytest.approx(sum(strides) * FS)


def test_labels_are_where_the_physics_was_computed(tmp_path):
    dynamics = mollified(tmp_path, settings={"grow": False}, verify_interval=0)
    for _ in range(4):
        dynamics.run(1)
        label, site = dynamics.labels[-1], dynamics._run.point.site
        np.testing.assert_array_equal(label.positions, site.positions.numpy())
        assert abs(label.positions - dynamics.atoms.positions).max() > 1e-3
        real = dynamics.atoms.copy()
        real.positions = label.positions
        real.calc = physics()
        assert label.energy == real.get_potential_energy()
        np.testing.assert_array_equal(label.forces, real.get_forces())


def test_verifications_teach_too_and_are_counted_apart(tmp_path):
    dynamics = mollified(tmp_path, settings={"grow": False}, verify_interval=2)
    dynamics.run(8)
    stats = dynamics.stats
    assert (stats.physics_evaluations, stats.verifications) == (9, 4)
    assert dynamics.atoms.calc.evaluations == 9 + 4
    assert len(dynamics.labels) == 13
    assert stats.estimate_error > 0.0


@pytest.mark.parametrize("grow", [True, False])
def test_what_is_learned_makes_estimates_better(grow, tmp_path):
    dynamics = mollified(
        tmp_path, settings={"grow": grow}, verify_interval=1, rng=np.random.default_rng(1),
        **LANGEVIN,
    )  # fmt: skip
    errors = []
    for _ in range(80):
        dynamics.run(1)
        known = dynamics.estimates()
        if known is not None:
            real = known.copy()
            real.calc = physics()
            errors.append(known.get_potential_energy() - real.get_potential_energy())
    assert len(errors) > 30
    assert np.std(errors[-15:]) < 0.03


def test_by_default_a_run_that_learns_is_mollified_beyond_4_fs(tmp_path):
    dynamics = begin(tmp_path, learn=learning(tmp_path), k=K)
    assert isinstance(dynamics.scheme.corrector, Mollified)
    assert begin(tmp_path, learn=learning(tmp_path), k=16).scheme.corrector.name == "impulse"


def test_a_failing_evaluation_is_stepped_over_and_learned_from(tmp_path):
    """The physics steps in its place are labels, and the evaluation that they begin with."""
    broken = BrokenCalculator(physics(), [4])
    dynamics = mollified(
        tmp_path,
        start(broken),
        settings={"grow": False},
        verify_interval=0,
        guard=Guard(max_energy_change=50.0),  # so few functions learn little of so many labels
    )
    dynamics.run(5)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.stats.physics_evaluations == broken.calls == 6 + 1 + K
    assert len(dynamics.labels) == 5 + 1 + K
