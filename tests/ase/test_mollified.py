"""Mollified runs under ASE: what is computed, what is estimated, and what is said of it."""

import math
import re
import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLengths
from ase.io import Trajectory, read
from ase.md import MDLogger
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    Guard,
    KStepDynamics,
    KStepWarning,
    load_model,
    run_ensemble,
)
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import Impulse, Mollified
from kstep_integrators.state import EvaluationFailed
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.conftest import cheap, hot, physics
from tests.direct_systems import silent

FS = units.fs
BATH = {"temperature_K": 300, "friction": 0.02 / FS}
MOLLIFIED = {"corrector": "mollified", "k": 32, "verify_interval": 0}


def run_of(atoms=None, model=None, calculator=None, **options) -> KStepDynamics:
    atoms = hot() if atoms is None else atoms
    if atoms.calc is None:
        atoms.calc = CountingCalculator(physics()) if calculator is None else calculator
    options = {**MOLLIFIED, **options}
    return KStepDynamics(atoms, cheap(depth=1.8) if model is None else model, **options)


def truth(atoms: Atoms) -> Atoms:
    """The same atoms with another calculator of the physics."""
    other = atoms.copy()
    other.calc = physics()
    return other


def verlet_after(atoms: Atoms, steps: int) -> Atoms:
    other = truth(atoms)
    VelocityVerlet(other, 0.25 * FS).run(steps)
    return other


# Evaluations


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("bath", [{}, BATH], ids=["nve", "langevin"])
def test_n_strides_are_n_plus_one_evaluations(steps, bath):
    dynamics = run_of(rng=np.random.default_rng(0), **bath)
    dynamics.run(steps)
    stats = dynamics.stats
    assert stats.physics_evaluations == dynamics.atoms.calc.evaluations == steps + 1
    assert dynamics.atoms.calc.energy_evaluations == 0
    assert (stats.jumps, stats.fallbacks, stats.verifications) == (steps, 0, 0)
    assert dynamics.get_time() == pytest.approx(8.0 * FS * steps)
    dynamics.run(2)  # run on, the start is known
    assert dynamics.atoms.calc.evaluations == steps + 3


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_verifications_are_counted_apart(interval):
    dynamics = run_of(verify_interval=interval)
    dynamics.run(7)
    assert dynamics.stats.verifications == 7 // interval
    assert dynamics.stats.physics_evaluations == 8
    assert dynamics.atoms.calc.evaluations == 8 + 7 // interval
    assert dynamics.atoms.calc.energy_evaluations == 7 // interval  # an energy is enough


def test_verifications_do_not_change_the_path():
    one, other = run_of(), run_of(verify_interval=1)
    one.run(6)
    other.run(6)
    np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
    np.testing.assert_array_equal(one.atoms.get_momenta(), other.atoms.get_momenta())


def test_by_default_every_hundredth_stride_is_verified():
    dynamics = run_of(model=load_model("organic-gfn2"), k=16, verify_interval=None)
    dynamics.guard = Guard(max_speed=1e9, max_energy_change=1e9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network of another physics
        dynamics.run(100)
    assert dynamics.stats.verifications == 1
    assert dynamics.atoms.calc.evaluations == 102


def test_the_potential_is_asked_as_the_documentation_says():
    inner = CountingCalculator(physics(depth=1.8))
    dynamics = run_of(model=CalculatorPotential(inner))
    dynamics.run(1)
    first = inner.evaluations
    dynamics.run(4)
    # 32 steps; of the 12 weights of a triangle over 24 fs the first is at the landing, whose force
    # is known; the force at the average; and 11 products by differences of two forces.
    assert inner.evaluations - first == 4 * (32 + 10 + 1 + 2 * 11)


@pytest.mark.parametrize(("k", "options"), [(32, {}), (16, {}), (8, {}), (32, {"corrector": None})])
def test_what_a_calculator_is_asked_is_said_before_the_run(k, options, caplog):
    inner = CountingCalculator(physics(depth=1.8))
    with caplog.at_level("INFO", logger="kstep_integrators.ase.estimates"):
        dynamics = run_of(model=CalculatorPotential(inner), k=k, **options)
    assert inner.evaluations == 0
    said = [re.findall(r"(\d+) calls of .* the (\d+) of the jump", m) for m in caplog.messages]
    dynamics.run(1)
    first = inner.evaluations
    dynamics.run(1)
    if k == 8:  # 2 fs: impulses
        assert said == []
    else:
        assert inner.evaluations - first == sum(int(n) for n in said[0][0])


# The same again


def test_the_same_seed_is_the_same_path():
    ends = []
    for seed in (3, 3, 4):
        dynamics = run_of(rng=np.random.default_rng(seed), **BATH)
        dynamics.run(5)
        ends.append(dynamics.atoms.get_positions())
    np.testing.assert_array_equal(ends[0], ends[1])
    assert abs(ends[0] - ends[2]).max() > 1e-3


# What is shown


def test_the_log_says_how_good_the_estimates_are(tmp_path):
    dynamics = run_of(logfile=tmp_path / "md.log", verify_interval=2)
    errors = []
    for _ in range(4):
        dynamics.run(1)
        there = truth(dynamics.atoms).get_potential_energy()
        errors.append(1e3 * (dynamics.estimates().get_potential_energy() - there) / 9)
    pattern = r"# step (\d): the estimated energy is off by (\S+) meV/atom \(rms of (\d): (\S+)\)"
    said = re.findall(pattern, (tmp_path / "md.log").read_text())
    assert [(int(step), int(count)) for step, _, count, _ in said] == [(2, 1), (4, 2)]
    assert [float(error) for _, error, _, _ in said] == pytest.approx(errors[1::2], abs=6e-4)
    both = math.hypot(errors[1], errors[3]) / math.sqrt(2.0)
    assert float(said[1][3]) == pytest.approx(both, abs=6e-4)
    assert (
        f"conserved energy {dynamics.get_conserved_energy():.6f} eV"
        in ((tmp_path / "md.log").read_text().splitlines()[-2])
    )


def test_log_and_trajectory_show_estimates_and_cost_nothing(tmp_path):
    dynamics = run_of(trajectory=tmp_path / "md.traj", logfile=tmp_path / "md.log")
    shown = []
    dynamics.attach(lambda: shown.append(dynamics.estimates()))
    dynamics.run(5)
    assert dynamics.atoms.calc.evaluations == 6
    frames = read(tmp_path / "md.traj", ":")
    lines = (tmp_path / "md.log").read_text().splitlines()[1:]
    assert len(frames) == len(lines) == len(shown) == 6
    for frame, line, known in zip(frames, lines, shown, strict=True):
        assert frame.info["estimated"] == "energy, forces"
        energy = frame.get_potential_energy()
        assert energy == known.get_potential_energy()
        np.testing.assert_array_equal(frame.get_forces(), known.get_forces())
        assert float(line.split()[2]) == pytest.approx(energy, abs=1e-3)
        real = truth(frame)
        assert 0.0 < abs(real.get_potential_energy() - energy) < 0.1
        forces = real.get_forces()
        assert abs(forces - frame.get_forces()).max() < 0.3 * abs(forces).max()
    assert dynamics.atoms.calc.evaluations == 6
    assert "estimated" not in dynamics.atoms.info


def test_frames_of_impulses_say_nothing_of_estimates(tmp_path):
    dynamics = run_of(corrector="impulse", verify_interval=None, trajectory=tmp_path / "md.traj")
    dynamics.run(3)
    assert dynamics.estimates() is None
    for frame in read(tmp_path / "md.traj", ":"):
        assert "estimated" not in frame.info
        assert frame.get_potential_energy() == truth(frame).get_potential_energy()


def test_strides_of_2_fs_are_computed_and_not_estimated(tmp_path):
    dynamics = run_of(k=8, verify_interval=1, trajectory=tmp_path / "md.traj")
    dynamics.run(3)
    other = run_of(k=8, corrector="impulse", verify_interval=None)
    other.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions, other.atoms.positions)
    assert dynamics.stats.verifications == 0
    assert dynamics.stats.estimate_error is None
    assert dynamics.atoms.calc.evaluations == 4
    for frame in read(tmp_path / "md.traj", ":"):
        assert "estimated" not in frame.info
        assert frame.get_potential_energy() == truth(frame).get_potential_energy()


def test_forces_asked_by_the_user_are_one_real_evaluation_and_disturb_nothing():
    plain, asked = run_of(), run_of()
    plain.run(6)
    asked.run(3)
    before = asked.atoms.calc.evaluations
    forces = asked.atoms.get_forces()
    energy = asked.atoms.get_potential_energy()
    assert asked.atoms.calc.evaluations == before + 1
    real = truth(asked.atoms)
    np.testing.assert_array_equal(forces, real.get_forces())
    assert energy == real.get_potential_energy()
    asked.run(3)
    assert asked.atoms.calc.evaluations == 7 + 1
    assert asked.stats.physics_evaluations == plain.stats.physics_evaluations == 7
    np.testing.assert_array_equal(asked.atoms.positions, plain.atoms.positions)
    np.testing.assert_array_equal(asked.atoms.get_momenta(), plain.atoms.get_momenta())


def test_an_observer_that_asks_at_each_step_disturbs_nothing():
    plain, asked = run_of(), run_of()
    asked.attach(lambda: asked.atoms.get_forces())
    plain.run(5)
    asked.run(5)
    np.testing.assert_array_equal(asked.atoms.positions, plain.atoms.positions)
    assert asked.stats.physics_evaluations == 6
    assert asked.atoms.calc.evaluations == 6 + 6


def test_outputs_of_the_users_own_never_pass_one_geometry_for_another(tmp_path):
    """ASE's logger makes a real evaluation each time; its trajectory has no energy of elsewhere."""
    plain, dynamics = run_of(), run_of()
    with (
        MDLogger(dynamics, dynamics.atoms, str(tmp_path / "own.log")) as log,
        Trajectory(tmp_path / "own.traj", "w", dynamics.atoms) as frames,
    ):
        dynamics.attach(frames.write)
        dynamics.run(2)
        assert dynamics.atoms.calc.evaluations == 3
        dynamics.attach(log)
        dynamics.run(2)
    assert dynamics.atoms.calc.evaluations == 5 + 2
    assert dynamics.stats.physics_evaluations == 5
    for frame in read(tmp_path / "own.traj", ":"):
        if frame.calc is not None and "energy" in frame.calc.results:
            assert frame.get_potential_energy() == truth(frame).get_potential_energy()
    last = (tmp_path / "own.log").read_text().splitlines()[-1]
    real = truth(dynamics.atoms).get_potential_energy()
    assert float(last.split()[2]) == pytest.approx(real, abs=1e-3)
    plain.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_the_error_of_estimates_by_hand():
    dynamics = run_of(verify_interval=1)
    errors = []
    for _ in range(5):
        dynamics.run(1)
        known = dynamics.estimates()
        errors.append(known.get_potential_energy() - truth(known).get_potential_energy())
    by_hand = math.sqrt(np.mean(np.square(errors)))
    assert dynamics.stats.estimate_error == pytest.approx(by_hand, rel=1e-9)
    assert by_hand > 1e-4


def energies_of(dynamics: KStepDynamics, steps: int) -> tuple[list[float], list[float]]:
    """The conserved energy, and the estimated total energy, at each step."""
    conserved, shown = [], []
    for _ in dynamics.irun(steps):
        conserved.append(dynamics.get_conserved_energy())
        known = dynamics.estimates()
        shown.append(known.get_potential_energy() + known.get_kinetic_energy())
    return conserved, shown


def test_the_conserved_energy_is_conserved_better_than_the_estimated_one():
    dynamics = run_of(model=cheap(depth=1.5))
    conserved, shown = energies_of(dynamics, 60)
    assert dynamics.atoms.calc.evaluations == 61
    assert np.std(conserved) < 0.003
    assert np.std(shown) > 2.0 * np.std(conserved)
    # V(x) + D(A) and the estimate differ by the work of the residual from A to x alone.
    assert abs(np.mean(shown) - np.mean(conserved)) < 0.02


def test_the_conserved_energy_counts_the_heat_of_a_bath():
    bath = {"temperature_K": 300, "friction": 0.1 / FS}
    dynamics = run_of(rng=np.random.default_rng(0), **bath)
    conserved, _ = energies_of(dynamics, 40)
    assert abs(dynamics.transferred_energy) > 0.1
    assert np.ptp(conserved) < 0.005


# Refusals and defaults


def test_what_it_cannot_go_with_is_refused():
    with pytest.raises(ValueError, match=r"metropolize=True with .*'mollified'.*'none'"):
        run_of(metropolize=True, **BATH)
    bonds = hot()
    bonds.set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    with pytest.raises(ValueError, match=r"'mollified' with 2 bonds of fixed length.*use 'impu"):
        run_of(bonds)
    for corrector in ("impulse", "filtered", "none", None):
        run_of(corrector=corrector, k=8, verify_interval=0)  # none, as it is anyway
        with pytest.raises(ValueError, match=r"verify_interval=5 with .*corrector='mollified'"):
            run_of(corrector=corrector, k=8, verify_interval=5)
    for wrong in (-1, 2.5, True, "often"):
        with pytest.raises(ValueError, match=r"verify_interval is .*expected a whole number"):
            run_of(verify_interval=wrong)
    with pytest.raises(ValueError, match=r"cannot take the corrector 'mollified'; it takes"):
        run_of(model=silent(force_head=True), k=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 8}, Impulse),
        ({"k": 16}, Impulse),
        ({"k": 18}, Mollified),
        ({"k": 32}, Mollified),
        ({"k": 32, "metropolize": True, **BATH}, Impulse),
        ({"k": 8, "timestep": 0.5 * FS}, Impulse),
        ({"k": 9, "timestep": 0.5 * FS}, Mollified),
    ],
)
def test_the_default_corrector_at_a_stride(options, expected):
    dynamics = run_of(corrector=None, verify_interval=None, **{"k": 8, **options})
    assert type(dynamics.scheme.corrector) is expected


def test_with_fixed_bonds_the_default_stays_that_of_impulses():
    bonds = hot()
    bonds.set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    dynamics = run_of(bonds, corrector=None, verify_interval=None)
    assert type(dynamics.scheme.corrector) is Impulse
    dynamics.k = 40
    assert type(dynamics.scheme.corrector) is Impulse
    dynamics.run(1)


def test_the_default_follows_the_stride_that_is_set():
    dynamics = run_of(corrector=None, verify_interval=None, k=8)
    dynamics.run(2)
    dynamics.k = 32
    assert type(dynamics.scheme.corrector) is Mollified
    dynamics.run(2)
    assert dynamics.estimates() is not None
    dynamics.k = 8
    assert type(dynamics.scheme.corrector) is Impulse
    assert dynamics.estimates() is None
    # 1 + 2 strides, another at averaged positions, 2 strides, another at the positions
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 3 + 1 + 2 + 1


# Options changed while it goes on


CHANGES = {
    "impulse": {"corrector": "impulse"},
    "none": {"corrector": "none"},
    "tested": {"corrector": "none", "metropolize": True},
    "reach": {"corrector": Mollified(2.0)},
    "stride": {"k": 24},
    "timestep": {"timestep": 0.2 * FS},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_is_changed_is_evaluated_anew_and_goes_on_as_another_would(change):
    dynamics = run_of(rng=np.random.default_rng(1), verify_interval=None, **BATH)
    dynamics.run(3)
    assert dynamics.estimates() is not None
    dynamics.set_options(**CHANGES[change])
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 5
    averages = dynamics.scheme.corrector.averages
    assert (dynamics.estimates() is not None) == averages
    generator = np.random.default_rng()
    generator.bit_generator.state = dynamics.rng.bit_generator.state
    other = run_of(
        dynamics.atoms.copy(), rng=generator, verify_interval=None, **BATH, **CHANGES[change]
    )
    dynamics.run(3)
    other.run(3)
    np.testing.assert_allclose(dynamics.atoms.positions, other.atoms.positions, atol=1e-10)
    np.testing.assert_allclose(dynamics.atoms.get_momenta(), other.atoms.get_momenta(), atol=1e-9)
    spent = other.atoms.calc.evaluations - 1
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 5 + spent


def test_what_does_not_concern_the_corrector_costs_nothing():
    dynamics = run_of(rng=np.random.default_rng(1), **BATH)
    plain = run_of(rng=np.random.default_rng(1), **BATH)
    dynamics.attach(lambda: dynamics.set_options(verify_interval=0, temperature_K=300.0))
    dynamics.run(4)
    plain.run(4)
    assert dynamics.atoms.calc.evaluations == 5
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_a_change_whose_evaluation_fails_changes_nothing():
    dynamics = run_of(calculator=BrokenCalculator(physics(), [5]))
    plain = run_of()
    dynamics.run(3)
    with pytest.raises(EvaluationFailed, match="call 5 was told to fail"):
        dynamics.corrector = "impulse"
    assert dynamics.corrector == "mollified"
    dynamics.run(2)
    plain.run(5)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


@pytest.mark.parametrize("edit", ["positions", "momenta", "masses"])
def test_edits_between_steps_are_what_another_run_begins_with(edit):
    dynamics = run_of()
    dynamics.run(3)
    atoms = dynamics.atoms
    if edit == "positions":
        atoms.positions += 0.01 * np.sin(np.arange(27)).reshape(9, 3)
    elif edit == "momenta":
        atoms.set_momenta(0.9 * atoms.get_momenta())
    else:
        atoms.set_masses([14.0, *atoms.get_masses()[1:]])
    other = run_of(atoms.copy())
    dynamics.run(3)
    other.run(3)
    np.testing.assert_allclose(dynamics.atoms.positions, other.atoms.positions, atol=1e-11)
    anew = edit != "momenta"
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 7 + anew


# What goes wrong


def test_a_failing_evaluation_is_stepped_over_with_the_physics_own_forces(tmp_path):
    """Evaluations: 2 strides with the start, the one that fails, one at x, and 32 Verlet steps."""
    broken = BrokenCalculator(physics(), [4])
    dynamics = run_of(calculator=broken, trajectory=tmp_path / "md.traj")
    dynamics.run(2)
    other = verlet_after(dynamics.atoms, 32)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "call 4 was told to fail" in dynamics.stats.last_problem
    assert broken.calls == dynamics.stats.physics_evaluations == 3 + 1 + 1 + 32
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    np.testing.assert_allclose(dynamics.atoms.get_momenta(), other.get_momenta(), atol=1e-9)
    assert dynamics.estimates() is None
    dynamics.atoms.get_forces()
    assert broken.calls == 37  # they are known
    last = read(tmp_path / "md.traj", "-1")
    assert "estimated" not in last.info
    real = truth(last)
    assert last.get_potential_energy() == real.get_potential_energy()
    np.testing.assert_array_equal(last.get_forces(), real.get_forces())
    dynamics.run(2)
    assert broken.calls == dynamics.stats.physics_evaluations == 37 + 2
    assert read(tmp_path / "md.traj", "-1").info["estimated"]


@pytest.mark.parametrize("where", ["flow", "average", "there", "adjoint"])
@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_potential_that_fails_is_stepped_over(where, how):
    """Wherever it fails in the second stride: the path is that of Verlet steps from its start."""
    counter = CountingCalculator(physics(depth=1.8))
    probe = run_of(model=CalculatorPotential(counter))
    probe.run(1)
    call = counter.evaluations + {"flow": 5, "average": 32 + 4, "there": 32 + 11,
                                  "adjoint": 32 + 11 + 6}[where]  # fmt: skip
    broken = BrokenCalculator(physics(depth=1.8), [call], how)
    dynamics = run_of(model=CalculatorPotential(broken))
    dynamics.run(1)
    np.testing.assert_array_equal(dynamics.atoms.positions, probe.atoms.positions)
    other = verlet_after(dynamics.atoms, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KStepWarning)
        dynamics.run(1)
    assert (dynamics.stats.fallbacks, dynamics.stats.potential_failures) == (1, 1)
    assert dynamics.stats.last_problem.startswith("potential: ")
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    evaluations = dynamics.atoms.calc.evaluations
    assert evaluations == dynamics.stats.physics_evaluations
    assert evaluations == 2 + (where == "adjoint") + 1 + 32
    dynamics.run(2)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.estimates() is not None


def test_if_the_physics_fails_too_the_last_good_state_says_what_it_is(tmp_path):
    path = tmp_path / "md.traj"
    dynamics = run_of(calculator=BrokenCalculator(physics(), range(4, 100)), trajectory=path)
    with pytest.raises(DynamicsFailed, match=r"last good state \(step 2\) is in .*restart.traj"):
        dynamics.run(5)
    last = read(f"{path}.restart.traj")
    assert last.info["estimated"] == "energy, forces"
    np.testing.assert_array_equal(last.positions, read(path, "-1").positions)
    np.testing.assert_array_equal(last.positions, dynamics.atoms.positions)


def test_if_the_physics_fails_at_the_start_it_is_an_error():
    dynamics = run_of(calculator=BrokenCalculator(physics(), [1]))
    with pytest.raises(EvaluationFailed, match="call 1 was told to fail"):
        dynamics.run(1)
    dynamics.run(2)
    assert dynamics.stats.physics_evaluations == dynamics.atoms.calc.calls == 1 + 3


def test_a_verification_that_fails_is_none():
    calls = 2 + 1  # two at averaged positions, then the first verification
    dynamics = run_of(calculator=BrokenCalculator(physics(), [calls]), verify_interval=1)
    plain = run_of()
    dynamics.run(3)
    plain.run(3)
    assert dynamics.stats.verifications == 2
    assert np.isfinite(dynamics.stats.estimate_error)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_tolerances_are_of_the_residual_where_it_is_computed():
    """Beyond it, a fallback each stride: an evaluation, one at x if it was estimated, 32 steps."""
    start = hot()
    other = verlet_after(start, 96)
    dynamics = run_of(start, force_tolerance=1e-6)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 3
    assert "force_tolerance" in dynamics.stats.last_problem
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)
    # At the start it is estimated; after a fallback it is computed.
    evaluations = dynamics.atoms.calc.evaluations
    assert evaluations == dynamics.stats.physics_evaluations == 1 + 3 * (1 + 32) + 1


def test_warn_lets_a_stride_stand():
    plain = run_of()
    plain.run(3)
    dynamics = run_of(on_error="warn", force_tolerance=1e-6)
    with pytest.warns(KStepWarning, match="the jump stands"):
        dynamics.run(3)
    assert (dynamics.stats.exceeded, dynamics.stats.fallbacks) == (3, 0)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_stop_stops():
    dynamics = run_of(on_error="stop", energy_tolerance=1e-9)
    before = dynamics.atoms.get_positions()
    with pytest.raises(DynamicsFailed, match="energy_tolerance"):
        dynamics.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions, before)


def test_shrinking_makes_shorter_strides_and_then_long_ones_again():
    """The physics fails once: two strides of 4 fs, at averages of their own."""
    dynamics = run_of(calculator=BrokenCalculator(physics(), [3]), on_error="shrink")
    times = []
    dynamics.attach(lambda: times.append(dynamics.get_time()))
    dynamics.run(4)
    assert (dynamics.stats.shrinks, dynamics.stats.fallbacks) == (1, 0)
    assert dynamics.atoms.calc.calls == dynamics.stats.physics_evaluations == 2 + 1 + 2 * 3
    assert np.diff(times) == pytest.approx(8.0 * FS)
    assert dynamics.estimates() is not None


def test_an_absurd_jump_is_made_by_the_physics():
    dynamics = run_of(guard=Guard(max_energy_change=1e-7))
    other = verlet_after(dynamics.atoms, 32)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "total energy changed" in dynamics.stats.last_problem
    np.testing.assert_allclose(dynamics.atoms.positions, other.positions, atol=1e-10)


def test_an_interrupted_step_is_made_again_the_same():
    class Interrupted(BrokenCalculator):
        def calculate(self, *arguments):
            if self.calls == 3:
                self.calls += 1
                raise KeyboardInterrupt
            super().calculate(*arguments)

    dynamics = run_of(calculator=Interrupted(physics(), []), rng=np.random.default_rng(2), **BATH)
    plain = run_of(rng=np.random.default_rng(2), **BATH)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(5)
    dynamics.run(5 - dynamics.nsteps)
    plain.run(5)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_an_interrupted_verification_leaves_the_step_to_be_made_again():
    """The evaluation at the averaged positions is known then."""

    class Interrupted(BrokenCalculator):
        def calculate(self, *arguments):
            if self.calls == 2:
                self.calls += 1
                raise KeyboardInterrupt
            super().calculate(*arguments)

    dynamics = run_of(
        calculator=Interrupted(physics(), []), verify_interval=1, rng=np.random.default_rng(2),
        **BATH,
    )  # fmt: skip
    plain = run_of(rng=np.random.default_rng(2), **BATH)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(4)
    assert dynamics.nsteps == 0
    dynamics.run(4)
    plain.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)
    assert (dynamics.stats.physics_evaluations, dynamics.stats.verifications) == (5, 4)
    assert dynamics.atoms.calc.calls == 5 + 4 + 1


def test_fixed_atoms_stay_and_the_others_feel_them():
    atoms = hot()
    atoms.set_constraint(FixAtoms([0, 5]))
    atoms.set_momenta(atoms.get_momenta())  # which takes those of fixed atoms away
    before = atoms.get_positions()
    dynamics = run_of(atoms)
    energies, _ = energies_of(dynamics, 20)
    np.testing.assert_array_equal(atoms.positions[[0, 5]], before[[0, 5]])
    assert abs(atoms.positions - before).max() > 0.05
    assert np.ptp(energies) < 0.02


@pytest.mark.parametrize("formula", ["CH4", "CO2"])
def test_an_exactly_symmetric_start_is_stepped_over(formula):
    """Vectors of a network vanish at its middle atom, where their length has a kink: the
    transposed derivative of the average is 1e5 times what it is a hundredth of an angstrom away."""
    atoms = molecule(formula)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    atoms.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(atoms, "organic-gfn2", k=16, timestep=0.5 * FS, verify_interval=0)
    reference = atoms.copy()
    reference.calc = xtb_calculator("GFN2-xTB")
    with pytest.warns(KStepWarning, match="step 1: the potential failed: its average has no"):
        dynamics.run(1)
    VelocityVerlet(reference, 0.5 * FS).run(16)
    np.testing.assert_allclose(atoms.positions, reference.positions, atol=1e-8)
    dynamics.run(9)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.stats.last_problem == "potential: its average has no derivative"
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations


def test_among_others_a_symmetric_start_has_the_same_reason():
    atoms = [molecule("CH4"), molecule("H2O")]
    for seed, one in enumerate(atoms):  # at rest it would stay symmetric
        thermalize_momenta(one, temperature_K=300, rng=np.random.default_rng(seed))
    with pytest.warns(KStepWarning, match="replica 0, step 1: .* its average has no derivative"):
        result = run_ensemble(
            atoms,
            "organic-gfn2",
            lambda _: xtb_calculator("GFN2-xTB"),
            2,
            k=16,
            timestep=0.5 * FS,
            verify_interval=0,
        )
    assert [one.stats.fallbacks for one in result.replicas] == [1, 0]


def test_a_reach_below_a_step_is_averaged_too():
    dynamics = run_of(corrector=Mollified(0.2))
    dynamics.run(3)
    assert dynamics.estimates() is not None
    assert dynamics.stats.fallbacks == 0
