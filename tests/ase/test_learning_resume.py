"""A learning run that is resumed is the uninterrupted one: path, labels and potential."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms

from kstep_integrators import KStepDynamics, Learning, load_model
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.learning import learner
from kstep_integrators.step import run_learning
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.ase.test_checkpoint import assert_same_run
from tests.conftest import cheap, physics
from tests.learning.runs import DEPTH, FS, LANGEVIN, Unsteady, begin, learning, make_small, start

STEPS = 13

KINDS = {
    "nve": {},
    "langevin": LANGEVIN,
    "bussi": {"thermostat": "bussi", "temperature_K": 300, "taut": 50 * FS},
    "filtered": {"corrector": "filtered", **LANGEVIN},
    "mollified": {"corrector": "mollified", "k": 24, "verify_interval": 3},
    "mollified langevin": {"corrector": "mollified", "k": 24, "verify_interval": 3, **LANGEVIN},
    "mollified network": {"model": "organic-gfn2", "corrector": "mollified", "k": 16},
    "metropolized": {"metropolize": True, "extra_chances": 1, "k": 24, "stop": 9, **LANGEVIN},
    "none": {"metropolize": True, "extra_chances": 1, "corrector": "none", "k": 24,
             "temperature_K": 300, "friction": np.inf},
    "stopped": {"stop": 6},
    "nothing": {"model": None, "k": 4},
    "network": {"model": "organic-gfn2", "k": 4},
    "fixed": {"fixed": [1, 5]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def began(folder, kind, calculator=None, interval=4):
    folder.mkdir(exist_ok=True)
    options = {**KINDS[kind]}
    settings = {"stop": options.pop("stop", None)}
    if kind.endswith("network"):
        settings["backbone"] = None
    atoms = start(calculator)
    fixed = options.pop("fixed", None)
    if fixed:
        atoms.set_constraint(FixAtoms(fixed))
    return begin(
        folder.parent, atoms, learn=learning(folder.parent, **settings), loginterval=2,
        trajectory=folder / "md.traj", logfile=folder / "md.log",
        checkpoint=folder / "run.ckpt", checkpoint_interval=interval, **options,
    )  # fmt: skip


def resumed(folder, calculator=None):
    calculator = CountingCalculator(physics()) if calculator is None else calculator
    path = folder / "run.ckpt"
    recorded = read_checkpoint(path).jump
    model = cheap(depth=DEPTH) if recorded and not recorded["source"] else None
    return KStepDynamics.resume(path, calculator, model)


def assert_same_lessons(one, other):
    mine, theirs = one.lessons, other.lessons
    for name in ("weights", "prior"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("mean", "covariance"):
        assert torch.equal(getattr(mine.posterior, name), getattr(theirs.posterior, name)), name
    for name in ("labels", "trusted", "frozen_at", "offsets"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert repr(mine.grades) == repr(theirs.grades)  # some are NaN
    assert one._run.pace == other._run.pace
    assert one.production_start == other.production_start
    assert torch.equal(one.potential.weights, other.potential.weights)
    labels, others = list(one.labels), list(other.labels)
    assert len(labels) == len(others)
    for label, its in zip(labels, others, strict=True):
        assert (label.energy, label.step, label.evaluations) == (
            its.energy, its.step, its.evaluations
        )  # fmt: skip
        np.testing.assert_array_equal(label.positions, its.positions)
        np.testing.assert_array_equal(label.forces, its.forces)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_as_if_it_had_not(kind, tmp_path):
    through = began(tmp_path / "through", kind)
    through.run(STEPS)
    stop = 3 + 4 * (sorted(KINDS).index(kind) % 2)
    stopped = began(tmp_path / "stopped", kind)
    stopped.run(stop)
    again = resumed(tmp_path / "stopped")
    assert again.nsteps == stop
    again.run(STEPS - stop)
    assert_same_run(again, through)
    assert_same_lessons(again, through)
    evaluations = stopped.atoms.calc.evaluations + again.atoms.calc.evaluations
    assert evaluations == through.atoms.calc.evaluations == through.stats.physics_evaluations
    if kind == "stopped":
        assert through.lessons.frozen_at == 5
    else:
        assert through.potential.weights.any()


@pytest.mark.parametrize("kind", ["nve", "langevin", "bussi", "metropolized"])
def test_a_run_that_died_between_checkpoints_computes_no_label_again(kind, tmp_path):
    """What came after the last checkpoint is in the file, and is served at what it cost."""
    through = began(tmp_path / "through", kind)
    through.run(STEPS)
    died = began(tmp_path / "died", kind)

    def die():
        if died.nsteps == 7:
            raise MemoryError

    died.attach(die)
    with pytest.raises(MemoryError):
        died.run(STEPS)
    again = resumed(tmp_path / "died")
    assert again.nsteps == 4
    assert again._learning.labels.pending > 0
    again.run(STEPS - 4)
    assert_same_run(again, through)
    assert_same_lessons(again, through)
    evaluations = died.atoms.calc.evaluations + again.atoms.calc.evaluations
    assert evaluations == through.atoms.calc.evaluations


@pytest.mark.parametrize("at", [9, 12])
def test_ctrl_c_within_a_step_and_a_new_process(at, tmp_path):
    through = began(tmp_path / "through", "metropolized", Unsteady(0, KeyboardInterrupt()))
    through.run(STEPS)
    calculator = Unsteady(at, KeyboardInterrupt())
    stopped = began(tmp_path / "stopped", "metropolized", calculator, interval=100)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(STEPS)
    again = resumed(tmp_path / "stopped", Unsteady(0, KeyboardInterrupt()))
    assert again.nsteps == stopped.nsteps > 0
    again.run(STEPS - again.nsteps)
    np.testing.assert_array_equal(again.atoms.positions, through.atoms.positions)
    assert_same_lessons(again, through)


def test_interrupted_while_it_learns_the_step_is_made_again(tmp_path, monkeypatch):
    through = began(tmp_path / "through", "langevin")
    through.run(STEPS)
    stopped = began(tmp_path / "stopped", "langevin")
    stopped.run(5)
    learn = run_learning.learn_pending

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_learning, "learn_pending", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(STEPS - 5)
    monkeypatch.setattr(run_learning, "learn_pending", learn)
    assert stopped.nsteps == 5
    other = resumed(tmp_path / "stopped")
    stopped.run(STEPS - 5)
    np.testing.assert_array_equal(stopped.atoms.positions, through.atoms.positions)
    assert_same_lessons(stopped, through)
    other.run(0)
    assert len(list(other.labels)) >= 7


def test_labels_that_wait_for_their_block_are_in_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(learner, "SINGLY", 2)
    monkeypatch.setattr(learner, "SHARE", 1)  # as many as are known
    through = began(tmp_path / "through", "langevin")
    through.run(STEPS)
    stopped = began(tmp_path / "stopped", "langevin")
    stopped.run(6)
    assert len(stopped.lessons.pending) == 3
    again = resumed(tmp_path / "stopped")
    assert len(again.lessons.pending) == 3
    again.run(STEPS - 6)
    assert_same_run(again, through)
    assert_same_lessons(again, through)


def test_without_the_file_of_labels_or_with_another_physics_it_does_not_go_on(tmp_path):
    folder = tmp_path / "run"
    began(folder, "nve").run(5)
    with (
        pytest.warns(UserWarning, match="depth"),
        pytest.raises(ValueError, match=r"the labels in .*run.labels.traj are of another physics"),
    ):
        resumed(folder, CountingCalculator(physics(depth=3.0)))
    labels = folder / "run.labels.traj"
    labels.rename(folder / "elsewhere.traj")
    with pytest.raises(ValueError, match=r"run.labels.traj holds 0, the checkpoint was written af"):
        resumed(folder)
    (folder / "elsewhere.traj").rename(labels)
    resumed(folder).run(1)


def test_the_potential_of_another_run_needs_a_file_for_a_checkpoint(tmp_path):
    first = begin(tmp_path)
    first.run(6)
    for options in ({"learn": Learning(refit=False)}, {"learn": False}):
        with pytest.raises(ValueError, match=r"write it to a file, potential.save\(path\)"):
            begin(tmp_path, model=first.potential, checkpoint=tmp_path / "run.ckpt", **options)
        begin(tmp_path, model=first.potential, **options).run(2)
    path = tmp_path / "learned.safetensors"
    first.potential.save(path)
    base = cheap(depth=DEPTH)
    model = load_model(path, device="cpu", base=base)
    second = begin(
        tmp_path, model=model, learn=Learning(refit=False), checkpoint=tmp_path / "run.ckpt"
    )
    weights = first.potential.weights
    torch.testing.assert_close(second.potential.weights, weights, rtol=0, atol=1e-6)
    second.run(5)
    again = KStepDynamics.resume(
        tmp_path / "run.ckpt", CountingCalculator(physics()), load_model(path, base=base)
    )
    again.run(5)
    second.run(5)
    np.testing.assert_array_equal(again.atoms.positions, second.atoms.positions)
    assert_same_lessons(again, second)


def test_a_run_lost_in_the_middle_keeps_its_labels(tmp_path):
    calculator = BrokenCalculator(physics(), range(8, 100))
    dynamics = began(tmp_path / "lost", "nve", calculator, interval=100)
    with pytest.raises(Exception, match="last good state"):
        dynamics.run(STEPS)
    again = resumed(tmp_path / "lost", BrokenCalculator(physics(), []))
    again.run(STEPS - again.nsteps)
    through = began(tmp_path / "through", "nve", BrokenCalculator(physics(), []))
    through.run(STEPS)
    np.testing.assert_array_equal(again.atoms.positions, through.atoms.positions)
    assert_same_lessons(again, through)


def test_begun_anew_with_its_labels(tmp_path):
    """Killed before its first checkpoint: energies of the first frame are a label's."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    began(whole, "langevin").run(STEPS)
    again.mkdir()
    shutil.copy(whole / "run.labels.traj", again)
    calculator = CountingCalculator(physics())
    began(again, "langevin", calculator).run(STEPS)
    assert calculator.force_evaluations == 0
    for name in ("md.traj", "md.log", "run.labels.traj"):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name
