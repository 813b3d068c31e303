"""Metropolized jumps: exact ensembles from bad potentials, and nothing computed twice."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from kstep_integrators import units
from kstep_integrators.correctors import make_corrector
from kstep_integrators.jumps.flow import _BoundFlow
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, PhasePoint, kinetic_energy, no_evaluation
from kstep_integrators.step.guard import Control, Guard
from kstep_integrators.step.metropolis import Metropolis, metropolized
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.stepper import start, step
from kstep_integrators.thermostats import Langevin

TEMPERATURE = 300.0
KT = units.KB * TEMPERATURE
CPU = torch.device("cpu")


class Separable:
    """Physics V(x) = sum of v over all coordinates of a particle, one particle per molecule."""

    def __init__(self, v):
        self.v = v
        self.evaluations, self.with_forces = 0, 0

    def __call__(self, state, forces=True, which=None):
        self.evaluations += 1
        self.with_forces += forces
        with torch.enable_grad():
            x = state.positions.detach().requires_grad_(True)
            energy = self.v(x).sum(1)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        evaluation = Evaluation(energy.detach(), -gradient if forces else None)
        return evaluation, Cost.of_each(len(energy))


def quartic(x):
    return KT * (x**4 + 0.5 * x**2)


def double_well(x):
    return 1.5 * KT * (x**2 - 1.0) ** 2


def spring(strength):
    return lambda x: 0.5 * strength * KT * x**2


def scheme_of(physics, potential, timestep, corrector="none", friction=math.inf, chances=3):
    model = Separable(potential)

    def forces(positions, workspace):
        return model(replicas(len(positions)).replace(positions=positions))[0], None

    return BoundScheme(
        jump=_BoundFlow(forces, timestep, CPU),
        corrector=make_corrector(corrector, ("none", "impulse")),
        thermostat=Langevin(TEMPERATURE, friction),
        physics=physics,
        timestep=timestep,
        metropolis=Metropolis(TEMPERATURE, chances),
    )


def replicas(count, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return make_state(
        torch.ones(count, dtype=torch.int64),
        torch.ones(count),
        torch.from_numpy(spread * rng.standard_normal((count, 3))),
        torch.from_numpy(math.sqrt(KT) * rng.standard_normal((count, 3))),
        batch=torch.arange(count),
    )


def averages(v, powers):
    """Canonical averages of x^n in one dimension by quadrature."""
    x = torch.linspace(-6.0, 6.0, 40001, dtype=torch.float64)
    weight = torch.exp(-v(x) / KT)
    return [float((x**n * weight).sum() / weight.sum()) for n in powers]


# The ensemble is that of the physics, whatever the potential


@pytest.mark.parametrize("chances", [0, 3])
@pytest.mark.parametrize("corrector", ["none", "impulse"])
@pytest.mark.parametrize("friction", [math.inf, 0.3])
@pytest.mark.parametrize(("physics", "strength"), [(quartic, 6.0), (double_well, 2.0)])
def test_averages_are_those_of_the_physics(physics, strength, friction, corrector, chances):
    """600 particles from a poor start, means and variances within three standard errors."""
    scale = 1.0 / math.sqrt(KT)  # time in which a thermal particle goes one length
    # The kicks of the residual are stiff in the double well: <exp(-dH/kT)> would have long tails.
    timestep = (0.05 if (physics, corrector) == (double_well, "impulse") else 0.15) * scale
    scheme = scheme_of(
        Separable(physics), spring(strength), timestep, corrector, friction / scale, chances
    )
    rng = np.random.default_rng(5)
    # One generator for all particles, or one for each.
    noise = rng.spawn(600) if (physics, friction) == (quartic, 0.3) else rng
    point = start(replicas(600), scheme)
    powers, sums, boltzmann, accepted, tested = (2, 4), 0.0, [], 0, 0
    for i in range(200):
        point, info = step(point, scheme, 4, noise)
        verdict = info.verdict
        if i >= 40:
            x = point.state.positions
            sums = sums + torch.stack([(x**n).mean(1) for n in powers])
            boltzmann.append(torch.exp(-verdict.first_change / KT))
            accepted += int((verdict.accepted_at > 0).sum())
            tested += len(x)
    means = sums / 160  # of each particle: independent of each other
    for found, expected in zip(means, averages(physics, powers), strict=True):
        error = float(found.std()) / math.sqrt(found.numel())
        assert abs(float(found.mean()) - expected) < 3 * error
        assert error < 0.05 * expected
    weights = torch.stack(boltzmann).mean(0)
    error = float(weights.std()) / math.sqrt(len(weights))
    assert abs(float(weights.mean()) - 1.0) < 3 * error
    assert 0.3 < accepted / tested < 0.995  # a test that never rejected would show nothing


def test_without_the_test_the_averages_are_wrong():
    """The same bad potential, uncorrected: so the agreement above is not for free."""
    scale = 1.0 / math.sqrt(KT)
    scheme = scheme_of(Separable(quartic), spring(6.0), 0.15 * scale)
    loose = Control(guard=Guard(1e9, 1e9))
    potential_only = dataclasses.replace(scheme, metropolis=None, control=loose)
    rng = np.random.default_rng(5)
    point, squares = start(replicas(600), potential_only), []
    for _ in range(100):
        point, _ = step(point, potential_only, 4, rng)
        squares.append(float((point.state.positions**2).mean()))
    (expected,) = averages(quartic, (2,))
    assert np.mean(squares[20:]) < 0.8 * expected


# The transition itself


def constant(energy):
    """A map that moves everything by one and gives the energies of a list in turn."""
    energies = iter(energy)

    def advance(here, which):
        state = here.state.replace(positions=here.state.positions + 1.0, time=here.state.time + 2.0)
        value = torch.full_like(here.physics.energy, next(energies))
        return PhasePoint(state, Evaluation(value, None), None)

    return advance


def at_rest(count=1):
    state = replicas(count)
    return PhasePoint(state, Evaluation(torch.zeros(count, dtype=torch.float64), None), None)


@pytest.mark.parametrize(
    ("energies", "chances", "accepted_at", "tried"),
    [
        ([-1.0], 3, 1, 1),  # downhill: always
        ([99.0, -1.0], 3, 2, 2),
        ([99.0, 99.0, 99.0, -1.0], 3, 4, 4),
        ([99.0, 99.0, 99.0, 99.0], 3, 0, 4),
        ([99.0], 0, 0, 1),
        ([math.inf, -1.0], 3, 0, 1),  # what lies behind a failure is not reached
        ([math.nan, -1.0], 3, 0, 1),
        ([99.0, -math.inf], 3, 0, 2),  # no energy is as low as that
    ],
)
def test_chances(energies, chances, accepted_at, tried):
    here = at_rest()
    after, verdict = metropolized(
        here, constant(energies), Metropolis(TEMPERATURE, chances), np.random.default_rng(0)
    )
    assert verdict.accepted_at.tolist() == [accepted_at]
    assert verdict.tried == tried
    assert after.state.time.tolist() == [2.0 * accepted_at]
    torch.testing.assert_close(after.state.positions, here.state.positions + accepted_at)
    sign = 1.0 if accepted_at else -1.0
    assert torch.equal(after.state.momenta, sign * here.state.momenta)
    if not accepted_at:
        assert after.physics is here.physics


def test_one_uniform_number_per_molecule_whatever_happens():
    for energies in ([-1.0], [99.0] * 4, [math.inf]):
        rng = np.random.default_rng(3)
        metropolized(at_rest(7), constant(energies), Metropolis(TEMPERATURE), rng)
        reference = np.random.default_rng(3)
        reference.random(7)
        assert rng.random() == reference.random()


def test_acceptance_is_the_boltzmann_factor():
    count = 20000
    _, verdict = metropolized(
        at_rest(count), constant([KT]), Metropolis(TEMPERATURE, 0), np.random.default_rng(0)
    )
    rate = float((verdict.accepted_at > 0).double().mean())
    assert abs(rate - math.exp(-1.0)) < 3 * math.sqrt(0.37 * 0.63 / count)


def test_molecules_of_a_batch_are_accepted_one_by_one():
    scheme = scheme_of(Separable(quartic), spring(6.0), 0.3 / math.sqrt(KT), friction=0.0)
    before = start(replicas(40), scheme)
    after, info = step(before, scheme, 4, np.random.default_rng(1))
    chances = info.verdict.accepted_at
    assert {0, 1} <= set(chances.tolist())
    torch.testing.assert_close(after.state.time, chances.double() * 4 * scheme.timestep)
    rejected = chances == 0
    assert torch.equal(after.state.positions[rejected], before.state.positions[rejected])
    assert torch.equal(after.state.momenta[rejected], -before.state.momenta[rejected])
    torch.testing.assert_close(
        after.physics.energy, scheme.physics(after.state)[0].energy, rtol=0, atol=1e-12
    )


def test_a_perfect_potential_is_nearly_always_accepted_and_costs_one_energy():
    physics = Separable(quartic)
    scheme = scheme_of(physics, quartic, 0.01 / math.sqrt(KT))
    point = start(replicas(50), scheme)
    rng = np.random.default_rng(0)
    for _ in range(20):
        point, info = step(point, scheme, 50, rng)
        assert (info.verdict.accepted_at > 0).all()
    assert physics.evaluations <= 23
    assert physics.with_forces == 0


def test_a_failing_physics_is_a_rejection_and_no_guard_intervenes():
    class Broken(Separable):
        def __call__(self, state, forces=True, which=None):
            if self.evaluations == 2:
                self.evaluations += 1
                return no_evaluation(state, {0: "no convergence"}), Cost.of_each(1)
            return super().__call__(state, forces)

    physics = Broken(quartic)
    scheme = scheme_of(physics, quartic, 0.01 / math.sqrt(KT), friction=0.0)
    scheme = dataclasses.replace(scheme, control=Control(guard=Guard(1e-9, 1e-9)))
    point = start(replicas(1), scheme)
    rng = np.random.default_rng(0)
    point, first = step(point, scheme, 4, rng)
    before = point
    point, second = step(point, scheme, 4, rng)
    assert first.verdict.accepted_at.tolist() == [1]
    assert second.verdict.accepted_at.tolist() == [0]
    assert second.fallbacks == {}
    assert first.failures == {}
    assert second.failures == {0: "no convergence"}
    totals = Stats().add(first).add(second)
    assert (totals.failures, totals.last_problem) == (1, "no convergence")
    assert (totals.accepted, totals.flips) == (1, 1)
    assert torch.equal(point.state.positions, before.state.positions)
    assert torch.equal(point.state.momenta, -before.state.momenta)
    assert float(kinetic_energy(point.state)) == float(kinetic_energy(before.state))
