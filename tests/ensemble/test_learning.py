"""Replicas that teach one potential."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.io import read

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    Ensemble,
    Learning,
    StrideTuning,
    load_model,
)
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import hot
from tests.ensemble.test_resume import assert_same, assert_same_files, starts
from tests.learning.runs import FS, LANGEVIN, learning, make_small
from tests.physics.worker_factories import AnyMorse, morse

STEPS = 9

KINDS = {
    "langevin": LANGEVIN,
    "bussi": {"thermostat": "bussi", "temperature_K": 300, "taut": 50 * FS},
    "mollified": {"corrector": "mollified", "k": 24, "verify_interval": 2},
    "mollified langevin": {
        **LANGEVIN, "corrector": "mollified", "k": 24, "verify_interval": 2,
    },
    "metropolized": {**LANGEVIN, "metropolize": True, "extra_chances": 1, "k": 16},
    "exchange": {"temperature_K": [250, 300, 350], "friction": np.inf, "metropolize": True,
                 "exchange_interval": 2, "corrector": "none", "k": 16},
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def cheap():
    return CalculatorPotential(AnyMorse(depth=1.4))


def begin(folder, kind="langevin", physics=morse, atoms=None, **more):
    settings = learning(folder.parent, **more.pop("settings", {}))
    return Ensemble(
        starts() if atoms is None else atoms, more.pop("model", cheap()), physics,
        **{"k": 8, "timestep": 0.25 * FS, **KINDS[kind], "learn": settings, **more},
        rng=np.random.default_rng(3), trajectory=folder / "frames", logfile=folder / "logs",
        loginterval=2, checkpoint=folder / "run.ckpt", checkpoint_interval=4,
    )  # fmt: skip


def resume(folder, physics=morse):
    return Ensemble.resume(folder / "run.ckpt", physics, cheap())


def lessons(ensemble):
    return ensemble._last.lessons


def assert_same_lessons(one, other):
    mine, theirs = lessons(one), lessons(other)
    assert torch.equal(mine.weights, theirs.weights)
    assert torch.equal(mine.posterior.covariance, theirs.posterior.covariance)
    for name in ("labels", "trusted", "frozen_at", "offsets"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert repr(mine.grades) == repr(theirs.grades)
    assert one._last.pace == other._last.pace
    assert one.production_start == other.production_start


def test_all_replicas_teach_one_potential(tmp_path):
    with begin(tmp_path / "run") as ensemble:
        ensemble.run(6)
        result = ensemble.result()
    assert result.physics_evaluations == 3 * 7
    assert lessons(ensemble).labels == 21
    frames = read(tmp_path / "run" / "run.labels.traj", ":")
    assert len(frames) == 21
    assert [frame.info["kstep_label"]["molecule"] for frame in frames] == [0, 1, 2] * 7
    assert [label.molecule for label in ensemble.labels[:3]] == [0, 1, 2]
    grades = ensemble.lessons.grades
    assert grades[-1].residual < 0.6 * grades[-1].of_base
    torch.testing.assert_close(ensemble.potential.weights, ensemble.lessons.weights)
    ensemble.potential.save(tmp_path / "taught.safetensors")
    assert load_model(tmp_path / "taught.safetensors", base=cheap()).timestep > 0


def test_different_molecules(tmp_path):
    atoms = [hot("water"), hot("methanol"), hot("water", seed=1)]
    with begin(tmp_path / "run", atoms=atoms) as ensemble:
        ensemble.run(5)
    assert ensemble._learning.learner.kinds == (0, 1, 0)
    assert len(lessons(ensemble).offsets) == 2
    assert lessons(ensemble).labels == 18
    assert lessons(ensemble).grades[-1].residual < lessons(ensemble).grades[0].residual


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_as_if_it_had_never_stopped(kind, tmp_path):
    more = {"settings": {"stop": 18}} if "metropolize" in KINDS[kind] else {}
    if kind.startswith("mollified"):
        more = {"settings": {"grow": False}}
    with begin(tmp_path / "through", kind, **more) as through:
        through.run(STEPS)
    with begin(tmp_path / "cut", kind, **more) as first:
        first.run(3)
    # What comes after the checkpoint is in the file of labels, and not computed again.
    with resume(tmp_path / "cut") as lost:
        lost._checkpoint = None
        lost.run(2)
    with resume(tmp_path / "cut") as again:
        assert again.nsteps == 3
        assert again._learning.labels.pending > 0
        again.run(STEPS - 3)
        assert again.k == through.k
    assert_same(again.result(), through.result())
    assert_same_files(tmp_path / "cut", tmp_path / "through")
    assert_same_lessons(again, through)
    assert len(again._learning.labels) == len(through._learning.labels)
    if "metropolize" in KINDS[kind]:
        assert through.production_start is not None
    if kind.startswith("mollified"):
        assert [one.stats.verifications for one in through.result().replicas] == [STEPS // 2] * 3


def failing(atoms: Atoms):
    """The physics of the replica with the second seed fails from its third call on."""
    which = float(abs(atoms.positions - starts()[1].positions).max()) == 0.0
    return BrokenCalculator(AnyMorse(), range(4, 100) if which else [])


def test_a_replica_that_is_lost_teaches_no_more(tmp_path):
    with begin(tmp_path / "through", physics=failing) as through:
        through.run(STEPS)
    assert list(through.result().failures) == [1]
    molecules = [label.molecule for label in through._learning.labels]
    assert [molecules.count(i) for i in range(3)] == [STEPS + 1, 3, STEPS + 1]
    assert lessons(through).labels == 2 * (STEPS + 1) + 3
    with begin(tmp_path / "cut", physics=failing) as first:
        first.run(4)
    with resume(tmp_path / "cut", failing) as again:
        again.run(STEPS - 4)
    assert_same(again.result(), through.result())
    assert_same_lessons(again, through)


def test_an_interrupted_step_loses_and_doubles_no_label(tmp_path):
    calls = []

    class Interrupting(AnyMorse):
        def calculate(self, *arguments, **keywords):
            calls.append(1)
            if len(calls) == 3 * 5 + 2:
                raise KeyboardInterrupt
            super().calculate(*arguments, **keywords)

    def interrupting(atoms):
        return Interrupting()

    with begin(tmp_path / "through", physics=interrupting) as through:
        calls.extend([0] * 1000)
        through.run(STEPS)
    calls.clear()
    with begin(tmp_path / "here", physics=interrupting) as here:
        with pytest.raises(KeyboardInterrupt):
            here.run(STEPS)
        assert here.nsteps == 4
        here.run(STEPS - 4)
    assert_same_lessons(here, through)
    calls.clear()
    with begin(tmp_path / "cut", physics=interrupting) as first, pytest.raises(KeyboardInterrupt):
        first.run(STEPS)
    with resume(tmp_path / "cut", interrupting) as again:
        again.run(STEPS - 4)
    assert_same_lessons(again, through)
    stats = [dataclasses.replace(r.stats, jump_seconds=0.0, physics_seconds=0.0)
             for run in (again, through) for r in run.result().replicas]  # fmt: skip
    assert [one.jumps for one in stats[:3]] == [one.jumps for one in stats[3:]]


def test_two_workers_give_what_one_gives(tmp_path):
    with begin(tmp_path / "one") as one:
        one.run(4)
    with begin(tmp_path / "two", workers=2) as two:
        two.run(4)
    assert_same(one.result(), two.result())
    assert_same_lessons(one, two)


def test_what_cannot_learn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"learn=Learning.* with k=StrideTuning"):
        begin(tmp_path / "a", "metropolized", k=StrideTuning((4, 8)))


def test_replicas_in_cells_of_their_own_teach_one_potential(tmp_path):
    molecules = [hot("water", seed=i) for i in range(2)]
    for side, one in zip((6.0, 7.0), molecules, strict=True):
        one.pbc, one.cell = True, [side] * 3
    with begin(tmp_path, atoms=molecules) as run:
        run.run(4)
        grades = lessons(run).grades
    assert lessons(run).labels == 10
    assert grades[-1].residual < 0.5 * grades[0].residual
    assert [float(one.cell[0, 0]) for one in lessons(run).held[:2]] == [6.0, 7.0]


def test_a_physics_without_forces_says_that_it_needs_them(tmp_path):
    class EnergyAlone(LennardJones):
        implemented_properties = ["energy"]  # noqa: RUF012

    def physics(atoms):
        return EnergyAlone(sigma=0.8, epsilon=0.1)

    with (
        begin(tmp_path / "run", "exchange", physics=physics) as ensemble,
        pytest.raises(DynamicsFailed, match="forces"),
    ):
        ensemble.run(1)


def test_the_potential_of_another_run_needs_a_file_for_a_checkpoint(tmp_path):
    with begin(tmp_path / "first") as first:
        first.run(2)
    learned = first.potential
    with pytest.raises(ValueError, match=r"write it to a file, potential.save\(path\)"):
        begin(tmp_path / "second", model=learned, learn=Learning(refit=False))
