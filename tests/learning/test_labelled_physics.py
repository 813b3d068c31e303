"""Every evaluation a label, once; and a run that goes on is served those that it had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.labelled_physics import LabelledPhysics
from kstep_integrators.learning.labels import Label
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.physics.worker_physics import WorkerPhysics
from kstep_integrators.physics.workers import make_workers
from kstep_integrators.testing import CountingCalculator

PHYSICS = settings_of(EMT())


class Bench:
    """A labelled physics of one molecule, with what it hands on."""

    def __init__(self, path, atoms=None, known=None, calculator=None):
        self.atoms = molecule("CH3CH2OH") if atoms is None else atoms
        self.calculator = CountingCalculator(EMT() if calculator is None else calculator)
        self.labels = LabelFile(path, PHYSICS, known)
        self.learned: list[Label] = []
        self.nsteps = 0
        self.inner = CalculatorPhysics(self.atoms, self.calculator)
        self.physics = LabelledPhysics(
            self.inner, self.labels, self.learned.append, lambda: self.nsteps
        )

    def at(self, x: float, **asked):
        """Evaluate with the first atom moved by x along x."""
        atoms = self.atoms.copy()
        atoms.positions[0, 0] += x
        self.nsteps += 1
        return self.physics(state_from_atoms(atoms), **asked)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.labels.traj"


def same(one, other) -> bool:
    energies = torch.equal(one.energy, other.energy)
    if one.forces is None or other.forces is None:
        return energies and one.forces is other.forces
    return energies and torch.equal(one.forces, other.forces)


def test_each_geometry_is_one_label(path):
    bench = Bench(path)
    evaluation, cost = bench.at(0.01)
    assert cost.evaluations.tolist() == [1]
    label = bench.learned[0]
    assert label.energy == float(evaluation.energy[0])
    assert label.forces.tobytes() == evaluation.forces.numpy().tobytes()
    assert (label.step, label.molecule, label.evaluations) == (1, 0, 1)
    bench.at(0.01)
    assert bench.calculator.evaluations == 1
    for x in (0.02, 0.03, 0.04):
        bench.at(x)
    bench.at(0.01)  # left the cache long ago: evaluated again, and known
    assert bench.calculator.evaluations == 5
    assert [label.step for label in bench.learned] == [1, 3, 4, 5]
    assert [label.step for label in bench.labels] == [1, 3, 4, 5]


def test_what_the_calculator_knew_is_a_label_without_a_count(path):
    bench = Bench(path)
    bench.calculator = EMT()
    bench.inner.atoms.calc = bench.calculator
    known = bench.atoms.copy()
    known.calc = bench.calculator
    known.get_forces()
    _, cost = bench.at(0.0)
    assert cost.evaluations.tolist() == [0]
    assert [label.evaluations for label in bench.learned] == [0]


def test_forces_that_come_later_are_a_label(path):
    bench = Bench(path, calculator=EnergyAlone())
    evaluation, _ = bench.at(0.01, forces=False)
    assert evaluation.forces is None
    assert bench.learned[0].forces is None
    bench.at(0.01)
    bench.at(0.01, forces=False)
    assert [label.forces is None for label in bench.learned] == [True, False]


class EnergyAlone(EMT):
    """Forces only when they are asked for."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        if "forces" not in properties:
            del self.results["forces"]


def test_a_failure_is_no_label(path):
    bench = Bench(path, atoms=Atoms("He", [[0, 0, 0]]))  # EMT has no helium
    evaluation, cost = bench.at(0.01)
    assert evaluation.failures
    assert cost.evaluations.tolist() == [1]
    assert (len(bench.learned), len(bench.labels)) == (0, 0)


def test_molecules_that_are_not_asked_give_none(path):
    bench = Bench(path)
    _, cost = bench.at(0.01, which=torch.tensor([False]))
    assert cost.evaluations.tolist() == [0]
    assert len(bench.labels) == 0


def test_a_run_that_goes_on_is_served_what_it_had(path):
    first = Bench(path)
    straight = [first.at(x) for x in (0.0, 0.01, 0.02, 0.03)]
    mark = 2
    again = Bench(path, known=mark)
    again.nsteps = mark
    for x, (evaluation, cost) in zip((0.02, 0.03), straight[mark:], strict=True):
        served, price = again.at(x)
        assert same(served, evaluation)
        assert np.array_equal(price.evaluations, cost.evaluations)
        assert price.seconds == 0.0
    assert again.calculator.evaluations == 0
    assert len(again.labels) == 4
    for one, other in zip(again.learned, first.learned[mark:], strict=True):
        assert (one.energy, one.step) == (other.energy, other.step)
    served, _ = again.at(0.03)
    assert again.calculator.evaluations == 0
    again.at(0.04)
    assert (again.calculator.evaluations, len(again.labels)) == (1, 5)
    # What the calculator computed along with it can be put back, for loggers.
    assert again.inner.results(served).keys() >= {"energy", "forces", "free_energy"}
    again.inner.serve(served)
    assert again.calculator.results["energy"] == float(served.energy[0])


def test_another_charge_is_not_served(path):
    Bench(path).at(0.01)
    atoms = molecule("CH3CH2OH")
    atoms.info["charge"] = 1
    again = Bench(path, atoms=atoms, known=0)
    again.at(0.01)
    assert again.calculator.evaluations == 1
    assert again.labels.pending == 1


def emt(atoms):
    return CountingCalculator(EMT())


class Replicas:
    """Three molecules, the first and the last alike."""

    def __init__(self, path, known=None):
        self.molecules = [molecule(name) for name in ("H2O", "CH3CH2OH", "H2O")]
        self.workers = make_workers(emt, 0, None)
        self.labels = LabelFile(path, PHYSICS, known)
        self.learned: list[Label] = []
        inner = WorkerPhysics(self.workers, self.molecules)
        self.physics = self.labelled(inner)

    def labelled(self, inner):
        return LabelledPhysics(
            inner, self.labels, self.learned.append, lambda: 0, molecules=inner.numbers
        )

    def state(self, x: float, which=(0, 1, 2)):
        moved = [self.molecules[i].copy() for i in which]
        for atoms in moved:
            atoms.positions[0, 0] += x
        return join_states([state_from_atoms(atoms) for atoms in moved])


def test_molecules_are_told_apart(path):
    replicas = Replicas(path)
    evaluation, _ = replicas.physics(replicas.state(0.01))
    assert [label.molecule for label in replicas.labels] == [0, 1, 2]
    assert [len(label.numbers) for label in replicas.labels] == [3, 9, 3]
    assert [label.energy for label in replicas.learned] == evaluation.energy.tolist()
    forces = np.concatenate([label.forces for label in replicas.learned])
    assert np.array_equal(forces, evaluation.forces.numpy())
    left = replicas.labelled(replicas.physics.physics.select(torch.tensor([False, True, True])))
    left(replicas.state(0.02, (1, 2)), which=torch.tensor([False, True]))
    assert [label.molecule for label in replicas.labels] == [0, 1, 2, 2]


def test_some_molecules_are_served_and_the_rest_computed(path):
    first = Replicas(path)
    first.physics(first.state(0.0))
    straight, cost = first.physics(first.state(0.01))
    energies, _ = first.physics(first.state(0.02), forces=False)
    first.labels.close()
    # A process that was killed while it wrote the labels of its second step.
    cut = path.with_name("cut.traj")
    with LabelFile(cut, PHYSICS) as labels:
        for label in list(first.labels)[:5]:
            labels.append(label)
    again = Replicas(cut, known=3)
    served, price = again.physics(again.state(0.01))
    assert same(served, straight)
    assert price.evaluations.tolist() == cost.evaluations.tolist() == [1, 1, 1]
    assert [label.molecule for label in again.learned] == [0, 1, 2]
    assert (len(again.labels), again.labels.pending) == (6, 0)
    assert torch.equal(again.physics(again.state(0.02), forces=False)[0].energy, energies.energy)
    for one, other in zip(again.labels, first.labels, strict=True):
        assert (one.energy, one.molecule) == (other.energy, other.molecule)


def test_a_run_with_labels_is_the_run_without(path):
    """The wrapper changes no number and no count."""

    def run(wrap):
        atoms = molecule("CH3CH2OH")
        atoms.calc = CountingCalculator(EMT())
        atoms.set_momenta(np.random.default_rng(0).normal(size=(9, 3)))
        dyn = KStepDynamics(atoms, CalculatorPotential(LennardJones(epsilon=1e-3)), k=2)
        if wrap:
            bind, learned = dyn.scheme.bind, []
            labels = LabelFile(path, PHYSICS)

            def bound(state, physics):
                labelled = LabelledPhysics(physics, labels, learned.append, lambda: dyn.nsteps)
                return bind(state, labelled)

            object.__setattr__(dyn.scheme, "bind", bound)
        dyn.run(4)
        return atoms, dyn

    (plain, alone), (atoms, dyn) = run(False), run(True)
    assert np.array_equal(plain.positions, atoms.positions)
    assert dyn.stats.physics_evaluations == alone.stats.physics_evaluations == 5
    assert plain.calc.evaluations == atoms.calc.evaluations == 5
    labels = LabelFile(path, PHYSICS)
    assert [label.step for label in labels] == [0, 0, 1, 2, 3]
