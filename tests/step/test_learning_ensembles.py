"""Learning in the burn-in of known ensembles, from bad potentials: exact from production on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms

from kstep_integrators import Guard
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import kinetic_energy
from kstep_integrators.step.make_scheme import make_scheme
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import advance, begin
from kstep_integrators.step.run_learning import RunLearning, learning_jump
from kstep_integrators.testing.block_averages import family_limit
from kstep_integrators.testing.known_ensembles import SYSTEMS
from kstep_integrators.testing.sampling import Averages, compare
from kstep_integrators.testing.surfaces import Surface
from kstep_integrators.testing.system import replicas
from tests.learning.runs import learning, make_small


class Learned:
    """Replicas of a system that teach one potential, of which the base is a bad one."""

    def __init__(self, system, folder, corrector, count, stop=None, **options):
        proposal, n = system.proposals[corrector], len(system.masses)
        self.system, self.count, self.rng = system, count, np.random.default_rng(5)
        state = replicas(system, count, self.rng)
        chosen = RunOptions(
            k=proposal.k, timestep=proposal.timestep, corrector=corrector,
            temperature_K=system.temperature_K, friction=system.friction,
            guard=Guard(math.inf, math.inf), learn=learning(folder, stop=stop), **options,
        )  # fmt: skip
        base = Surface(proposal.potential, n, proposal.timestep)
        jump = learning_jump(base, chosen, [Atoms("H")])
        self.learning = RunLearning(
            jump, [replicas(system, 1, self.rng)] * count, chosen, {"calculator": "surface"}, None
        )
        self.physics, self.said = Surface(system.physics, n), []
        scheme = make_scheme(jump, chosen.of_jump())
        run = begin(state, scheme.bind(state, self.learning.labelled(self.physics)), chosen)
        self.run, self.scheme = self.learning.begin(run, scheme, self.said.append)
        self.averages = Averages(system.edges)

    def step(self, count, averaged=False):
        for _ in range(count):
            meter = Meter(self.run.scheme.physics, self.count)
            run, _, _ = advance(self.run, self.rng, meter)
            self.run, self.scheme = self.learning.after_step(run, self.scheme, self.said.append)
            if averaged:
                state = self.run.point.state
                values = self.system.observe(state.positions.reshape(self.count, -1, 3))
                self.averages.add({**values, "kinetic": kinetic_energy(state)[:, None]})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


@pytest.mark.parametrize(("name", "corrector"), [("quartic", "none"), ("double well", "impulse")])
def test_from_production_on_the_ensemble_is_exact(name, corrector, tmp_path):
    """Three sigma for all means, variances and histograms together."""
    system = SYSTEMS[name]()
    learned = Learned(system, tmp_path, corrector, 100, stop=200, metropolize=True, extra_chances=1)
    while learned.run.production_start is None:
        learned.step(1)
        assert learned.run.nsteps < 10
    run, weights = learned.run, learned.scheme.jump.potential.weights
    assert run.lessons.labels >= 200
    assert run.lessons.frozen_at == run.production_start == run.nsteps
    assert run.pace is None
    assert weights.any()
    assert learned.said[-1].endswith("production starts here")
    learned.step(5)
    learned.step(60, averaged=True)
    assert torch.equal(learned.scheme.jump.potential.weights, weights)
    assert learned.run.production_start == run.production_start
    evaluations = sum(one.physics_evaluations for one in learned.run.stats)
    assert evaluations == learned.physics.evaluations
    tests = compare(learned.averages, system.expected)
    worst = max(tests.rows, key=lambda row: abs(row["deviate"]))
    assert abs(worst["deviate"]) < family_limit(len(tests.rows)), worst


def test_the_temperature_is_that_of_the_bath_while_it_learns(tmp_path):
    """Langevin without a test, learning to the end, at strides that Verlet would bear."""
    system = SYSTEMS["harmonic"]()
    learned = Learned(system, tmp_path, "impulse", 12)
    learned.run = learned.run.__class__(**{**vars(learned.run), "k": 1, "pace": None})
    learned.step(5)
    learned.step(35, averaged=True)
    assert learned.run.lessons.learning
    assert learned.run.lessons.labels > 400
    known = {"kinetic": system.expected["kinetic"]}
    row = compare(learned.averages, known).rows[0]
    assert row["quantity"] == "mean"
    assert abs(row["deviate"]) < 3.0, row
