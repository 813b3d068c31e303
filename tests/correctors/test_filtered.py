"""The corrector `filtered`: what it must not do, what it equals in its limits, and whole steps."""

import dataclasses

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixCom

from kstep_integrators import (
    CalculatorPotential,
    FlowJump,
    Guard,
    KStepDynamics,
    KStepWarning,
    units,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Filtered, Impulse, make_corrector
from kstep_integrators.correctors.filters import FILTERS
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.step.guard import Control
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing import (
    BrokenCalculator,
    CountingCalculator,
    angular_momentum,
    flipped,
    rotated,
)
from kstep_integrators.thermostats import NoThermostat
from tests.conftest import cheap, hot, physics, potential
from tests.potentials.test_potentials import together

FS = units.FS
STRIDE = 8 * FS


class OtherForces:
    """Another potential as the physics."""

    def __init__(self, bound):
        self.bound, self.evaluations = bound, 0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: torch.Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        self.evaluations += 1
        return self.bound(state.positions, None)[0], Cost.of_each(state.n_molecules)


class Harmonic:
    """V = d K d / 2 with d = x - x0: a potential and a bound one in one."""

    timestep, device = 0.05, torch.device("cpu")

    def __init__(self, rest: torch.Tensor, matrix: torch.Tensor) -> None:
        self.rest, self.matrix = rest, matrix

    def bind(self, state):
        return self

    def describe(self):
        return {}

    def __call__(self, positions, workspace):
        d = (positions - self.rest).reshape(-1)
        f = -self.matrix @ d
        return Evaluation(-0.5 * (d @ f).reshape(1), f.reshape(-1, 3)), None

    def linearized(self, positions):
        return lambda v: (v.flatten(1) @ self.matrix).reshape(v.shape)


def scheme(corrector, state, jump=None, bound=None) -> BoundScheme:
    jump = jump or FlowJump(potential(), 0.5 * FS)
    bound = bound or potential(seed=1).bind(state)
    loose = Control(guard=Guard(max_speed=1e9, max_energy_change=1e9))
    return BoundScheme(
        jump.bind(state), corrector, NoThermostat(), OtherForces(bound), jump.timestep, loose
    )


def correction(state, corrector=None, physics_forces=None, model=None):
    jump = FlowJump(model or potential(), 0.5 * FS).bind(state)
    given = Evaluation(
        torch.zeros(state.n_molecules, dtype=torch.float64),
        strange(state) if physics_forces is None else physics_forces,
    )
    corrector = corrector or Filtered()
    return corrector(state, given, jump.begin(state), STRIDE, jump).force


def strange(state: PhaseState) -> torch.Tensor:
    """Forces with a net force and a net torque."""
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn(state.positions.shape, dtype=torch.float64, generator=generator)
    return draw + torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("dense_limit", [64, 1])
@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_net_force_and_no_net_torque(dense_limit, name, state):
    far = state.replace(positions=state.positions + 30.0)
    force = correction(far, Filtered(name, dense_limit))
    assert force.abs().max() > 0.1
    assert force.sum(0).abs().max() < 1e-12
    arms = far.positions - far.positions.mean(0)
    assert torch.linalg.cross(arms, force).sum(0).abs().max() < 1e-12


def test_a_step_conserves_momentum_and_angular_momentum(state):
    parts = scheme(Filtered(), state)
    point = start(state, parts)
    for _ in range(3):
        point, _ = step(point, parts, 16, np.random.default_rng(0))
    assert (point.state.momenta.sum(0) - state.momenta.sum(0)).abs().max() < 1e-11
    change = angular_momentum(point.state) - angular_momentum(state)
    assert change.abs().max() < 1e-11


@pytest.mark.parametrize("dense_limit", [64, 1])
def test_a_step_is_reversible(dense_limit, state):
    parts = scheme(Filtered(dense_limit=dense_limit), state)
    point = start(state, parts)
    for _ in range(3):
        point, info = step(point, parts, 16, np.random.default_rng(0))
        assert not info.fallbacks
    back = start(flipped(point.state), parts)
    for _ in range(3):
        back, _ = step(back, parts, 16, np.random.default_rng(0))
    assert (back.state.positions - state.positions).abs().max() < 1e-9
    assert (back.state.momenta + state.momenta).abs().max() < 1e-9


def test_with_a_filter_that_lets_all_pass_it_is_the_impulse(state, monkeypatch):
    monkeypatch.setitem(FILTERS, "all", torch.ones_like)
    other = potential(seed=1).bind(state)(state.positions, None)[0].forces
    all_pass = correction(state, Filtered("all"), other)
    impulse = correction(state, Impulse(), other)
    torch.testing.assert_close(all_pass, impulse, atol=1e-10, rtol=0)
    krylov = correction(state, Filtered("all", dense_limit=1), other)
    torch.testing.assert_close(krylov, impulse, atol=1e-10, rtol=0)


@pytest.mark.parametrize("dense_limit", [64, 1])
def test_it_turns_with_the_molecule(dense_limit, state):
    draw = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(draw)
    corrector = Filtered(dense_limit=dense_limit)
    force = correction(state, corrector, strange(state))
    for matrix in (rotation, -rotation):
        turned = correction(rotated(state, matrix), corrector, strange(state) @ matrix.T)
        torch.testing.assert_close(turned, force @ matrix.T, atol=1e-9, rtol=0)


def test_it_is_translated_and_permuted_with_the_molecule(state):
    force = correction(state)
    moved = correction(state.replace(positions=state.positions + 5.0), None, strange(state))
    torch.testing.assert_close(moved, force, atol=1e-9, rtol=0)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = state.replace(
        **{name: getattr(state, name)[order] for name in ("numbers", "masses", "positions")}
    )
    swapped = correction(shuffled, None, strange(state)[order])
    torch.testing.assert_close(swapped, force[order], atol=1e-9, rtol=0)


def held(n_mobile: int, masses: list[float]) -> PhaseState:
    """Three fixed atoms, so that nothing is projected out, and others that move."""
    generator = torch.Generator().manual_seed(0)
    n = 3 + n_mobile
    mobile = torch.tensor([0.0] * 3 + [1.0] * n_mobile, dtype=torch.float64)
    return make_state(
        torch.ones(n, dtype=torch.int64),
        torch.tensor([1.0] * 3 + masses, dtype=torch.float64),
        torch.randn(n, 3, dtype=torch.float64, generator=generator),
        torch.zeros(n, 3, dtype=torch.float64),
        mobile=mobile,
    )


@pytest.mark.parametrize("dense_limit", [64, 1])
def test_the_kick_of_a_harmonic_system(dense_limit):
    state = held(2, [2.0, 5.0])
    generator = torch.Generator().manual_seed(4)
    draw = torch.randn(15, 15, dtype=torch.float64, generator=generator)
    matrix = draw + draw.T
    model = Harmonic(torch.zeros(5, 3, dtype=torch.float64), matrix)
    given = strange(state)
    force = correction(state, Filtered("octic", dense_limit), given, model)

    weights = np.sqrt(np.repeat([2.0, 5.0], 3))
    inner = matrix.numpy()[9:, 9:]
    squares, modes = np.linalg.eigh(inner / weights[:, None] / weights)
    assert (squares < 0).any()
    assert (squares > 0).any()
    x = STRIDE * np.sqrt(np.maximum(squares, 0.0))
    residual = (given - model(state.positions, None)[0].forces).numpy()[3:].reshape(-1)
    expected = weights * (modes @ ((modes.T @ (residual / weights)) / (1 + (x / 1.2) ** 8)))
    np.testing.assert_allclose(force.numpy()[3:].reshape(-1), expected, atol=1e-9)
    assert (force[:3] == 0).all()


def test_stable_where_the_impulse_resonates():
    # A stiff spring of w h = 3.1 and a soft one; the physics has a fifth more of the stiff one
    # and couples both. Impulses are unstable for 0 < pi - w h < 0.2 w h.
    state = held(2, [1.0, 1.0])
    stride = 16 * 0.05
    stiff, soft = (3.1 / stride) ** 2, (0.3 / stride) ** 2
    springs = torch.tensor([1.0] * 9 + [stiff] * 3 + [soft] * 3, dtype=torch.float64)
    more = springs.clone()
    more[9:12] *= 1.2
    coupled = more.diag()
    for i in range(9, 12):
        coupled[i, i + 3] = coupled[i + 3, i] = 0.3 * soft
    inner, outer = Harmonic(state.positions, springs.diag()), Harmonic(state.positions, coupled)
    push = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pushed = state.replace(momenta=push * state.mobile)

    def largest(corrector) -> float:
        parts = scheme(corrector, state, FlowJump(inner, 0.05), outer)
        point, energies = start(pushed, parts), []
        for _ in range(1000):
            point, _ = step(point, parts, 16, np.random.default_rng(0))
            energies.append(point.physics.energy + 0.5 * point.state.momenta.square().sum())
        return float(torch.cat(energies).max() / (0.5 * pushed.momenta.square().sum()))

    assert largest(Impulse()) > 1e6
    # Closer to the edge of its window the motion is stable but swells and ebbs.
    assert largest(Filtered("quartic")) < 10.0
    assert largest(Filtered("octic")) < 2.0


@pytest.mark.parametrize("dense_limit", [64, 1])
@pytest.mark.parametrize("names", [("ethanol", "ethanol"), ("ethanol", "water", "methane")])
def test_a_batch_is_its_molecules_one_by_one(dense_limit, names):
    singles = [state_from_atoms(hot(name, seed=seed)) for seed, name in enumerate(names)]
    whole = together(*singles)
    given = [strange(single) for single in singles]
    corrector = Filtered(dense_limit=dense_limit)
    force = correction(whole, corrector, torch.cat(given))
    alone = [correction(s, corrector, f) for s, f in zip(singles, given, strict=True)]
    torch.testing.assert_close(force, torch.cat(alone), atol=1e-8, rtol=0)


def test_one_hessian_for_each_stride(state):
    parts = scheme(Filtered(), state)
    jump, calls = parts.jump, []

    class Counted:
        def begin(self, state):
            return jump.begin(state)

        def linearized(self, state):
            calls.append(state.positions)
            return jump.linearized(state)

        def __call__(self, *args):
            return jump(*args)

    counted: BoundJump = Counted()
    parts = dataclasses.replace(parts, jump=counted)
    point = start(state, parts)
    for _ in range(3):
        point, _ = step(point, parts, 4, np.random.default_rng(0))
    assert len(calls) == 4
    # Another stride is another filter.
    step(point, parts, 8, np.random.default_rng(0))
    assert len(calls) == 6


def test_fixed_atoms_stay(atoms):
    atoms.set_constraint(FixAtoms([0, 4]))
    before = atoms.positions[[0, 4]].copy()
    atoms.set_momenta(np.where(np.isin(np.arange(9), [0, 4])[:, None], 0, atoms.get_momenta()))
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=8, corrector="filtered")
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 0
    assert np.array_equal(atoms.positions[[0, 4]], before)
    assert not atoms.get_momenta()[[0, 4]].any()


def test_the_centre_of_mass_stays(atoms):
    atoms.set_constraint(FixCom())
    before = atoms.get_center_of_mass()
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.9), k=8, corrector="filtered", temperature_K=300, friction=0.01 / FS
    )
    dynamics.run(5)
    assert abs(atoms.get_center_of_mass() - before).max() < 1e-12
    assert abs(atoms.get_momenta().sum(0)).max() < 1e-12


def test_a_calculator_inside_costs_six_cheap_calls_an_atom(atoms):
    inner = CountingCalculator(physics(depth=1.9))
    dynamics = KStepDynamics(
        atoms, CalculatorPotential(inner), k=8, corrector=Filtered("quartic"), timestep=0.5 * FS
    )
    dynamics.run(4)
    assert dynamics.todict()["corrector"] == "filtered"
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 5
    assert inner.evaluations == 1 + 4 * 8 + 5 * 6 * 9
    assert dynamics.stats.fallbacks == 0


def test_a_hessian_that_fails_is_a_failed_jump(atoms):
    # Call 1 at the start, 2-55 its Hessian, 56-57 the jump, 58 on the Hessian of the landing.
    inner = CalculatorPotential(BrokenCalculator(physics(depth=1.9), [60]))
    dynamics = KStepDynamics(atoms, inner, k=2, corrector="filtered", timestep=0.5 * FS)
    with pytest.warns(KStepWarning, match="step 1: the potential failed: RuntimeError: call 60"):
        dynamics.run(1)
    assert dynamics.stats.fallbacks == dynamics.stats.potential_failures == 1
    assert dynamics.stats.last_problem.startswith("potential: RuntimeError: call 60")
    dynamics.run(2)
    assert dynamics.stats.fallbacks == 1


def test_a_hessian_that_is_nan_is_a_failed_jump(atoms):
    class Blind(CalculatorPotential):
        def bind(self, state):
            bound = super().bind(state)
            bound.linearized = lambda positions: lambda vectors: vectors * torch.nan
            return bound

    inner = Blind(physics(depth=1.9))
    dynamics = KStepDynamics(atoms, inner, k=2, corrector="filtered", timestep=0.5 * FS)
    with pytest.warns(KStepWarning, match="the Hessian of the potential is not finite"):
        dynamics.run(1)
    assert "Hessian of the potential is not finite" in dynamics.stats.last_problem


def test_what_is_refused(state):
    with pytest.raises(ValueError, match=r"unknown filter 'magic'; choose one of \['octic', 'qu"):
        Filtered("magic")
    with pytest.raises(ValueError, match="cannot take the corrector 'filtered'; it takes"):
        make_corrector(Filtered(), ("none",))
    assert make_corrector("filtered", FlowJump.correctors).filter is FILTERS["octic"]
    given = Filtered("quartic")
    assert make_corrector(given, FlowJump.correctors) is given
    evaluation = Evaluation(torch.zeros(1), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="the filtered corrector needs a jump with a potential"):
        given(state, evaluation, None, 1.0, None)
    energy_only = Evaluation(torch.zeros(1), None)
    with pytest.raises(ValueError, match="forces are needed"):
        given(state, energy_only, evaluation, 1.0, None)
