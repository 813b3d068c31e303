"""A resumed ensemble is the uninterrupted one, to the last bit and the last byte."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read

from kstep_integrators import CalculatorPotential, Ensemble, KStepDynamics, StrideTuning
from kstep_integrators.ase.checkpoint import CheckpointError
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import hot
from tests.physics.worker_factories import AnyMorse, morse

FS = units.fs
LANGEVIN = {"temperature_K": 300, "friction": 0.05 / FS}
TESTED = {**LANGEVIN, "metropolize": True, "corrector": "none", "k": 16}

KINDS = {
    "nve": {},
    "langevin": LANGEVIN,
    "filtered": {"corrector": "filtered"},
    "mollified": {"corrector": "mollified", "k": 24, "verify_interval": 2},
    "mollified langevin": {"corrector": "mollified", "k": 24, "verify_interval": 2, **LANGEVIN},
    "metropolized": TESTED,
    "shrink": {"on_error": "shrink", "force_tolerance": 0.5},
    "temperatures": {**LANGEVIN, "temperature_K": [250, 300, 350]},
    "exchange": {**TESTED, "temperature_K": [250, 300, 350], "exchange_interval": 2},
    "tuned": {**TESTED, "k": StrideTuning((4, 16), jumps=4)},
}
STEPS = 11


def starts(names=("water", "water", "water")):
    return [hot(name, seed=seed) for seed, name in enumerate(names)]


def cheap():
    return CalculatorPotential(AnyMorse(depth=1.4))


def begin(folder, kind, physics=morse, **more):
    return Ensemble(
        starts(), cheap(), physics, **{"k": 4, **KINDS[kind], **more},
        rng=np.random.default_rng(3), trajectory=folder / "frames", logfile=folder / "logs",
        loginterval=2, checkpoint=folder / "run.ckpt", checkpoint_interval=4,
    )  # fmt: skip


def without_clocks(result):
    return [
        dataclasses.replace(replica.stats, jump_seconds=0.0, physics_seconds=0.0)
        for replica in result.replicas
    ]


def assert_same_files(one, other):
    files = sorted(path.relative_to(one) for path in one.glob("*/*"))
    assert files == sorted(path.relative_to(other) for path in other.glob("*/*"))
    assert len(files) == 6
    for path in files:
        assert (one / path).read_bytes() == (other / path).read_bytes(), path


def assert_same(one, other):
    for mine, theirs in zip(one.replicas, other.replicas, strict=True):
        np.testing.assert_array_equal(mine.atoms.positions, theirs.atoms.positions)
        np.testing.assert_array_equal(mine.atoms.get_momenta(), theirs.atoms.get_momenta())
        assert mine.atoms.get_potential_energy() == theirs.atoms.get_potential_energy()
        assert mine.atoms.info == theirs.atoms.info
        assert mine.transferred_energy == theirs.transferred_energy
        assert mine.failure == theirs.failure
    assert without_clocks(one) == without_clocks(other)


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_as_if_it_had_never_stopped(kind, tmp_path):
    with begin(tmp_path / "through", kind) as through:
        through.run(STEPS)
    with begin(tmp_path / "cut", kind) as first:
        first.run(3)
    # What is written after the checkpoint is cut off and written again.
    with Ensemble.resume(tmp_path / "cut" / "run.ckpt", morse, cheap()) as lost:
        lost._checkpoint = None
        lost.run(2)
    with Ensemble.resume(tmp_path / "cut" / "run.ckpt", morse, cheap()) as again:
        assert again.nsteps == 3
        again.run(STEPS - 3)
        assert again.k == through.k
        assert again.exchanges == through.exchanges
        assert again.production_start == through.production_start
    assert_same(again.result(), through.result())
    assert_same_files(tmp_path / "cut", tmp_path / "through")


def failing(atoms: Atoms):
    """The physics of the replica with the second seed fails from its third call on."""
    which = float(abs(atoms.positions - starts()[1].positions).max()) == 0.0
    return BrokenCalculator(AnyMorse(), range(3, 100) if which else [])


def test_a_replica_that_was_lost_stays_lost(tmp_path):
    with begin(tmp_path, "langevin", failing) as first:
        first.run(5)
        before = first.result()
    assert list(before.failures) == [1]
    with Ensemble.resume(tmp_path / "run.ckpt", failing, cheap()) as again:
        assert_same(again.result(), before)
        again.run(3)
        after = again.result()
    assert after.failures == before.failures
    assert [replica.stats.jumps for replica in after.replicas] == [8, 1, 8]


def test_an_interrupted_ensemble_leaves_a_checkpoint_of_its_last_step(tmp_path):
    calls = []

    class Interrupting(AnyMorse):
        def calculate(self, *arguments, **keywords):
            calls.append(1)
            if len(calls) == 3 * 7 + 2:
                raise KeyboardInterrupt
            super().calculate(*arguments, **keywords)

    def interrupting(atoms):
        return Interrupting()

    with begin(tmp_path / "cut", "langevin", interrupting) as first:
        with pytest.raises(KeyboardInterrupt):
            first.run(STEPS)
        assert first.nsteps == 6
    with begin(tmp_path / "through", "langevin") as through:
        through.run(STEPS)
    with Ensemble.resume(tmp_path / "cut" / "run.ckpt", interrupting, cheap()) as again:
        assert again.nsteps == 6
        again.run(STEPS - 6)
    assert_same_files(tmp_path / "cut", tmp_path / "through")
    np.testing.assert_array_equal(
        again.result().replicas[2].atoms.positions, through.result().replicas[2].atoms.positions
    )


def test_files_that_do_not_belong_to_the_checkpoint_are_refused(tmp_path):
    with begin(tmp_path, "nve") as first:
        first.run(4)
    (tmp_path / "frames" / "0001.traj").unlink()
    before = (tmp_path / "frames" / "0000.traj").read_bytes()
    with pytest.raises(ValueError, match=r"0001\.traj holds 0 frames"):
        Ensemble.resume(tmp_path / "run.ckpt", morse, cheap())
    assert (tmp_path / "frames" / "0000.traj").read_bytes() == before


def test_a_run_is_not_an_ensemble_and_the_other_way_round(tmp_path):
    with begin(tmp_path, "nve") as first:
        first.run(1)
    with pytest.raises(CheckpointError, match=r"of an ensemble of 3; .*Ensemble\.resume"):
        KStepDynamics.resume(tmp_path / "run.ckpt", AnyMorse(), cheap())
    atoms = hot("water")
    atoms.calc = AnyMorse()
    KStepDynamics(atoms, cheap(), k=4, checkpoint=tmp_path / "one.ckpt").run(1)
    with pytest.raises(CheckpointError, match=r"of one run; .*KStepDynamics\.resume"):
        Ensemble.resume(tmp_path / "one.ckpt", morse, cheap())


def test_logs_say_what_the_frames_hold(tmp_path):
    with begin(tmp_path, "temperatures") as ensemble:
        ensemble.run(4)
    for number in range(3):
        frames = read(tmp_path / "frames" / f"{number:04d}.traj", ":")
        lines = (tmp_path / "logs" / f"{number:04d}.log").read_text().splitlines()
        assert lines[0].split()[0] == "Time[ps]"
        assert len(lines) == 1 + len(frames) == 1 + 3
        for line, frame in zip(lines[1:], frames, strict=True):
            time, total, potential, kinetic, kelvin = map(float, line.split())
            assert time == pytest.approx(frame.info["time"] / (1000 * FS), abs=1e-4)
            assert total == pytest.approx(frame.get_total_energy(), abs=1e-3)
            assert potential == pytest.approx(frame.get_potential_energy(), abs=1e-3)
            assert kinetic == pytest.approx(frame.get_kinetic_energy(), abs=1e-3)
            assert kelvin == pytest.approx(frame.get_temperature(), abs=0.1)
            assert frame.info["temperature_K"] == 250 + 50 * number


def lost_at_the_third_call(atoms: Atoms):
    return BrokenCalculator(AnyMorse(), range(3, 100))


def test_when_all_are_lost_the_run_is_over(tmp_path):
    with begin(tmp_path, "langevin", lost_at_the_third_call) as ensemble:
        ensemble.run(5)
        before = ensemble.result()
        assert sorted(before.failures) == [0, 1, 2]
        ensemble.run(5)
        assert_same(ensemble.result(), before)
        assert ensemble.nsteps == 2
    assert len(read(tmp_path / "frames" / "0000.traj", ":")) == 1
    with Ensemble.resume(tmp_path / "run.ckpt", lost_at_the_third_call, cheap()) as again:
        again.run(3)
        assert_same(again.result(), before)
        assert again.nsteps == 2


@pytest.mark.parametrize("at", [2, 4, 8, 11])
def test_an_interrupt_while_files_are_written_loses_no_frame(at, tmp_path, monkeypatch):
    with begin(tmp_path / "through", "langevin") as through:
        through.run(STEPS)
    with begin(tmp_path / "cut", "langevin") as ensemble:
        write, calls = ensemble._files.add_line, []

        def interrupted(*arguments):
            calls.append(1)
            if len(calls) == at:
                raise KeyboardInterrupt
            write(*arguments)

        monkeypatch.setattr(ensemble._files, "add_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensemble.run(STEPS)
        ensemble.run(STEPS - ensemble.nsteps)
    assert_same_files(tmp_path / "cut", tmp_path / "through")


def test_a_closed_ensemble_makes_no_steps(tmp_path):
    with begin(tmp_path, "nve") as ensemble:
        ensemble.run(1)
    with pytest.raises(ValueError, match="this ensemble is closed"):
        ensemble.run(1)


def test_one_folder_for_both_and_a_process_that_moves(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    names = {"trajectory": "both", "logfile": "both", "checkpoint": "run.ckpt"}
    with Ensemble(starts(), cheap(), morse, k=2, checkpoint_interval=1, **names) as first:
        first.run(1)
        monkeypatch.chdir("elsewhere")
        first.run(1)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    with Ensemble.resume("../run.ckpt", morse, cheap()) as again:
        assert again.nsteps == 2
