"""Replica exchange: the rule by hand, and the ensembles that it keeps."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from kstep_integrators import FlowJump, units
from kstep_integrators.correctors import NoCorrection
from kstep_integrators.ensemble.exchange import exchange
from kstep_integrators.fields import replaced
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import kinetic_energy
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import advance, begin
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.testing.surfaces import Surface
from kstep_integrators.thermostats import Langevin

KELVIN = [200.0, 300.0, 450.0, 675.0]
KT = units.KB * 300.0


def double_well(x):
    """(B, 3) -> (B,) eV; a barrier of 3 kT at 300 K in each direction."""
    return 3.0 * KT * (x.square() - 1.0).square().sum(-1)


def spring(x):
    return 6.0 * KT * x.square().sum(-1)


def particles(kelvin, seed=0):
    """One particle for each temperature, all of them in the same well."""
    count = len(kelvin)
    rng = np.random.default_rng(seed)
    state = make_state(
        torch.ones(count, dtype=torch.int64),
        torch.ones(count),
        torch.full((count, 3), 1.0),
        torch.from_numpy(math.sqrt(KT) * rng.standard_normal((count, 3))),
        batch=torch.arange(count),
    )
    return state.replace(bath_kelvin=torch.tensor(kelvin, dtype=torch.float64))


def begun(kelvin):
    state, scale = particles(kelvin), 1.0 / math.sqrt(KT)
    physics = Surface(lambda x: double_well(x[:, 0]), 1)
    jump = FlowJump(Surface(lambda x: spring(x[:, 0]), 1), 0.1 * scale)
    scheme = BoundScheme(
        jump.bind(state),
        NoCorrection(),
        Langevin(300.0, math.inf),
        physics,
        jump.timestep,
        metropolis=Metropolis(300.0, 1),
    )
    return begin(state, scheme, RunOptions(k=4))


def at(run, energies):
    point = run.point
    physics = dataclasses.replace(point.physics, energy=torch.tensor(energies).double())
    return replaced(run, point=replaced(point, physics=physics))


def test_a_colder_replica_with_the_higher_energy_always_swaps():
    run = at(begun([200.0, 400.0]), [0.3, 0.1])
    after, tried, made = exchange(run, np.random.default_rng(0), odd=False)
    assert (tried, made) == (1, 1)
    assert after.point.state.bath_kelvin.tolist() == [400.0, 200.0]
    before = kinetic_energy(run.point.state)
    scaled = kinetic_energy(after.point.state)
    assert scaled.tolist() == pytest.approx([2.0 * float(before[0]), 0.5 * float(before[1])])
    assert after.heat == pytest.approx((scaled - before).tolist())
    assert torch.equal(after.point.state.positions, run.point.state.positions)


def test_pairs_take_turns():
    run = at(begun(KELVIN), [3.0, 2.0, 1.0, 0.0])
    even, tried, made = exchange(run, np.random.default_rng(0), odd=False)
    assert (tried, made) == (2, 2)
    assert even.point.state.bath_kelvin.tolist() == [300.0, 200.0, 675.0, 450.0]
    odd, tried, made = exchange(run, np.random.default_rng(0), odd=True)
    assert (tried, made) == (1, 1)
    assert odd.point.state.bath_kelvin.tolist() == [200.0, 450.0, 300.0, 675.0]


def test_the_rate_of_swaps_is_that_of_the_rule():
    energies = [0.0, 0.02]
    run = at(begun([300.0, 450.0]), energies)
    rng, count = np.random.default_rng(1), 4000
    made = sum(exchange(run, rng, odd=False)[2] for _ in range(count))
    rate = math.exp((1 / 300 - 1 / 450) * (energies[0] - energies[1]) / units.KB)
    assert abs(made / count - rate) < 3 * math.sqrt(rate * (1 - rate) / count)


def averages(kelvin):
    """<x^2> and <x^4> of one coordinate at a temperature, by quadrature."""
    x = torch.linspace(-4.0, 4.0, 20001, dtype=torch.float64)
    weight = torch.exp(-3.0 * KT * (x.square() - 1.0).square() / (units.KB * kelvin))
    return [float((x**n * weight).sum() / weight.sum()) for n in (2, 4)]


def test_each_temperature_keeps_its_own_ensemble():
    """From a poor potential; within three standard errors of the blocks."""
    run, rng = begun(KELVIN), np.random.default_rng(3)
    steps, blocks = 2400, 20
    sums, counts, made = np.zeros((len(KELVIN), blocks, 2)), 0, 0
    for number in range(steps + 200):
        run, _, _ = advance(run, rng, Meter(run.scheme.physics, len(KELVIN)))
        if number % 2 == 0:
            run, _, swaps = exchange(run, rng, odd=bool(number // 2 % 2))
            made += swaps
        if number < 200:
            continue
        block = (number - 200) * blocks // steps
        x = run.point.state.positions
        values = torch.stack([(x**n).mean(1) for n in (2, 4)], 1).numpy()
        order = np.argsort(run.point.state.bath_kelvin.numpy())
        sums[:, block] += values[order]
        counts += block == 0
    assert 0.2 * steps < made < 0.95 * 1.5 * steps / 2
    means = sums / counts
    for kelvin, mine in zip(KELVIN, means, strict=True):
        for power, expected in enumerate(averages(kelvin)):
            error = mine[:, power].std(ddof=1) / math.sqrt(blocks)
            assert error < 0.1 * expected
            assert abs(mine[:, power].mean() - expected) < 3 * error, (kelvin, power)
