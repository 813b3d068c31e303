"""Runs that learn their potential: evaluations, strides, logs, and what a user does meanwhile."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixBondLengths
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics, Learning, load_model
from kstep_integrators.learning import AdaptedPotential
from kstep_integrators.testing import CountingCalculator, MorseNetwork
from tests.conftest import REFERENCE, cheap, physics
from tests.direct_systems import silent
from tests.learning.runs import FS, LANGEVIN, Unsteady, begin, learning, make_small, start


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


@pytest.mark.parametrize("corrector", ["impulse", "filtered", "none"])
def test_a_jump_is_an_evaluation_and_an_evaluation_a_label(corrector, tmp_path):
    atoms = start()
    dynamics = begin(tmp_path, atoms, corrector=corrector, trajectory=tmp_path / "md.traj")
    dynamics.run(25)
    assert dynamics.stats.jumps == 25
    assert dynamics.stats.physics_evaluations == 26 == atoms.calc.evaluations
    assert len(dynamics.labels) == 26
    assert dynamics.lessons.labels == 26
    frames = read(tmp_path / "md.labels.traj", ":")
    assert len(frames) == 26
    for label, frame, written in zip(
        dynamics.labels, frames, read(tmp_path / "md.traj", ":"), strict=True
    ):
        fresh = frame.copy()
        fresh.calc = physics()
        assert label.energy == frame.get_potential_energy() == fresh.get_potential_energy()
        np.testing.assert_array_equal(frame.get_forces(), fresh.get_forces())
        np.testing.assert_array_equal(frame.positions, written.positions)
    assert [label.step for label in dynamics.labels] == [0, *range(25)]


def test_the_potential_gets_better_and_is_that_of_a_file(tmp_path):
    dynamics = begin(tmp_path, k=4)
    assert isinstance(dynamics.potential, AdaptedPotential)
    dynamics.run(40)
    grades = dynamics.lessons.grades
    learned, base = (
        np.sqrt(np.mean([getattr(grade, name) ** 2 for grade in grades[20:]]))
        for name in ("residual", "of_base")
    )
    assert learned < 0.6 * base
    dynamics.potential.save(tmp_path / "learned.safetensors")
    assert dynamics.potential.record["labels"] == 41
    assert "calculator 'morsenetwork'" in dynamics.potential.record["method"]
    again = load_model(tmp_path / "learned.safetensors", base=cheap(depth=1.6), device="cpu")
    state = dynamics._run.point.state
    one, other = (p.bind(state)(state.positions, None)[0] for p in (dynamics.potential, again))
    torch.testing.assert_close(one.forces, other.forces, rtol=0, atol=1e-4)


def test_same_seed_same_path(tmp_path):
    ends = []
    for _ in range(2):
        atoms = start()
        begin(tmp_path, atoms, **LANGEVIN).run(15)
        ends.append((atoms.get_positions(), atoms.get_momenta()))
    np.testing.assert_array_equal(*ends)


def test_a_base_that_is_the_physics_stays_it(tmp_path):
    dynamics = begin(tmp_path, model=cheap())
    dynamics.run(15)
    assert not dynamics.potential.weights.any()
    assert dynamics.lessons.trusted
    assert dynamics.k == 8


# Strides


def test_the_stride_grows_to_k_and_the_log_says_so(tmp_path, caplog):
    log = tmp_path / "md.log"
    dynamics, times = begin(tmp_path, logfile=log), []
    dynamics.attach(lambda: times.append(dynamics.get_time()))
    with caplog.at_level(logging.INFO):
        dynamics.run(1)
        assert dynamics.k == 4  # 1 fs
        dynamics.run(40)
    assert dynamics.k == 8
    line = "k = 8 (2 fs) from here on"
    assert line in log.read_text()
    assert line in caplog.text
    assert dynamics.dt == pytest.approx(8 * 0.25 * FS)
    strides = np.diff(times) / (0.25 * FS)
    assert strides[0] == pytest.approx(4)
    assert {round(k) for k in strides} == {4, 8}
    assert log.read_text().count("from here on") == np.count_nonzero(np.abs(np.diff(strides)) > 1)


def test_grow_false_makes_k_from_the_start_on(tmp_path):
    dynamics = begin(tmp_path, learn=learning(tmp_path, grow=False))
    dynamics.run(1)
    assert dynamics.get_time() == pytest.approx(8 * 0.25 * FS)


def test_a_stride_that_lands_badly_shrinks(tmp_path):
    """The molecule is suddenly hot: kicks are large, and strides short again."""
    dynamics = begin(tmp_path, model=cheap(depth=1.2))
    dynamics.run(60)
    grown = dynamics.k
    assert grown == 8
    atoms = dynamics.atoms
    thermalize_momenta(atoms, temperature_K=3000, rng=np.random.default_rng(1))
    dynamics.run(8)
    assert dynamics.k < grown


def test_options_that_change_while_it_learns(tmp_path):
    dynamics = begin(tmp_path, **LANGEVIN)
    dynamics.run(40)
    assert dynamics.k == 8
    dynamics.k = 16
    assert dynamics.k == 8  # it grows there, as far as the potential allows
    dynamics.run(40)
    assert dynamics.k == 16
    dynamics.set_options(k=3)
    assert dynamics.k == 3
    dynamics.run(3)
    assert dynamics.k == 3
    dynamics.set_options(k=4, timestep=0.5 * FS)
    before = dynamics.get_time()
    dynamics.run(1)
    assert dynamics.get_time() - before <= 4 * 0.5 * FS * (1 + 1e-9)
    assert dynamics.options.timestep == 0.5 * FS
    weights = dynamics.potential.weights
    assert weights.any()
    dynamics.set_options(corrector="none", temperature_K=310.0)
    dynamics.run(3)
    assert dynamics.lessons.labels == len(dynamics.labels) == 88
    assert dynamics.stats.physics_evaluations == 88


def test_a_metropolis_test_that_is_asked_for_meanwhile_freezes_the_potential(tmp_path):
    dynamics = begin(tmp_path, learn=learning(tmp_path, stop=20), **LANGEVIN)
    dynamics.run(5)
    assert dynamics.production_start is None
    dynamics.metropolize = True
    dynamics.run(20)
    start_at = dynamics.production_start
    assert start_at == dynamics.lessons.frozen_at
    k, weights = dynamics.k, dynamics.potential.weights
    dynamics.run(10)
    assert dynamics.k == k
    assert torch.equal(dynamics.potential.weights, weights)
    assert dynamics.production_start == start_at


def test_without_a_stop_the_usual_one_holds_from_then_on(tmp_path):
    dynamics = begin(tmp_path, **LANGEVIN)
    dynamics.run(2)
    dynamics.metropolize = True
    assert dynamics.options.learning.stop == 200
    assert dynamics._learning.settings.stop == 200
    dynamics.run(1)


def test_a_test_asked_for_when_the_potential_is_frozen_fixes_the_stride(tmp_path):
    dynamics = begin(tmp_path, learn=learning(tmp_path, stop=10), **LANGEVIN)
    dynamics.run(12)
    assert dynamics.lessons.frozen_at is not None
    dynamics.metropolize = True
    dynamics.run(30)
    assert dynamics._run.pace is None
    assert dynamics.production_start == 12


def test_what_is_learned_cannot_be_changed_on_the_way(tmp_path):
    dynamics = begin(tmp_path)
    with pytest.raises(AttributeError, match=r"learn cannot be set to False while a run goes on"):
        dynamics.learn = False
    with pytest.raises(TypeError, match=r"\['learn'\] cannot be changed"):
        dynamics.set_options(learn=False)


# Metropolis


@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_under_metropolis_it_stops_and_production_starts(corrector, tmp_path):
    atoms, log = start(), tmp_path / "md.log"
    dynamics = begin(
        tmp_path, atoms, corrector=corrector, metropolize=True, logfile=log,
        learn=learning(tmp_path, stop=20), **LANGEVIN,
    )  # fmt: skip
    dynamics.run(40)
    begun = dynamics.production_start
    assert begun is not None
    assert begun <= 20
    assert f"step {begun}: " in log.read_text()
    assert "the potential is frozen, k = " in log.read_text()
    assert "production starts here" in log.read_text()
    assert dynamics.lessons.frozen_at == begun
    assert not dynamics.lessons.learning
    assert 20 <= dynamics.lessons.labels < 25
    assert dynamics._run.pace is None
    weights = dynamics.potential.weights
    assert weights.any()
    dynamics.run(5)
    assert torch.equal(dynamics.potential.weights, weights)
    assert dynamics.stats.physics_evaluations == atoms.calc.evaluations


class EnergyAlone(MorseNetwork):
    """No forces."""

    implemented_properties = ["energy"]  # noqa: RUF012

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        del self.results["forces"]


def test_a_physics_without_forces_teaches_by_its_energies(tmp_path):
    atoms = start(CountingCalculator(EnergyAlone(REFERENCE)))
    dynamics = begin(
        tmp_path, atoms, corrector="none", metropolize=True, k=16,
        learn=learning(tmp_path, stop=30), **LANGEVIN,
    )  # fmt: skip
    dynamics.run(30)
    assert atoms.calc.force_evaluations == 0
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations
    assert dynamics.labels[0].forces is None
    assert dynamics.lessons.labels >= 30
    assert dynamics.production_start is not None
    assert dynamics.potential.weights.any()


def test_forces_are_labels_though_the_step_needs_none(tmp_path):
    """As long as it learns; then energies alone are asked for."""
    atoms = start()
    dynamics = begin(
        tmp_path, atoms, corrector="none", metropolize=True,
        learn=learning(tmp_path, stop=12), **LANGEVIN,
    )  # fmt: skip
    dynamics.run(1)
    assert all(label.forces is not None for label in dynamics.labels)
    dynamics.temperature_K = 320
    dynamics.run(1)
    assert all(label.forces is not None for label in dynamics.labels)
    assert atoms.calc.energy_evaluations == 0
    dynamics.run(12)
    assert not dynamics.lessons.learning
    forces = atoms.calc.force_evaluations
    dynamics.run(5)
    assert atoms.calc.force_evaluations == forces
    assert atoms.calc.energy_evaluations >= 5


# What the user edits


def test_moved_and_kicked_atoms_are_of_the_same_physics(tmp_path):
    dynamics = begin(tmp_path)
    dynamics.run(5)
    atoms = dynamics.atoms
    atoms.positions[3] += 0.02
    dynamics.run(5)
    assert dynamics.lessons.labels == len(dynamics.labels) == 12
    assert dynamics.stats.physics_evaluations == 12
    atoms.set_momenta(0.9 * atoms.get_momenta())
    dynamics.run(5)
    assert dynamics.lessons.labels == len(dynamics.labels) == 17 == atoms.calc.evaluations


def charged(atoms):
    atoms.set_initial_charges([0.1] + [0.0] * 8)


def celled(atoms):
    atoms.set_cell([20.0, 20.0, 20.0])


def noted(atoms):
    atoms.info["charge"] = 1


def stiffened(atoms):
    atoms.calc.calculator.depth = 3.0


def replaced(atoms):
    atoms.calc = CountingCalculator(physics(depth=3.0))


EDITS = {
    "initial_charges": charged, "cell": celled, "info": noted,
    "attributes of calculator 1": stiffened, "calculator": replaced,
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_another_system_or_physics_is_refused(name, tmp_path):
    dynamics = begin(tmp_path, checkpoint=tmp_path / "run.ckpt")
    dynamics.run(3)
    labels = len(dynamics.labels)
    EDITS[name](dynamics.atoms)
    message = rf"{name}.*changed while the run learns: .*, KStepDynamics\(atoms, dyn.potential"
    with pytest.raises(ValueError, match=message):
        dynamics.run(1)
    assert len(dynamics.labels) == labels
    again = KStepDynamics(
        dynamics.atoms, dynamics.potential, k=8, learn=Learning(refit=False), timestep=0.25 * FS
    )
    again.run(2)
    assert again.lessons.labels == 3


def test_constraints_may_change(tmp_path):
    dynamics = begin(tmp_path)
    dynamics.run(3)
    dynamics.atoms.set_constraint(FixAtoms([2]))
    where = dynamics.atoms.positions[2].copy()
    dynamics.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions[2], where)
    assert dynamics.lessons.labels == len(dynamics.labels)
    assert dynamics.stats.physics_evaluations == dynamics.atoms.calc.evaluations


# Interrupts and failures


@pytest.mark.parametrize("kind", ["nve", "metropolized"])
def test_ctrl_c_within_a_step_loses_and_doubles_no_label(kind, tmp_path):
    options = {"k": 16, "metropolize": True, **LANGEVIN} if kind == "metropolized" else {}
    ends = []
    for at in (0, 6, 9):
        atoms = start(Unsteady(at, KeyboardInterrupt()))
        dynamics = begin(tmp_path, atoms, **options)
        if at:
            with pytest.raises(KeyboardInterrupt):
                dynamics.run(9)
        dynamics.run(9 - dynamics.nsteps)
        keys = {label.positions.tobytes() for label in dynamics.labels}
        assert len(keys) == len(dynamics.labels) == dynamics.lessons.labels
        ends.append((atoms.get_positions(), dynamics.potential.weights.numpy(), len(keys)))
    for position, weights, labels in ends[1:]:
        np.testing.assert_array_equal(position, ends[0][0])
        np.testing.assert_array_equal(weights, ends[0][1])
        assert labels == ends[0][2]


def test_an_evaluation_that_fails_is_no_label(tmp_path):
    atoms = start(Unsteady(6, RuntimeError("no convergence")))
    dynamics = begin(tmp_path, atoms, k=4, learn=learning(tmp_path, grow=False))
    dynamics.run(10)
    assert dynamics.stats.fallbacks == 1
    # a step of four by Verlet in its place, each an evaluation
    assert len(dynamics.labels) == dynamics.lessons.labels == dynamics.stats.physics_evaluations - 1
    assert all(np.isfinite(label.energy) for label in dynamics.labels)


def test_an_undone_jump_halves_the_stride(tmp_path):
    dynamics = begin(tmp_path, k=16)
    dynamics.run(40)
    assert dynamics.k == 16
    dynamics.set_options(force_tolerance=1e-4)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert dynamics.k == 8


# Molecules


def test_fixed_atoms_stay_and_their_forces_are_labels(tmp_path):
    atoms = start()
    atoms.set_constraint(FixAtoms([0, 4]))
    where = atoms.positions[[0, 4]].copy()
    dynamics = begin(tmp_path, atoms)
    dynamics.run(15)
    np.testing.assert_array_equal(atoms.positions[[0, 4]], where)
    assert np.abs(dynamics.labels[5].forces[[0, 4]]).max() > 0.01
    assert dynamics.lessons.grades[-1].residual < dynamics.lessons.grades[0].residual


def test_bonds_of_fixed_length(tmp_path):
    atoms = start()
    atoms.set_constraint(FixBondLengths([[2, 8], [0, 3]]))
    lengths = [atoms.get_distance(2, 8), atoms.get_distance(0, 3)]
    dynamics = begin(tmp_path, atoms)
    dynamics.run(15)
    after = [atoms.get_distance(2, 8), atoms.get_distance(0, 3)]
    np.testing.assert_allclose(after, lengths, atol=1e-6)
    assert dynamics.lessons.labels == 16
    assert dynamics.lessons.grades[-1].residual < dynamics.lessons.grades[0].residual


@pytest.mark.parametrize("model", [cheap(), None])
def test_in_a_wide_cell_a_run_learns_as_in_open_space(model, tmp_path):
    runs = []
    for cell in (None, [30.0] * 3):
        atoms = start()
        if cell is not None:
            atoms.set_cell(cell)
            atoms.pbc = True
        folder = tmp_path / ("open" if cell is None else "cell")
        folder.mkdir()
        dynamics = begin(folder, atoms, model=model)
        dynamics.run(6)
        runs.append(dynamics)
    grades = [[one.residual for one in dynamics.lessons.grades] for dynamics in runs]
    np.testing.assert_allclose(grades[1], grades[0], rtol=1e-3)
    assert runs[1].potential.model.header.periodic
    assert not runs[0].potential.model.header.periodic


@pytest.mark.parametrize("model", ["calculator", None])
def test_charged_molecules_have_no_warning_where_nothing_is_known_of_charges(model, tmp_path):
    atoms = start()
    atoms.info.update(charge=1, spin=2)
    dynamics = begin(tmp_path, atoms, model=None if model is None else cheap(depth=1.6))
    dynamics.run(3)
    assert dynamics.lessons.labels == 4


def test_from_nothing(tmp_path):
    atoms = start()
    dynamics = begin(tmp_path, atoms, model=None, k=4)
    dynamics.run(30)
    assert dynamics.stats.physics_evaluations == 31 == atoms.calc.evaluations
    assert dynamics.lessons.grades[-1].residual < 0.5 * dynamics.lessons.grades[-1].of_base


# Refusals


def test_what_cannot_learn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"learn=.* with a jump that is no flow on a potential"):
        KStepDynamics(start(), silent(), k=2, learn=True)
    with pytest.raises(TypeError, match="learn is 'yes', expected True, False or Learning"):
        begin(tmp_path, learn="yes")
    with pytest.raises(ValueError, match=r"backbone is .*learned on another already"):
        begin(tmp_path, model=begin(tmp_path).potential)
    with pytest.raises(TypeError, match=r"None where a run learns from nothing, with learn=True"):
        begin(tmp_path, model=None, learn=False)


def test_the_file_of_labels_is_that_of_this_physics(tmp_path):
    settings = learning(tmp_path, file=tmp_path / "mine.traj")
    begin(tmp_path, learn=settings).run(3)
    assert len(read(tmp_path / "mine.traj", ":")) == 4
    atoms = start(CountingCalculator(physics(depth=3.0)))
    with pytest.raises(ValueError, match=r"mine.traj are of another physics"):
        begin(tmp_path, atoms, learn=settings)


def test_a_run_without_learning_has_no_lessons():
    dynamics = KStepDynamics(start(), cheap(depth=1.8), k=4)
    dynamics.run(2)
    assert dynamics.lessons is None
    assert dynamics.labels == ()
    assert isinstance(dynamics.potential, CalculatorPotential)
    direct = KStepDynamics(start(), silent(), k=2)
    with pytest.raises(AttributeError, match="this run has no potential: its jump is none"):
        _ = direct.potential


@pytest.mark.parametrize("output", ["trajectory", "logfile", "checkpoint"])
def test_labels_have_a_file_of_their_own(output, tmp_path):
    path = tmp_path / "one.traj"
    with pytest.raises(ValueError, match=f"{output} and file of labels are the same file"):
        begin(tmp_path, learn=learning(tmp_path, file=path), **{output: path})
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match=r"file of labels is .* there is no folder"):
        begin(tmp_path, learn=learning(tmp_path, file=tmp_path / "no" / "one.traj"))
    with pytest.raises(IsADirectoryError, match=r"file of labels is .* which is a folder"):
        begin(tmp_path, learn=learning(tmp_path, file=tmp_path))
