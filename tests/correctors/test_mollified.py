"""The corrector `mollified`: the gradient of an energy, and what follows from that of a step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from kstep_integrators import FlowJump, Guard, load_model, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Filtered, Mollified, estimate, pulled_back, residual_force
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.learning.adapted import AdaptedPotential, adapt
from kstep_integrators.potentials import NetworkPotential, SumPotential
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.step.guard import Control
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing import angular_momentum, flipped
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.thermostats import NoThermostat
from tests.conftest import REFERENCE, cheap, hot

FS = units.FS
STRIDE = 8 * FS
LOOSE = Control(guard=Guard(max_speed=1e9, max_energy_change=1e9))
FOURTH_ORDER = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


def springs(depth: float) -> Surface:
    return Surface(morse(torch.from_numpy(REFERENCE), depth), 9)


def held(state: PhaseState, *fixed: int) -> PhaseState:
    mobile = torch.ones_like(state.masses)
    mobile[list(fixed)] = 0.0
    return state.replace(mobile=mobile, momenta=state.momenta * mobile)


def scheme(state, cheap_one, physics, corrector=None) -> BoundScheme:
    jump = FlowJump(cheap_one, 0.5 * FS)
    return BoundScheme(
        jump.bind(state), corrector or Mollified(), NoThermostat(), physics, jump.timestep, LOOSE
    )


def slope_of_difference(jump: BoundJump, physics, state: PhaseState, along, step: float) -> float:
    """The derivative of D(A(x)) along a direction, by fourth-order differences."""
    slope = 0.0
    for far, share in FOURTH_ORDER:
        there = state.replace(positions=state.positions + far * step * along)
        aim = Mollified().aim(there, jump.begin(there), STRIDE, jump)
        above = physics(aim.state.positions, None)[0].energy - aim.inner.energy
        slope += share * float(above.sum()) / step
    return slope


def kick_of(jump: BoundJump, physics, state: PhaseState) -> torch.Tensor:
    aim = Mollified().aim(state, jump.begin(state), STRIDE, jump)
    computed = physics(aim.state.positions, None)[0]
    return pulled_back(aim, residual_force("mollified", computed, aim.inner))


def trained(backend: str, dense_limit: int = 64) -> NetworkPotential:
    """The bundled model in float64: an untrained network is too stiff to average over 24 fs."""
    known = load_model("organic-gfn2", dtype=torch.float64, backend="eager")
    return NetworkPotential(
        known.network,
        known.header,
        device="cpu",
        dtype=torch.float64,
        backend=backend,
        dense_limit=dense_limit,
    )


def springs_of(count: int) -> Surface:
    """Springs between the first atoms of a part."""
    return Surface(morse(torch.from_numpy(REFERENCE[[0, 1, 3, 4]]), 0.4), count)


def learned() -> AdaptedPotential:
    """The bundled model with what a run may have learned beside it."""
    potential = adapt(trained("native"), [1, 6, 8])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(potential.weights.shape, dtype=torch.float64, generator=generator)
    return potential.with_weights(0.02 * noise)


POTENTIALS = {
    "analytic": lambda: springs(1.5),
    "native": lambda: trained("native"),
    "dense": lambda: trained("eager"),
    "list": lambda: trained("eager", dense_limit=1),
    "sum": lambda: SumPotential(trained("native"), (springs_of(4), [0, 1, 3, 4])),
    "adapted": lambda: learned(),
}


@pytest.mark.parametrize("fixed", [(), (0, 4)], ids=["free", "fixed"])
@pytest.mark.parametrize("kind", POTENTIALS)
def test_the_kick_is_minus_the_gradient_of_the_difference(kind, fixed, state):
    state = held(state, *fixed) if fixed else state
    physics = springs(2.0).bind(state)
    jump = FlowJump(POTENTIALS[kind](), 0.5 * FS).bind(state)
    force = kick_of(jump, physics, state)
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        along = torch.randn(9, 3, dtype=torch.float64, generator=generator)
        along /= along.norm()
        slope = slope_of_difference(jump, physics, state, along, 2e-4)
        found = -float((force * along).sum())
        assert abs(found - slope) < 1e-8 * float(force.norm())
    aim = Mollified().aim(state, jump.begin(state), STRIDE, jump)
    computed = physics(aim.state.positions, None)[0]
    plain = residual_force("mollified", computed, aim.inner)
    assert (force - plain).norm() > 0.01 * force.norm()  # the derivative of the average matters


def test_of_a_calculator_the_gradient_is_as_good_as_its_differences(state):
    """Its Hessian is of central differences over 0.005 angstrom: an error of second order there."""
    physics = springs(2.0).bind(state)
    jump = FlowJump(cheap(depth=1.5), 0.5 * FS).bind(state)
    force = kick_of(jump, physics, state)
    exact = kick_of(FlowJump(springs(1.5), 0.5 * FS).bind(state), physics, state)
    error = float((force - exact).norm() / exact.norm())
    assert 1e-8 < error < 2e-4
    along = exact / exact.norm()
    slope = slope_of_difference(jump, physics, state, along, 2e-4)
    assert -float((exact * along).sum()) == pytest.approx(slope, rel=1e-8)


def test_a_stride_is_symplectic():
    """J^T Omega J = Omega, by fourth-order differences; the filtered kick is no gradient."""
    state = state_from_atoms(hot("water", seed=3))
    rest = state.positions + 0.03
    cheap_one, physics = Surface(morse(rest, 1.5), 3), Surface(morse(rest, 2.0), 3)
    omega = torch.zeros(18, 18, dtype=torch.float64)
    omega[:9, 9:], omega[9:, :9] = torch.eye(9), -torch.eye(9)

    def defect(corrector) -> float:
        parts = scheme(state, cheap_one, physics, corrector)

        def after(z: torch.Tensor) -> torch.Tensor:
            there = state.replace(positions=z[:9].reshape(3, 3), momenta=z[9:].reshape(3, 3))
            point, info = step(start(there, parts, 16), parts, 16, np.random.default_rng(0))
            assert not info.reasons
            return torch.cat([point.state.positions.reshape(-1), point.state.momenta.reshape(-1)])

        z = torch.cat([state.positions.reshape(-1), state.momenta.reshape(-1)])
        columns = []
        for i in range(18):
            h = 2e-4 if i < 9 else 2e-3
            one = torch.zeros(18, dtype=torch.float64)
            one[i] = h
            columns.append(sum(share / h * after(z + far * one) for far, share in FOURTH_ORDER))
        jacobian = torch.stack(columns, 1)
        return float((jacobian.T @ omega @ jacobian - omega).abs().max())

    assert defect(Mollified()) < 1e-7
    assert defect(Filtered()) > 1e-4


@pytest.mark.parametrize("kind", ["analytic", "native", "list"])
def test_a_step_is_reversible(kind, state):
    parts = scheme(state, POTENTIALS[kind](), springs(2.0))
    point = start(state, parts, 16)
    for _ in range(3):
        point, info = step(point, parts, 16, np.random.default_rng(0))
        assert not info.reasons
    assert (point.state.positions - state.positions).abs().max() > 0.1
    back = start(flipped(point.state), parts, 16)
    for _ in range(3):
        back, _ = step(back, parts, 16, np.random.default_rng(0))
    assert (back.state.positions - state.positions).abs().max() < 1e-9
    assert (back.state.momenta + state.momenta).abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["analytic", "native", "list"])
def test_momentum_and_angular_momentum_are_conserved(kind, state):
    far = state.replace(positions=state.positions + 20.0)
    parts = scheme(far, POTENTIALS[kind](), springs(2.0))
    point = start(far, parts, 16)
    for _ in range(3):
        point, info = step(point, parts, 16, np.random.default_rng(0))
        assert not info.reasons
    assert (point.state.momenta.sum(0) - state.momenta.sum(0)).abs().max() < 1e-10
    change = angular_momentum(point.state) - angular_momentum(far)
    assert change.abs().max() < 1e-9


def test_in_a_field_the_torque_is_that_of_the_physics_where_it_is_computed(state):
    """A turns and moves with the molecule, and the potential exerts neither force nor torque."""
    slopes = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)

    def field(x: torch.Tensor) -> torch.Tensor:
        return springs(2.0).energy(x) + (slopes * x.square()).sum((1, 2))

    physics = Surface(field, 9).bind(state)
    jump = FlowJump(springs(1.5), 0.5 * FS).bind(state)
    force = kick_of(jump, physics, state)
    aim = Mollified().aim(state, jump.begin(state), STRIDE, jump)
    there = physics(aim.state.positions, None)[0].require_forces()
    torque = torch.linalg.cross(state.positions, force).sum(0)
    wanted = torch.linalg.cross(aim.state.positions, there).sum(0)
    assert wanted.norm() > 0.1
    torch.testing.assert_close(torque, wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(force.sum(0), there.sum(0), rtol=0, atol=1e-11)
    here = torch.linalg.cross(state.positions, physics(state.positions, None)[0].forces).sum(0)
    assert (wanted - here).norm() > 1e-4


@pytest.mark.parametrize("depth", [1.8, 1.9])
def test_the_error_of_the_conserved_energy_falls_with_the_square_of_the_stride(depth):
    """Over the same 24 fs to either side, of atoms so heavy that a stride resolves their motion."""
    water = state_from_atoms(hot("water", seed=3))
    state = water.replace(masses=25.0 * water.masses, momenta=5.0 * water.momenta)
    rest = state.positions + 0.03
    jump = FlowJump(Surface(morse(rest, depth), 3), 0.125 * FS).bind(state)

    def worst(k: int, reach: float) -> float:
        parts = dataclasses.replace(
            scheme(state, Surface(morse(rest, depth), 3), Surface(morse(rest, 2.0), 3)),
            timestep=0.125 * FS,
            jump=jump,
            corrector=Mollified(reach),
        )
        point = start(state, parts, k)
        energies = []
        for n in range(96 * 8 // k + 1):
            if n * k % 64 == 0:  # every 8 fs
                energies.append(float(kinetic_energy(point.state) + point.potential_energy))
            point, info = step(point, parts, k, np.random.default_rng(0))
            assert not info.reasons
        return float(np.ptp(energies))

    whole, half = worst(64, 3.0), worst(32, 6.0)
    assert whole > 1e-5
    assert half == pytest.approx(whole / 4.0, rel=0.15)


def test_strides_up_to_2_fs_are_impulses(state):
    jump = FlowJump(springs(1.5), 0.5 * FS).bind(state)
    inner = jump.begin(state)
    assert Mollified().aim(state, inner, 2 * FS, jump) is None
    assert Mollified().aim(state, inner, 2.5 * FS, jump) is not None
    physics = springs(2.0).bind(state)(state.positions, None)[0]
    force = Mollified()(state, physics, inner, 2 * FS, jump).force
    assert torch.equal(force, physics.forces - inner.forces)


def test_with_the_potential_as_the_physics_nothing_is_kicked_and_estimates_are_exact(state):
    jump = FlowJump(springs(2.0), 0.5 * FS).bind(state)
    inner = jump.begin(state)
    aim = Mollified().aim(state, inner, STRIDE, jump)
    computed = springs(2.0).bind(state)(aim.state.positions, None)[0]
    assert pulled_back(aim, residual_force("", computed, aim.inner)).abs().max() == 0.0
    there, site = estimate(state, inner, aim, computed)
    assert torch.equal(there.energy, inner.energy)
    assert torch.equal(there.forces, inner.forces)
    assert torch.equal(site.energy, inner.energy)
    assert (aim.state.positions - state.positions).abs().max() > 0.01


def test_the_estimate_by_hand(state):
    """V(x) + D(A) - r . (x - A), and F_potential(x) + r, with the residual r at A."""
    jump = FlowJump(springs(1.5), 0.5 * FS).bind(state)
    inner, physics = jump.begin(state), springs(2.0).bind(state)
    aim = Mollified().aim(state, inner, STRIDE, jump)
    computed = physics(aim.state.positions, None)[0]
    there, site = estimate(state, inner, aim, computed)
    r = computed.forces - aim.inner.forces
    above = float(computed.energy - aim.inner.energy)
    by_hand = (
        float(inner.energy) + above - float((r * (state.positions - aim.state.positions)).sum())
    )
    assert float(there.energy) == pytest.approx(by_hand, abs=1e-12)
    assert torch.equal(there.forces, inner.forces + r)
    assert float(site.energy) == pytest.approx(float(inner.energy) + above, abs=1e-12)
    assert torch.equal(site.positions, aim.state.positions)


def test_the_error_of_the_estimate_is_of_second_order_in_the_distance(state):
    """Half the elongation: a quarter of x - A squared, and of the error with it."""
    errors = []
    for part in (0.2, 0.1):
        rest = torch.from_numpy(REFERENCE)
        there = state.replace(positions=rest + part * (state.positions - rest))
        jump = FlowJump(springs(1.5), 0.5 * FS).bind(there)
        inner, physics = jump.begin(there), springs(2.0).bind(there)
        aim = Mollified().aim(there, inner, STRIDE, jump)
        found, _ = estimate(there, inner, aim, physics(aim.state.positions, None)[0])
        errors.append(float(found.energy - physics(there.positions, None)[0].energy))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


def test_rows_that_are_not_known_stay_so_and_harm_no_other_molecule(state):
    both = join_states([state, state.replace(positions=state.positions + 0.01)])
    surface = springs(1.5)
    jump = FlowJump(surface, 0.5 * FS).bind(both)
    inner = jump.begin(both)
    aim = Mollified().aim(both, inner, STRIDE, jump)
    residual = torch.randn(18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = pulled_back(aim, residual)
    broken = residual.clone()
    broken[3, 1] = torch.nan
    found = pulled_back(aim, broken)
    assert found[:9].isnan().all()
    torch.testing.assert_close(found[9:], whole[9:], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("grown", "stands"), [(29.0, True), (31.0, False)])
def test_what_grows_more_than_30_fold_is_no_derivative(grown, stands, state):
    """In mass-weighted length: a force on a carbon counts less than the same on a hydrogen."""
    both = join_states([state, state])
    residual = torch.randn(18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    residual = residual * both.masses.sqrt()  # each component counts the same
    growth = torch.full_like(residual, 0.5)
    growth[9:] = grown
    jump = FlowJump(springs(1.5), 0.5 * FS).bind(both)
    aim = Mollified().aim(both, jump.begin(both), STRIDE, jump)
    found = pulled_back(dataclasses.replace(aim, pull_back=lambda force: growth * force), residual)
    torch.testing.assert_close(found[:9], 0.5 * residual[:9], rtol=0, atol=0)
    assert bool(found[9:].isfinite().all() if stands else found[9:].isnan().all())
    zero = torch.zeros_like(residual)
    assert not pulled_back(aim, zero).any()


@pytest.mark.parametrize("backend", ["native", "eager"])
def test_a_batch_is_its_molecules_one_by_one(backend, state):
    other = state.replace(positions=state.positions.flip(1) + 0.01)
    both = join_states([state, other])
    model = trained(backend)
    whole = kick_of(FlowJump(model, 0.5 * FS).bind(both), springs(2.0).bind(both), both)
    for n, one in enumerate((state, other)):
        alone = kick_of(FlowJump(model, 0.5 * FS).bind(one), springs(2.0).bind(one), one)
        torch.testing.assert_close(whole[9 * n : 9 * n + 9], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan"), float("inf"), "wide", True, None])
def test_a_reach_that_makes_no_sense_is_refused(reach):
    with pytest.raises((ValueError, TypeError), match=r"reach is .*expected"):
        Mollified(reach)


def test_it_needs_a_potential(state):
    jump = FlowJump(springs(1.5), 0.5 * FS).bind(state)
    with pytest.raises(ValueError, match="mollified corrector needs a jump with a potential"):
        Mollified().aim(state, None, STRIDE, jump)
    with pytest.raises(AttributeError, match="cannot be changed once it is made"):
        Mollified().reach = 2.0
    assert Mollified(2.0).describe() == {"corrector": "mollified", "reach": 2.0}
