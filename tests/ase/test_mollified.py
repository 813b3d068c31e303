"""Mollified runs under ASE: what is computed, and how often."""

import re
import warnings

import numpy as np
import pytest
from ase.constraints import FixAtoms

from kstep_integrators import CalculatorPotential, Guard, load_model
from kstep_integrators.correctors import Mollified
from kstep_integrators.testing import CountingCalculator
from tests.ase.mollified_runs import BATH, FS, energies_of, run_of
from tests.conftest import hot, physics


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


def test_the_same_seed_is_the_same_path():
    ends = []
    for seed in (3, 3, 4):
        dynamics = run_of(rng=np.random.default_rng(seed), **BATH)
        dynamics.run(5)
        ends.append(dynamics.atoms.get_positions())
    np.testing.assert_array_equal(ends[0], ends[1])
    assert abs(ends[0] - ends[2]).max() > 1e-3


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


def test_a_reach_below_a_step_is_averaged_too():
    dynamics = run_of(corrector=Mollified(0.2))
    dynamics.run(3)
    assert dynamics.estimates() is not None
    assert dynamics.stats.fallbacks == 0
