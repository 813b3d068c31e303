import pytest
import torch
from ase import units
from ase.calculators.calculator import BaseCalculator
from ase.md.verlet import VelocityVerlet

from kstep_integrators import CalculatorPotential, FlowJump, named_molecule
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.nn.energy.network import BACKBONES
from kstep_integrators.state import Evaluation, PhaseState, kinetic_energy
from kstep_integrators.testing import MorseNetwork, assert_jump
from tests.conftest import LINEAR, potential

FS = units.fs


def nothing(state: PhaseState) -> Evaluation:
    return Evaluation(torch.zeros(1, dtype=torch.float64), torch.zeros_like(state.positions))


@pytest.mark.parametrize(
    ("backbone", "k"),
    [(name, 8) for name in (*sorted(BACKBONES), *LINEAR)]
    + [(name, 200) for name in ("egnn", "painn", "transformer")],
)
@pytest.mark.parametrize("dense_limit", [1, 64])
def test_the_contract_of_a_jump(backbone, dense_limit, k, state):
    # strides of 4 and 100 fs
    jump = FlowJump(potential(backbone, dense_limit, backend="eager"), 0.5 * FS)
    assert_jump(jump, state, nothing(state), k=k)


@pytest.mark.parametrize("backbone", ["painn", "linear"])
@pytest.mark.parametrize("k", [8, 200])
def test_the_contract_of_a_jump_in_the_native_kernel(backbone, k, state):
    jump = FlowJump(potential(backbone, backend="native"), 0.5 * FS)
    assert_jump(jump, state, nothing(state), k=k)


def morse() -> BaseCalculator:
    return MorseNetwork(named_molecule("ethanol").positions)


@pytest.mark.parametrize("k", [1, 8])
def test_a_flow_is_velocity_verlet(k, ethanol, state):
    jump = FlowJump(CalculatorPotential(morse()), 0.5 * FS)
    for _ in range(10):
        state, info = jump.bind(state)(state, nothing(state), None, k)
    assert info.steps == k
    ethanol.calc = morse()
    VelocityVerlet(ethanol, 0.5 * FS).run(10 * k)
    assert abs(state.positions.numpy() - ethanol.positions).max() < 1e-10
    assert abs(state.momenta.numpy() - ethanol.get_momenta()).max() < 1e-10
    assert float(state.time) == pytest.approx(10 * k * 0.5 * FS, rel=1e-12)


def test_the_start_is_not_computed_again(state):
    class Counting:
        calls = 0

    counter, model = Counting(), potential(backend="eager")
    inner = model.bind(state)

    def counted(x, carry):
        counter.calls += 1
        return inner(x, carry)

    jump = FlowJump(model, 0.5 * FS).bind(state)
    jump.forces = counted
    first, info = jump(state, nothing(state), None, 4)
    assert counter.calls == 5
    jump(first, nothing(first), info.end, 4)
    assert counter.calls == 9


@pytest.mark.parametrize(("fix_com", "asked"), [(False, [3]), (True, [])])
def test_a_potential_that_takes_the_steps_itself_is_asked(fix_com, asked, state):
    calls, model = [], potential(backend="eager")

    class Whole(type(model.bind(state))):
        def flow(self, state, start, timestep, k):
            calls.append(k)
            return verlet_flow(self, state, start, timestep, k)[:2]

    state = state.replace(fix_com=fix_com)
    jump = FlowJump(model, 0.5 * FS).bind(state)
    expected, _ = jump(state, nothing(state), None, 3)
    jump.forces.__class__ = Whole
    landed, info = jump(state, nothing(state), None, 3)
    assert calls == asked
    assert info.failures == {}
    assert torch.equal(landed.positions, expected.positions)
    assert torch.equal(landed.time, expected.time)


def test_the_contract_catches_a_jump_that_breaks_it(state):
    class Drifting(FlowJump):
        def bind(self, state):
            flow = super().bind(state)

            class Wrapped:
                def begin(self, state):
                    return flow.begin(state)

                def __call__(self, *args):
                    new, info = flow(*args)
                    push = torch.tensor([0.0, 0.0, 1e-6], dtype=torch.float64)
                    return new.replace(momenta=new.momenta + push), info

            return Wrapped()

    with pytest.raises(AssertionError, match="total momentum"):
        assert_jump(Drifting(potential(), 0.5 * FS), state, nothing(state))


def test_a_timestep_must_be_positive():
    with pytest.raises(ValueError, match=r"timestep is -1.0, expected a positive"):
        FlowJump(potential(), -1.0)


def test_the_energy_of_a_flow_is_conserved_to_second_order(state):
    widths = []
    for timestep in (0.5, 0.25):
        jump = FlowJump(CalculatorPotential(morse()), timestep * FS).bind(state)
        walker, inner, totals = state, jump.begin(state), []
        for _ in range(100):
            walker, info = jump(walker, nothing(walker), inner, round(0.5 / timestep))
            inner = info.end
            totals.append(inner.energy + kinetic_energy(walker))
        widths.append(float(torch.cat(totals).std()))
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.1)
