"""What is done about jumps that the physics disagrees with, in ASE and for one molecule of many."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from ase import units
from ase.io import read
from ase.md.verlet import VelocityVerlet

from kstep_integrators import CalculatorPotential, DynamicsFailed, KStepDynamics, KStepWarning
from kstep_integrators.correctors import Impulse
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, no_evaluation
from kstep_integrators.step.guard import CALM_STEPS, Control
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing import BrokenCalculator
from kstep_integrators.thermostats import Langevin, NoThermostat
from tests.conftest import cheap, physics, potential

FS = units.fs


def verlet_after(atoms, steps):
    other = atoms.copy()
    other.calc = physics()
    VelocityVerlet(other, 0.25 * FS).run(steps)
    return other


@pytest.mark.parametrize("tolerance", [{"force_tolerance": 0.01}, {"energy_tolerance": 1e-6}])
def test_a_jump_beyond_the_tolerance_falls_back(tolerance, atoms):
    other = verlet_after(atoms, 12)
    dynamics = KStepDynamics(atoms, cheap(depth=1.5), k=4, **tolerance)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 3
    assert "_tolerance" in dynamics.stats.last_problem
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 1 + 3 * (1 + 4)
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_a_jump_within_the_tolerance_stands(atoms):
    plain = atoms.copy()
    plain.calc = physics()
    KStepDynamics(plain, cheap(depth=1.9), k=4).run(5)
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.9), k=4, force_tolerance=50.0, energy_tolerance=5.0
    )
    dynamics.run(5)
    assert (dynamics.stats.fallbacks, dynamics.stats.exceeded) == (0, 0)
    np.testing.assert_array_equal(atoms.positions, plain.positions)


def test_shrinking_halves_the_stride_for_a_while(atoms):
    """The potential fails once: two jumps for each stride from there on, then one again."""
    steps = 4 + CALM_STEPS + 4
    other = verlet_after(atoms, 8 * steps)
    # One force at the start and eight for each jump: the tenth is in the second jump.
    failing = CalculatorPotential(BrokenCalculator(physics(), [10], "nan"))
    dynamics = KStepDynamics(atoms, failing, k=8, on_error="shrink")
    times = []
    dynamics.attach(lambda: times.append(dynamics.get_time()))
    dynamics.run(steps)
    assert (dynamics.stats.shrinks, dynamics.stats.fallbacks) == (1, 0)
    assert "energy nan eV" in dynamics.stats.last_problem
    assert atoms.calc.evaluations == 1 + steps + 1 + CALM_STEPS
    assert np.diff(times) == pytest.approx(2.0 * FS)
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_strides_that_do_not_halve_evenly(atoms):
    other = verlet_after(atoms, 5 * 3)
    # The third force is in the first jump, the seventh in the jump of 3 that is tried in its place.
    failing = CalculatorPotential(BrokenCalculator(physics(), [3, 5], "nan"))
    dynamics = KStepDynamics(atoms, failing, k=5, on_error="shrink")
    dynamics.run(3)
    # 2 + 2 + 1 base steps of each stride
    assert dynamics.stats.shrinks == 2
    assert atoms.calc.evaluations == 1 + 3 * 3
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_shrinking_ends_with_steps_of_the_physics(atoms):
    other = verlet_after(atoms, 4 * 3)
    useless = CalculatorPotential(BrokenCalculator(physics(), range(2, 1000)))
    dynamics = KStepDynamics(atoms, useless, k=4, on_error="shrink")
    with pytest.warns(KStepWarning, match="step 1: the potential failed"):
        dynamics.run(3)
    assert dynamics.stats.shrinks == 2
    assert dynamics.stats.fallbacks == 3
    assert atoms.calc.evaluations == 1 + 3 * 4
    assert abs(atoms.positions - other.positions).max() < 1e-10


def test_a_shorter_stride_meets_an_energy_tolerance(atoms):
    """Not a failure but an inaccurate potential: its error over a stride grows with the stride."""
    errors = {}
    for k in (2, 8):
        probe = atoms.copy()
        probe.calc = physics()
        watched = KStepDynamics(probe, cheap(depth=1.6), k=k)
        watched.run(16 // k)
        errors[k] = watched.stats.energy_error
    tolerance = (errors[2] * errors[8]) ** 0.5
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.6), k=8, on_error="shrink", energy_tolerance=tolerance
    )
    dynamics.run(6)
    assert dynamics.stats.shrinks > 0
    assert dynamics.stats.energy_error < errors[8]
    assert dynamics.get_time() == pytest.approx(6 * 2.0 * FS)


def test_shrinking_gives_up_where_the_physics_fails(atoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms.calc = BrokenCalculator(physics(), range(3, 100))
    dynamics = KStepDynamics(atoms, cheap(), k=4, on_error="shrink")
    with pytest.raises(DynamicsFailed, match=r"the physics failed on the 1 steps.*step 1\) is in"):
        dynamics.run(3)
    np.testing.assert_array_equal(read("kstep.restart.traj").positions, atoms.positions)


def test_warning_lets_the_jump_stand_and_says_so(atoms):
    plain = atoms.copy()
    plain.calc = physics()
    KStepDynamics(plain, cheap(depth=1.5), k=4).run(12)
    dynamics = KStepDynamics(atoms, cheap(depth=1.5), k=4, on_error="warn", force_tolerance=1e-3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dynamics.run(12)
    told = [str(w.message) for w in caught if w.category is KStepWarning]
    assert len(told) == 2
    assert told[0].startswith("step 1: the residual force on an atom is")
    assert "1 so far; the next warning comes at 10" in told[0]
    assert told[1].startswith("step 10: ")
    assert (dynamics.stats.exceeded, dynamics.stats.fallbacks) == (12, 0)
    assert atoms.calc.evaluations == 13
    np.testing.assert_array_equal(atoms.positions, plain.positions)


def test_what_has_no_energy_never_stands(atoms):
    atoms.calc = BrokenCalculator(physics(), [3], "nan")
    dynamics = KStepDynamics(atoms, cheap(), k=4, on_error="warn")
    dynamics.run(4)
    assert dynamics.stats.fallbacks == 1
    assert atoms.calc.calls == 1 + 4 + 4


@pytest.mark.parametrize("cause", ["tolerance", "failure"])
def test_stopping_leaves_the_last_good_state(cause, atoms, tmp_path):
    path = tmp_path / "md.traj"
    tolerance = 1e-9 if cause == "tolerance" else None
    broken = [10] if cause == "failure" else []
    inner = CalculatorPotential(BrokenCalculator(physics(depth=1.9), broken, "nan"))
    dynamics = KStepDynamics(
        atoms, inner, k=4, on_error="stop", energy_tolerance=tolerance, trajectory=str(path)
    )
    step = 0 if cause == "tolerance" else 2
    word = "energy_tolerance" if cause == "tolerance" else "energy nan eV"
    with pytest.raises(DynamicsFailed, match=rf"{word}.*last good state \(step {step}\)"):
        dynamics.run(5)
    assert atoms.calc.evaluations == 1 + (1 if cause == "tolerance" else 2)
    assert len(read(path, ":")) == step + 1
    np.testing.assert_array_equal(read(f"{path}.restart.traj").positions, atoms.positions)


@pytest.mark.parametrize(
    "given", [{"energy_tolerance": 0.1}, {"force_tolerance": 0.1}, {"on_error": "stop"}]
)
def test_nothing_intervenes_under_a_metropolis_test(given, atoms):
    with pytest.raises(ValueError, match="the physical energy alone decides"):
        KStepDynamics(atoms, cheap(), temperature_K=300, friction=0.1, metropolize=True, **given)


# One molecule of many


class Springs:
    """Physics of several diatomics; it fails for some of them, at some calls."""

    def __init__(self, failing=(), calls=()):
        self.failing, self.calls = failing, calls
        self.asked = []

    def __call__(self, state, forces=True, which=None):
        self.asked.append(None if which is None else which.tolist())
        found = no_evaluation(state)
        energy, force = spring(state.positions)
        cost = np.zeros(state.n_molecules, dtype=np.int64)
        for i in range(state.n_molecules):
            if which is None or bool(which[i]):
                cost[i] = 1
                if i in self.failing and len(self.asked) in self.calls:
                    found.failures[i] = "no convergence"
                    continue
                found.energy[i] = energy[i]
                found.forces[2 * i : 2 * i + 2] = force[2 * i : 2 * i + 2]
        return found, Cost(cost)


def spring(positions):
    """Energies and forces of diatomics of length 1."""
    pairs = positions.view(-1, 2, 3)
    vector = pairs[:, 1] - pairs[:, 0]
    length = vector.norm(dim=1)
    pull = 20.0 * (length - 1.0)[:, None] * vector / length[:, None]
    return 10.0 * (length - 1.0) ** 2, torch.stack([pull, -pull], 1).reshape(-1, 3)


class BatchPotential:
    """The same springs as a potential, wrong for the molecules of ``absurd`` at one call."""

    timestep, device = 0.25 * FS, torch.device("cpu")

    def __init__(self, absurd=(), at=3):
        self.absurd, self.at, self.calls = list(absurd), at, 0

    def bind(self, state):
        return self

    def __call__(self, positions, workspace):
        self.calls += 1
        energy, force = spring(positions)
        if self.calls == self.at:
            force.view(-1, 2, 3)[self.absurd] = torch.nan
        return Evaluation(energy, force), None


def diatomics(count=3):
    rng = np.random.default_rng(0)
    x = np.zeros((count, 2, 3))
    x[:, 1, 0] = 1.0 + 0.05 * rng.standard_normal(count)
    return make_state(
        torch.full((2 * count,), 6),
        torch.full((2 * count,), 12.0),
        torch.from_numpy(x.reshape(-1, 3)),
        torch.from_numpy(rng.standard_normal((2 * count, 3))),
        batch=torch.arange(count).repeat_interleave(2),
    )


def run(potential, physics, thermostat=None, control=None, steps=3):
    state = diatomics()
    scheme = BoundScheme(
        FlowJump(potential, 0.25 * FS).bind(state),
        Impulse(),
        thermostat or NoThermostat(),
        physics,
        0.25 * FS,
        control or Control(),
    )
    point, rng, infos = start(state, scheme), np.random.default_rng(1), []
    for _ in range(steps):
        point, info = step(point, scheme, 4, rng)
        infos.append(info)
    return point, infos


def test_one_molecule_falls_back_and_the_others_do_not_notice():
    expected, _ = run(BatchPotential(), Springs())
    physics = Springs()
    point, infos = run(BatchPotential(absurd=[1]), physics)
    assert [list(info.fallbacks) for info in infos] == [[1], [], []]
    assert physics.asked == [None, [True, False, True], *[[False, True, False]] * 4, None, None]
    evaluations = [info.evaluations.tolist() for info in infos]
    assert evaluations == [[1, 4, 1], [1, 1, 1], [1, 1, 1]]
    assert torch.equal(point.state.positions[:2], expected.state.positions[:2])
    assert torch.equal(point.state.positions[4:], expected.state.positions[4:])
    torch.testing.assert_close(point.state.positions, expected.state.positions)
    assert infos[0].undone.tolist() == [False, True, False]
    assert infos[0].energy_error[[0, 2]].isfinite().all()
    assert infos[0].residual[[0, 1, 4, 5]].isfinite().all()
    assert [info.undone for info in infos[1:]] == [None, None]
    assert point.state.time.tolist() == pytest.approx([3 * FS] * 3)


def test_a_molecule_that_is_lost_stays_where_it_was_and_the_others_go_on():
    bath = Langevin(300.0, 0.5)
    expected, _ = run(BatchPotential(), Springs(), bath, steps=2)
    before, _ = run(BatchPotential(), Springs(), bath, steps=1)
    point, (_, info) = run(BatchPotential(), Springs([2], range(3, 99)), bath, steps=2)
    assert list(info.lost) == [2]
    assert info.lost[2].startswith("the jump was undone (no convergence), and the physics failed")
    assert info.fallbacks == {}
    assert torch.equal(point.state.positions[:4], expected.state.positions[:4])
    assert torch.equal(point.state.positions[4:], before.state.positions[4:])
    assert torch.equal(point.state.momenta[4:], before.state.momenta[4:])
    assert point.state.time.tolist() == pytest.approx([2 * FS, 2 * FS, FS])
    assert float(info.heat[2]) == 0.0
    assert point.physics.energy.isfinite().all()


@pytest.mark.parametrize("on_error", ["stop", "warn"])
def test_policies_are_of_each_molecule(on_error):
    class Off(BatchPotential):
        def __call__(self, positions, workspace):
            found, _ = super().__call__(positions, workspace)
            force = found.forces.clone()
            force[2:4] *= 0.8
            return Evaluation(found.energy, force), None

    control = Control(on_error, force_tolerance=1e-6)
    _, (info,) = run(Off(), Springs(), control=control, steps=1)
    assert list(info.lost) == ([1] if on_error == "stop" else [])
    assert list(info.exceeded) == ([] if on_error == "stop" else [1])
    assert "force_tolerance" in info.reason


def test_each_molecule_of_a_state_shrinks_on_its_own():
    """The potential fails for one molecule once: its stride is halved, the others' are not."""
    expected, _ = run(BatchPotential(), Springs(), control=Control("shrink"))
    physics = Springs()
    point, infos = run(BatchPotential(absurd=[1]), physics, control=Control("shrink"))
    assert [info.shrinks for info in infos] == [{1: 1}, {}, {}]
    assert "potential" in infos[0].reason or "atom moved" in infos[0].reason
    assert point.halvings == (0, 1, 0)
    evaluations = [info.evaluations.tolist() for info in infos]
    assert evaluations == [[1, 2, 1], [1, 2, 1], [1, 2, 1]]
    assert torch.equal(point.state.positions[:2], expected.state.positions[:2])
    assert torch.equal(point.state.positions[4:], expected.state.positions[4:])
    assert [info.undone for info in infos] == [None, None, None]
    assert point.state.time.tolist() == pytest.approx([3 * FS] * 3)


def test_a_molecule_that_cannot_shrink_further_takes_steps_of_the_physics():
    control = Control("shrink", force_tolerance=1e-6)

    class Off(BatchPotential):
        def __call__(self, positions, workspace):
            evaluation, _ = super().__call__(positions, workspace)
            force = evaluation.forces.clone()
            force[2:4] *= 0.8
            return Evaluation(evaluation.energy, force), None

    point, (info,) = run(Off(), Springs(), control=control, steps=1)
    assert info.shrinks == {1: 2}
    assert list(info.fallbacks) == [1]
    assert info.undone.tolist() == [False, True, False]
    # 4, 2 and 1 base steps that do not stand, four steps of the physics, three more tries.
    assert info.evaluations.tolist() == [1, 1 + 1 + 4 * 2, 1]
    assert point.state.time.tolist() == pytest.approx([FS] * 3)


def test_a_molecule_that_explodes_does_not_spoil_the_lists_of_others():
    """Beyond `dense_limit`: a NaN in one molecule, while an atom of another leaves its list."""
    model = potential(dense_limit=1)
    state = diatomics(2)
    forces = model.bind(state)
    moved = state.positions.clone()
    moved[1] += 2.0
    _, point = forces(state.positions, None)
    alone, _ = forces(moved, point)
    moved[3] = torch.nan
    beside, _ = forces(moved, point)
    assert torch.equal(beside.forces[:2], alone.forces[:2])
    assert dataclasses.replace(alone).energy[0] == beside.energy[0]
