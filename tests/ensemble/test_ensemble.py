"""Ensembles: each replica is the run of its own, whatever becomes of the others."""

import logging
import re

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from ase.io import read

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    Ensemble,
    KStepDynamics,
    KStepWarning,
    StrideTuning,
    run_ensemble,
)
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.conftest import hot, potential
from tests.direct_systems import silent
from tests.physics.worker_factories import AnyMorse, morse

FS = units.fs
NAMES = ("water", "ethanol", "methane")


def starts(names=NAMES):
    """Three molecules with momenta, of different sizes; one is held."""
    found = [hot(name, seed=seed) for seed, name in enumerate(names)]
    found[-1].set_constraint(FixAtoms([0]))
    return found


def cheap(depth=1.8):
    return CalculatorPotential(AnyMorse(depth=depth))


def alone(atoms, steps, model=None, **arguments):
    """The same run by itself."""
    atoms = atoms.copy()
    atoms.calc = CountingCalculator(AnyMorse())
    dynamics = KStepDynamics(atoms, model or cheap(), **arguments)
    dynamics.run(steps)
    return dynamics


def generators(count, seed=7):
    return np.random.default_rng(seed).spawn(count)


BATHS = {
    "nve": {},
    "filtered": {"corrector": "filtered"},
    "mollified": {"corrector": "mollified", "k": 24, "verify_interval": 3},
    "mollified tolerances": {"corrector": "mollified", "k": 24, "force_tolerance": 0.5},
    "langevin": {"temperature_K": 300, "friction": 0.05 / FS},
    "bussi": {"temperature_K": 300, "thermostat": "bussi", "taut": 10 * FS},
    "metropolized": {
        "temperature_K": 300,
        "friction": 0.05 / FS,
        "metropolize": True,
        "corrector": "none",
        "k": 16,
    },
    "tolerances": {"force_tolerance": 0.5},
}


@pytest.mark.parametrize("kind", BATHS)
def test_each_replica_is_the_run_of_its_own(kind):
    arguments = {"k": 4, **BATHS[kind]}
    counters = []

    def counted(atoms):
        counters.append(CountingCalculator(AnyMorse()))
        return counters[-1]

    rng = np.random.default_rng(7)
    result = run_ensemble(starts(), cheap(1.2), counted, 12, rng=rng, **arguments)
    assert result.failures == {}
    for i, (atoms, rng) in enumerate(zip(starts(), generators(3), strict=True)):
        replica = result.replicas[i]
        dynamics = alone(atoms, 12, cheap(1.2), rng=rng, **arguments)
        np.testing.assert_allclose(replica.atoms.positions, dynamics.atoms.positions, atol=1e-12)
        np.testing.assert_allclose(
            replica.atoms.get_momenta(), dynamics.atoms.get_momenta(), atol=1e-12
        )
        mine, theirs = replica.stats, dynamics.stats
        for name in (
            "jumps",
            "physics_evaluations",
            "fallbacks",
            "accepted",
            "flips",
            "verifications",
        ):
            assert getattr(mine, name) == getattr(theirs, name)
        if mine.verifications:
            assert mine.estimate_error == pytest.approx(theirs.estimate_error, rel=1e-9)
        assert mine.physics_evaluations + mine.verifications == counters[i].evaluations
        assert mine.energy_error == pytest.approx(theirs.energy_error, rel=1e-9)
        assert replica.transferred_energy == pytest.approx(dynamics.transferred_energy, abs=1e-10)
        assert replica.atoms.info["time"] == pytest.approx(dynamics.get_time())
        shown = dynamics.estimates() or dynamics.atoms
        assert replica.atoms.info.get("estimated") == shown.info.get("estimated")
        energy = shown.get_potential_energy()
        assert replica.atoms.get_potential_energy() == pytest.approx(energy, abs=1e-11)
    total = sum(replica.stats.physics_evaluations for replica in result.replicas)
    assert result.physics_evaluations == total
    assert result.jump_seconds > 0.0
    assert result.physics_seconds > 0.0
    if kind.endswith("tolerances"):
        assert sum(replica.stats.fallbacks for replica in result.replicas) > 0


def test_replicas_make_direct_jumps_as_if_alone():
    jump = silent(force_head=True)
    free = [hot(name, seed=seed) for seed, name in enumerate(NAMES)]
    found = run_ensemble(free, jump, morse, 6, k=2, force_tolerance=0.5)
    for replica, atoms in zip(found.replicas, free, strict=True):
        run = alone(atoms, 6, jump, k=2, force_tolerance=0.5)
        np.testing.assert_allclose(replica.atoms.positions, run.atoms.positions, atol=1e-11)
        assert replica.stats.physics_evaluations == run.atoms.calc.evaluations
        assert replica.stats.fallbacks == run.stats.fallbacks
        assert replica.stats.residual_rms == pytest.approx(run.stats.residual_rms, rel=1e-9)
        assert replica.stats.energy_error is None
    assert {replica.stats.fallbacks > 0 for replica in found.replicas} == {True, False}


def test_accepted_molecules_are_not_evaluated_again():
    """Chances are used up one by one: counted in the calculators, against what was accepted."""
    rng = np.random.default_rng(7)
    arguments = {**BATHS["metropolized"], "extra_chances": 3, "rng": rng}
    count = 0
    with Ensemble(starts(), cheap(0.9), morse, **arguments) as ensemble:
        ensemble.run(0)
        for _ in range(15):
            before = [r.stats for r in ensemble.result().replicas]
            ensemble.run(1)
            after = [r.stats for r in ensemble.result().replicas]
            spent = [
                b.physics_evaluations - a.physics_evaluations
                for a, b in zip(before, after, strict=True)
            ]
            assert all(1 <= each <= 4 for each in spent)
            for a, b, each in zip(before, after, spent, strict=True):
                if b.flips > a.flips:
                    assert each == 4
            count += len(set(spent)) > 1
    assert count > 3  # steps in which some were tried more often than others


def test_one_network_call_for_all_of_them():
    model = potential()
    calls = []
    bind = model.bind

    def watched(state):
        bound = bind(state)

        def forces(positions, workspace):
            calls.append(len(positions))
            return bound(positions, workspace)

        return forces

    model.bind = watched
    arguments = {"k": 3, "temperature_K": 300, "friction": 0.01 / FS}
    result = run_ensemble(starts(), model, morse, 4, rng=np.random.default_rng(7), **arguments)
    assert calls == [17] * (1 + 4 * 3)
    for i, (atoms, rng) in enumerate(zip(starts(), generators(3), strict=True)):
        dynamics = alone(atoms, 4, potential(), rng=rng, **arguments)
        found = result.replicas[i].atoms.positions
        np.testing.assert_allclose(found, dynamics.atoms.positions, atol=1e-9)


@pytest.mark.parametrize("bath", ["nve", "langevin", "bussi", "metropolized"])
def test_a_path_does_not_depend_on_the_others(bath):
    arguments = {"k": 4, **BATHS[bath]}
    three = run_ensemble(
        starts(), cheap(), morse, 8, rng=np.random.default_rng(7), **arguments
    ).replicas
    two = run_ensemble(
        starts()[:2], cheap(), morse, 8, rng=np.random.default_rng(7), **arguments
    ).replicas
    for a, b in zip(three, two, strict=False):
        np.testing.assert_array_equal(a.atoms.positions, b.atoms.positions)
    again = run_ensemble(
        starts(), cheap(), morse, 8, rng=np.random.default_rng(8), **arguments
    ).replicas
    same = np.array_equal(again[0].atoms.positions, three[0].atoms.positions)
    assert same == (bath == "nve")


# What goes wrong


def broken_at(calls):
    """A factory whose calculator for methane fails at some calls."""

    def make(atoms):
        if len(atoms) == 5:
            return BrokenCalculator(AnyMorse(), calls)
        return AnyMorse()

    return make


@pytest.mark.parametrize("bath", ["nve", "langevin", "bussi"])
def test_a_lost_replica_leaves_and_the_others_go_on(bath, tmp_path, caplog):
    arguments = {"k": 4, **BATHS[bath]}
    names = ("water", "methane", "ethanol")
    rng = np.random.default_rng(7)
    result = run_ensemble(
        starts(names),
        cheap(),
        broken_at(range(6, 99)),
        10,
        rng=rng,
        trajectory=tmp_path,
        **arguments,
    )
    reason = result.failures[1]
    assert list(result.failures) == [1]
    assert reason.startswith("step 5: the jump was undone (RuntimeError: call 6 was told to fail)")
    assert "the physics failed on the 4 steps in its place: RuntimeError: call 7" in reason
    assert "replica 1 is lost at step 5" in caplog.text
    assert str(tmp_path / "0001.restart.traj") in caplog.text
    lost = result.replicas[1]
    assert (lost.stats.jumps, lost.stats.physics_evaluations) == (4, 7)
    frames = [read(tmp_path / f"000{i}.traj", ":") for i in range(3)]
    assert [len(each) for each in frames] == [11, 5, 11]
    for kept in (frames[1][-1], read(tmp_path / "0001.restart.traj")):
        np.testing.assert_array_equal(kept.positions, lost.atoms.positions)
        np.testing.assert_array_equal(kept.get_momenta(), lost.atoms.get_momenta())
    # All of it as if nothing had happened to the other.
    rng = np.random.default_rng(7)
    whole = run_ensemble(starts(names), cheap(), morse, 10, rng=rng, **arguments)
    for i in (0, 2):
        np.testing.assert_array_equal(
            result.replicas[i].atoms.positions, whole.replicas[i].atoms.positions
        )
        assert result.replicas[i].stats.jumps == 10
    middle = alone(starts(names)[1], 4, rng=generators(3)[1], **arguments)
    np.testing.assert_allclose(lost.atoms.positions, middle.atoms.positions, atol=1e-12)


def test_a_single_failure_is_a_fallback_of_its_own():
    names = ("water", "methane", "ethanol")
    result = run_ensemble(starts(names), cheap(), broken_at([6]), 10, k=4)
    assert result.failures == {}
    stats = [replica.stats for replica in result.replicas]
    assert [each.fallbacks for each in stats] == [0, 1, 0]
    assert [each.physics_evaluations for each in stats] == [11, 15, 11]
    assert stats[1].last_problem == "RuntimeError: call 6 was told to fail"
    assert stats[0].last_problem is None


def test_a_failure_of_the_potential_is_a_fallback_of_its_own():
    # Calls: three at the start, then four for each of the molecules in turn, in each jump.
    inner = CalculatorPotential(BrokenCalculator(AnyMorse(depth=1.8), [8]))
    with pytest.warns(KStepWarning, match="replica 1, step 1: the potential failed"):
        result = run_ensemble(starts(), inner, morse, 3, k=4)
    stats = [replica.stats for replica in result.replicas]
    assert [each.fallbacks for each in stats] == [0, 1, 0]
    assert stats[1].last_problem == "potential: RuntimeError: call 8 was told to fail"


def test_one_that_fails_at_the_start(tmp_path):
    names = ("water", "methane", "ethanol")
    result = run_ensemble(
        starts(names), cheap(), broken_at([1]), 3, k=4, trajectory=tmp_path, loginterval=2
    )
    assert result.failures == {
        1: "step 0: no energy at the start: RuntimeError: call 1 was told to fail"
    }
    assert result.replicas[1].stats.physics_evaluations == 1
    assert result.replicas[1].atoms.calc is None
    assert not (tmp_path / "0001.traj").exists()
    assert len(read(tmp_path / "0000.traj", ":")) == 2


def test_if_all_fail_at_the_start_it_is_an_error():
    def useless(atoms):
        raise LookupError("no licence")

    with pytest.raises(DynamicsFailed, match=r"none of the 3 molecules .* LookupError: no licence"):
        run_ensemble(starts(), cheap(), useless, 3)


def test_if_all_are_lost_it_ends(caplog):
    result = run_ensemble(
        starts()[:1], cheap(), lambda a: BrokenCalculator(AnyMorse(), range(3, 99)), 9
    )
    assert list(result.failures) == [0]
    assert result.replicas[0].stats.jumps == 1
    assert result.replicas[0].atoms.get_potential_energy() > 0.0


def test_stop_and_warn_are_for_the_one_replica():
    model = cheap(0.5)
    with pytest.warns(KStepWarning, match=r"replica \d, step \d+: .* the jump stands"):
        result = run_ensemble(starts(), model, morse, 5, k=4, on_error="warn", force_tolerance=0.2)
    assert result.failures == {}
    assert all(replica.stats.exceeded for replica in result.replicas)
    result = run_ensemble(starts(), model, morse, 5, k=4, on_error="stop", force_tolerance=0.2)
    assert set(result.failures) == {0, 1, 2}
    assert "force_tolerance" in result.failures[0]


def test_a_broken_bond_is_told_with_its_replica():
    molecules = [hot("methane", seed=0), hot("methane", seed=1)]
    away = molecules[1].positions[2] - molecules[1].positions[0]
    momenta = molecules[1].get_momenta()
    momenta[2] += 1.2 * away
    molecules[1].set_momenta(momenta)
    with pytest.warns(KStepWarning, match=r"replica 1, step \d+: the bond C0-H2 has broken"):
        result = run_ensemble(molecules, cheap(0.1), lambda atoms: AnyMorse(depth=0.1), 40, k=4)
    assert result.replicas[0].stats.bond_changes == 0
    assert result.replicas[1].stats.bond_changes >= 1


def test_an_interrupt_loses_nothing(tmp_path):
    """Stopped in the middle of a step and run on, it is as if it had not been stopped."""
    calls = []

    class Interrupted(AnyMorse):
        def calculate(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == 3 + 3 * 4 + 2:
                raise KeyboardInterrupt
            super().calculate(*args, **kwargs)

    arguments = {"k": 4, **BATHS["langevin"]}
    with Ensemble(
        starts(),
        cheap(),
        lambda atoms: Interrupted(),
        rng=np.random.default_rng(7),
        trajectory=tmp_path,
        **arguments,
    ) as ensemble:
        with pytest.raises(KeyboardInterrupt):
            ensemble.run(10)
        assert ensemble.nsteps == 4
        for i, replica in enumerate(ensemble.result().replicas):
            assert replica.stats.jumps == 4
            frames = read(tmp_path / f"000{i}.traj", ":")
            assert len(frames) == 5
            np.testing.assert_array_equal(frames[-1].positions, replica.atoms.positions)
            np.testing.assert_allclose(frames[-1].get_forces(), replica.atoms.get_forces())
        ensemble.run(6)
        found = ensemble.result()
    whole = run_ensemble(starts(), cheap(), morse, 10, rng=np.random.default_rng(7), **arguments)
    for a, b in zip(found.replicas, whole.replicas, strict=True):
        np.testing.assert_array_equal(a.atoms.positions, b.atoms.positions)


def test_a_killed_worker_costs_nothing_but_time(tmp_path, caplog):
    """Real processes, one of them really killed in the middle of an evaluation."""
    molecules = starts()
    molecules[1].info = {"accident": "kill", "lives": str(tmp_path / "lives")}
    with Ensemble(molecules, cheap(), morse, k=4, workers=2) as ensemble:
        ensemble.run(2)
        (tmp_path / "lives").write_text("1")
        with caplog.at_level(logging.WARNING):
            ensemble.run(3)
        result = ensemble.result()
    assert re.search(r"a worker was lost \(exit code -9\) with replicas [0-9, ]*1", caplog.text)
    assert result.failures == {}
    whole = run_ensemble(starts(), cheap(), morse, 5, k=4)
    for a, b in zip(result.replicas, whole.replicas, strict=True):
        np.testing.assert_array_equal(a.atoms.positions, b.atoms.positions)
        assert a.stats.fallbacks == 0
        assert a.stats.physics_evaluations == 6


# Arguments


def test_the_atoms_given_are_not_touched():
    molecules = starts()
    result = run_ensemble(molecules, cheap(), morse, 2, progress=True)
    for atoms, same, replica in zip(molecules, starts(), result.replicas, strict=True):
        np.testing.assert_array_equal(atoms.positions, same.positions)
        assert "time" not in atoms.info
        assert atoms.calc is None
        assert len(replica.atoms.constraints) == len(atoms.constraints)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"on_error": "shrunk"}, ValueError, "unknown on_error 'shrunk'"),
        ({"loginterval": 0}, ValueError, "loginterval is 0, expected an integer >= 1"),
        ({"atoms_list": []}, ValueError, "no molecules were given"),
        ({"steps": -1}, ValueError, "steps is -1, expected a whole number from 0"),
        ({"k": 0}, ValueError, "k is 0, expected an integer >= 1"),
        ({"k": StrideTuning()}, ValueError, "without metropolize=True"),
        (
            {"temperature_K": [300, 320], "friction": 1.0},
            ValueError,
            "temperature_K has 2 numbers for 3 molecules",
        ),
        ({"temperature_K": [300, -1, 3], "friction": 1.0}, ValueError, "temperature_K is -1"),
        ({"exchange_interval": 5}, ValueError, "one temperature for all replicas"),
        (
            {"exchange_interval": 5, "temperature_K": [300, 320, 340], "friction": 1.0},
            ValueError,
            "without metropolize=True",
        ),
        (
            {
                "exchange_interval": 5,
                "temperature_K": [300, 320, 340],
                "friction": 1.0,
                "metropolize": True,
            },
            ValueError,
            "replica 1 differs from replica 0 in numbers",
        ),
        ({"checkpoint_interval": 5}, ValueError, "checkpoint_interval=5 without a checkpoint"),
        ({"rng": 3}, TypeError, "rng is a int, expected numpy"),
        ({"workers": -2}, ValueError, "workers is -2"),
        ({"temperature_K": 300}, ValueError, "used by a thermostat only"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_sense(change, kind, message):
    arguments = {"atoms_list": starts(), "steps": 1, **change}
    with pytest.raises(kind, match=message):
        run_ensemble(model=cheap(), physics=morse, **arguments)


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    run_ensemble(starts(), cheap(), morse, 1, trajectory=tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"holds trajectories already \(0000.traj, 0001"):
        run_ensemble(starts(), cheap(), morse, 1, trajectory=tmp_path / "run")
    assert len(read(tmp_path / "run" / "0000.traj", ":")) == 2
