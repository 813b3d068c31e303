"""Moves of the volume: known ensembles, exponents, sizes that freeze, and failures."""

import numpy as np
import pytest
import torch

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import PhasePoint
from kstep_integrators.step.barostat import ADAPTED, COUPLINGS, Barostat, begin_moves, try_volume
from kstep_integrators.step.options import RunOptions
from kstep_integrators.testing import BrokenCalculator
from tests.periodic_systems import KT, SKEWED, IdealGas, dimers, gas, mean_and_error


def chain(atoms, calculator, barostat, steps, seed=0):
    """Volumes after the sizes have been frozen, and the last moves, of moves alone."""
    state = state_from_atoms(atoms)
    physics = Meter(CalculatorPhysics(atoms, calculator), 1)
    point, moves = PhasePoint(state, physics(state), None), begin_moves(barostat, state)
    rng, volumes = np.random.default_rng(seed), []
    for _ in range(steps):
        there, moves, _ = try_volume(point, barostat, moves, rng, physics, False)
        point = point if there is None else there
        if moves.frozen:
            volumes.append(abs(np.linalg.det(point.state.cell[0].numpy())))
    return np.array(volumes), moves, point


@pytest.mark.parametrize(("kind", "seed"), [*zip(COUPLINGS, (0, 1, 2), strict=True)])
def test_an_ideal_gas_has_its_mean_volume_and_density(kind, seed):
    """<V> = (N + 1) kT / P and <N / V> = P / kT: the exponent is N, and neither more nor less."""
    count = 8
    pressure = count * KT / 1728.0
    barostat = Barostat(pressure, 300.0, kind, "atoms")
    volumes, moves, _ = chain(gas(count, SKEWED), IdealGas(), barostat, 4000, seed)
    for value, wanted in (
        (volumes, (count + 1) * KT / pressure),
        (count / volumes, pressure / KT),
    ):
        mean, error = mean_and_error(value, 12)
        assert error < 0.03 * wanted  # an exponent of 9 or 7 would be 11 % off
        assert abs(mean - wanted) < 3.0 * error
    assert 0.3 < moves.accepted / sum(moves.tried) < 0.8


def test_molecules_count_as_one_each():
    count = 10
    pressure = count * KT / 1728.0
    barostat = Barostat(pressure, 300.0, "isotropic", "molecules")
    volumes, _, point = chain(dimers(count), IdealGas(spring=30.0), barostat, 2500, 4)
    mean, error = mean_and_error(volumes, 12)
    assert error < 0.04 * mean
    assert abs(mean - (count + 1) * KT / pressure) < 3.0 * error
    assert abs(float(point.physics.energy)) < 1e-20  # each of its length, wherever it is


def test_sizes_are_adapted_and_then_stay():
    barostat = Barostat(6 * KT / 1728.0, 300.0, "semi-isotropic", "atoms")
    state = state_from_atoms(gas())
    physics = Meter(CalculatorPhysics(gas(), IdealGas()), 1)
    point, moves = PhasePoint(state, physics(state), None), begin_moves(barostat, state)
    assert moves.sizes == pytest.approx((17.28, 17.28))
    rng, sizes = np.random.default_rng(0), []
    for n in range(2 * ADAPTED + 20):
        assert moves.frozen == (n >= 2 * ADAPTED)
        there, moves, _ = try_volume(point, barostat, moves, rng, physics, False)
        point = point if there is None else there
        sizes.append(moves.sizes)
    assert sizes[2 * ADAPTED - 2] != sizes[0]
    assert len(set(sizes[2 * ADAPTED - 1 :])) == 1
    assert min(moves.sizes) > 100.0  # of volumes that vary by hundreds


@pytest.mark.parametrize("kind", COUPLINGS)
def test_vectors_scale_as_the_name_says(kind):
    barostat = Barostat(0.0, 300.0, kind, "atoms")
    state = state_from_atoms(gas(cell=SKEWED))
    physics = Meter(CalculatorPhysics(gas(cell=SKEWED), IdealGas()), 1)
    point, moves = PhasePoint(state, physics(state), None), begin_moves(barostat, state)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        there, moves, _ = try_volume(point, barostat, moves, rng, physics, True)
        if there is None:
            continue
        factors = there.state.cell[0].norm(dim=1) / point.state.cell[0].norm(dim=1)
        angles = there.state.cell[0] / there.state.cell[0].norm(dim=1, keepdim=True)
        before = point.state.cell[0] / point.state.cell[0].norm(dim=1, keepdim=True)
        torch.testing.assert_close(angles, before, rtol=0.0, atol=1e-12)
        moved = (factors - 1.0).abs() > 1e-9
        seen.add(tuple(i for i in range(3) if moved[i]))
        assert float(factors[moved].std(correction=0)) < 1e-12
        assert there.inner is None
        assert there.correction is None
        point = there
    assert seen == set(COUPLINGS[kind])


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_failed_evaluation_is_a_rejection(how):
    barostat = Barostat(0.0, 300.0, "isotropic", "atoms")
    atoms = gas()
    state = state_from_atoms(atoms)
    broken = BrokenCalculator(IdealGas(), [2], how)
    physics = Meter(CalculatorPhysics(atoms, broken), 1)
    point, moves = PhasePoint(state, physics(state), None), begin_moves(barostat, state)
    there, moves, failure = try_volume(
        point, barostat, moves, np.random.default_rng(0), physics, True
    )
    assert there is None
    assert failure
    assert moves.tried == (1,)
    assert moves.accepted == 0
    assert physics.evaluations.tolist() == [2]


BATH = {"temperature_K": 300.0, "friction": 0.1}


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"pressure": "1", **BATH}, TypeError, "pressure is '1', expected a number"),
        ({"pressure": np.nan, **BATH}, ValueError, "pressure is nan, expected a finite number"),
        ({"pressure": 1e-6}, ValueError, "thermostat=None and temperature_K=None: moves of"),
        ({"pressure": 1e-6, **BATH, "temperature_K": 0.0}, ValueError, "temperature_K=0.0"),
        ({"pressure": 1e-6, **BATH, "barostat": "xy"}, ValueError, "barostat is 'xy', expected"),
        ({"pressure": 1e-6, **BATH, "barostat_scales": "all"}, ValueError, "scales is 'all'"),
        ({"pressure": 1e-6, **BATH, "barostat_interval": 0}, ValueError, "interval is 0"),
        ({"barostat": "isotropic", **BATH}, ValueError, "'isotropic'} without a pressure"),
        ({"barostat_interval": 5, **BATH}, ValueError, "'barostat_interval': 5} without"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        RunOptions(**given)


def test_options_make_a_barostat_and_come_back_from_a_checkpoint():
    assert RunOptions(**BATH).barostat_of() is None
    options = RunOptions(pressure=1e-6, **BATH)
    assert options.barostat_of() == Barostat(1e-6, 300.0, "isotropic", "molecules", 25)
    other = RunOptions(
        pressure=0, barostat="anisotropic", barostat_scales="atoms", barostat_interval=3, **BATH
    )
    assert other.barostat_of() == Barostat(0.0, 300.0, "anisotropic", "atoms", 3)
    assert RunOptions.from_json(other.to_json()) == other
