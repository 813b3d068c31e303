"""Learning in periodic cells: of crystals and slabs, from nothing and from stresses, to the bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.cluster import Octahedron
from ase.constraints import FixAtoms
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import (
    CalculatorPotential,
    KStepDynamics,
    Learning,
    load_model,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.fields import replaced
from kstep_integrators.learning.adapted import adapt
from kstep_integrators.learning.drawn_rows import (
    ATOMS,
    EARLY,
    LATER_ATOMS,
    drawn_coordinates,
    drawn_strains,
)
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.learner import (
    _rows,
    first_lessons,
    learn_pending,
    make_learner,
)
from kstep_integrators.learning.lessons import Example
from kstep_integrators.mechanics.strain import virial
from kstep_integrators.testing import CountingCalculator

FS = units.fs


class Forgetful(EMT):
    """With a new neighbour list for each evaluation: sums are in an order that only it decides."""

    def calculate(self, atoms=None, *arguments, **keywords):
        self.initialize(self.atoms if atoms is None else atoms)
        super().calculate(atoms, *arguments, **keywords)


def hot(atoms: Atoms, kelvin: float = 600.0, seed: int = 0) -> Atoms:
    thermalize_momenta(atoms, kelvin, rng=np.random.default_rng(seed))
    atoms.calc = EMT()
    return atoms


def crystal(seed: int = 0) -> Atoms:
    return hot(bulk("Cu", cubic=True) * (2, 2, 2), seed=seed)


def begin(atoms: Atoms, model=None, **more) -> KStepDynamics:
    settings = {"k": 8, "timestep": 1.0 * FS, "learn": Learning(refit=False), **more}
    return KStepDynamics(atoms, model, **settings)


def residuals(dynamics: KStepDynamics) -> list[float]:
    return [grade.residual for grade in dynamics.lessons.grades]


def test_copper_is_learned_from_nothing():
    atoms = crystal()
    dynamics = begin(atoms)
    dynamics.run(25)
    assert dynamics.k == 8
    assert np.mean(residuals(dynamics)[-5:]) < 0.03  # of forces of 0.4 eV/angstrom
    assert dynamics.stats.potential_failures == 0


@pytest.mark.parametrize("name", ["cluster", "salt"])
def test_clusters_learn_as_crystals_do(name):
    """Features of a network for molecules grow without bounds there."""
    if name == "cluster":
        atoms = hot(Octahedron("Cu", 4, 1))
    else:
        atoms = bulk("NaCl", "rocksalt", a=5.3, cubic=True)
        atoms.pbc, atoms.cell = False, None
        thermalize_momenta(atoms, 600.0, rng=np.random.default_rng(0))
        atoms.calc = xtb_calculator("GFN1-xTB")
    dynamics = begin(atoms, k=2)
    dynamics.run(20)
    assert dynamics.stats.fallbacks == 0
    assert np.mean(residuals(dynamics)[-5:]) < 0.05  # of forces of 0.4 eV/angstrom
    assert not dynamics.potential.model.header.periodic


def test_a_stride_that_was_made_anew_at_one_base_step():
    """A jump of k = 1 and the step of the physics in its place land where the other did."""
    atoms, tolerances = hot(bulk("Cu", cubic=True) * (2, 2, 2), 1200.0), (1e-3, 0.02)
    dynamics = begin(
        atoms, k=2, timestep=2.0 * FS, energy_tolerance=tolerances[0], force_tolerance=tolerances[1]
    )
    dynamics.run(8)
    assert dynamics.stats.fallbacks > 0


def test_the_cell_may_be_changed_while_it_learns():
    """Labels have their cell each: forces and energies in the new one are those of a new run."""
    atoms = crystal()
    dynamics = begin(atoms, k=1)
    dynamics.run(6)
    atoms.set_cell(atoms.cell.array * [1.01, 1.0, 0.99], scale_atoms=True)
    total = atoms.get_total_energy()
    dynamics.run(6)
    assert atoms.get_total_energy() == pytest.approx(total, abs=2e-3)
    assert dynamics.lessons.labels == 14  # a first one in each cell
    assert len({label.cell.tobytes() for label in dynamics.labels}) == 2
    expected = crystal()
    expected.set_cell(atoms.cell)
    expected.positions = atoms.positions
    assert dynamics.labels[-1].energy == pytest.approx(expected.get_potential_energy(), abs=1e-9)
    assert residuals(dynamics)[-1] < 0.05


def test_a_pair_potential_is_a_better_start():
    morse = MorsePotential(epsilon=0.35, r0=2.87, rho0=3.9, rcut1=1.2, rcut2=1.4)
    first = {}
    for name, model in (("none", None), ("morse", CalculatorPotential(morse, 2.0 * FS))):
        atoms = hot(bulk("Cu", cubic=True))
        atoms.rattle(0.1, seed=0)
        dynamics = begin(atoms, model, k=1, timestep=None if model else 2.0 * FS)
        dynamics.run(3)
        first[name] = residuals(dynamics)[0]
    assert first["morse"] < first["none"]


def test_fixed_layers_of_a_slab_stay_and_the_rest_is_learned():
    slab = fcc111("Cu", (2, 2, 4), vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag > 2]))
    start = hot(slab).positions.copy()
    dynamics = begin(slab)
    dynamics.run(20)
    fixed = slab.constraints[0].index
    np.testing.assert_array_equal(slab.positions[fixed], start[fixed])
    assert np.mean(residuals(dynamics)[-5:]) < 0.05  # of forces of 0.4 eV/angstrom


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    settings = {"checkpoint": tmp_path / "run.ckpt", "checkpoint_interval": 5}
    through, cut = crystal(), crystal()
    through.calc, cut.calc = Forgetful(), Forgetful()
    begin(through).run(15)
    begin(cut, **settings).run(10)
    with KStepDynamics.resume(tmp_path / "run.ckpt", Forgetful()) as again:
        again.run(5)
        np.testing.assert_array_equal(again.atoms.positions, through.positions)
        assert again.lessons.labels == 16


def test_evaluations_are_one_for_each_jump():
    atoms = crystal()
    atoms.calc = CountingCalculator(EMT())
    begin(atoms).run(10)
    assert atoms.calc.force_evaluations == 11


def test_under_pressure_every_cell_is_learned_in(tmp_path):
    atoms = crystal()
    dynamics = begin(
        atoms, thermostat="langevin", temperature_K=600.0, friction=0.01 / FS, metropolize=True,
        pressure=0.0, barostat_scales="atoms", barostat_interval=2, rng=np.random.default_rng(1),
        learn=Learning(refit=False, stop=30, file=tmp_path / "labels.traj"),
    )  # fmt: skip
    volume = atoms.get_volume()
    dynamics.run(40)
    assert atoms.get_volume() != volume
    assert dynamics.lessons.frozen_at is not None
    assert dynamics.stats.volume_accepted > 3
    cells = [frame.get_volume() for frame in read(tmp_path / "labels.traj", ":")]
    assert len(set(cells)) > 3


def test_a_saved_model_may_be_used_in_cells_and_says_so(tmp_path):
    atoms = crystal()
    dynamics = begin(atoms)
    dynamics.run(10)
    dynamics.potential.save(tmp_path / "copper.safetensors")
    model = load_model(tmp_path / "copper.safetensors")
    assert model.header.periodic
    other = KStepDynamics(crystal(seed=1), model, k=4)
    other.run(2)
    state = state_from_atoms(atoms)
    known, _ = model.bind(state)(state.positions, None)
    mine, _ = dynamics.potential.bind(state)(state.positions, None)
    torch.testing.assert_close(known.forces, mine.forces, rtol=0, atol=1e-5)


def example(atoms: Atoms, step: int, stress: bool = True) -> Example:
    results = {"stress": atoms.get_stress()} if stress else {}
    forces = atoms.get_forces(apply_constraint=False)
    return Example.of(
        Label.of(atoms, atoms.get_potential_energy(), forces, step=step, results=results)
    )


def strained(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    rng = np.random.default_rng(seed)
    strain = rng.normal(0.0, 0.02, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
    atoms.calc = EMT()
    return atoms


@pytest.mark.parametrize("backend", ["native", "eager"])
def test_stresses_are_learned(backend):
    """The stress of unseen cells is nearer with stresses as labels than without."""
    states = [state_from_atoms(strained(0))]
    potential = adapt(None, [29], cells=True, packed=True)
    if backend == "eager":
        model = potential.model
        made = type(model)(model.network, model.header, device="cpu", backend="eager")
        potential = type(potential)(made, None, None)
    learner = make_learner(potential, states)
    errors = {}
    for with_stress in (True, False):
        lessons = first_lessons(learner)
        for seed in range(6):
            one = example(strained(seed), seed, with_stress)
            lessons = learn_pending(learner, replaced(lessons, pending=(one,)))
        learned = potential.with_weights(lessons.weights)

        def energy(state, learned=learned):
            return float(learned.bind(state)(state.positions, None)[0].energy[0])

        found = []
        for seed in (100, 101):
            atoms = strained(seed)
            known = virial(state_from_atoms(atoms), energy).numpy() / atoms.get_volume()
            found.append(known - atoms.get_stress())
        errors[with_stress] = float(np.sqrt(np.mean(np.square(found))))
    assert errors[True] < 0.7 * errors[False]


def test_stress_of_a_label():
    atoms = strained(3)
    label = Label.of(atoms, 0.0, None, results={"stress": atoms.get_stress(voigt=False)})
    np.testing.assert_allclose(label.stress, atoms.get_stress())
    slab = atoms.copy()
    slab.pbc = (True, True, False)
    for one in (Label.of(slab, 0.0, None, results={"stress": atoms.get_stress()}),
                Label.of(atoms, 0.0, None),
                Label.of(atoms, 0.0, None, results={"stress": np.full(6, np.nan)})):  # fmt: skip
        assert one.stress is None


def test_forces_of_some_atoms_stand_for_those_of_a_large_cell():
    atoms = hot(bulk("Cu", cubic=True) * (3, 3, 3))
    atoms.rattle(0.1, seed=0)
    potential = adapt(None, [29], cells=True, packed=True)
    learner = make_learner(potential, [state_from_atoms(atoms)])
    assert len(atoms) > ATOMS
    one = example(atoms, 5, stress=False)
    first, again = (
        learn_pending(learner, replaced(first_lessons(learner), pending=(one,))) for _ in range(2)
    )
    assert torch.equal(first.weights, again.weights)
    other = learn_pending(
        learner,
        replaced(first_lessons(learner), pending=(dataclasses.replace(one, step=6),)),
    )
    assert not torch.equal(first.weights, other.weights)


def test_later_labels_of_a_large_cell_have_fewer_atoms_and_one_stress():
    atoms = hot(bulk("Cu", cubic=True) * (3, 3, 3))
    one, last = example(atoms, 5, stress=True), 10 * EARLY
    early, late = (drawn_coordinates(one, labels) for labels in (EARLY - 1, EARLY))
    assert (len(early), len(late)) == (3 * ATOMS, 3 * LATER_ATOMS)
    assert len(set(late.tolist())) == 3 * LATER_ATOMS
    assert drawn_strains(one, EARLY - 1).tolist() == list(range(6))
    drawn = {int(drawn_strains(dataclasses.replace(one, step=step), EARLY)) for step in range(60)}
    assert drawn == set(range(6))
    small = example(hot(bulk("Cu", cubic=True)), 5, stress=True)
    assert drawn_coordinates(small, last).tolist() == list(range(12))
    assert drawn_strains(small, last).tolist() == list(range(6))
    potential = adapt(None, [29], cells=True, packed=True)
    learner = make_learner(potential, [state_from_atoms(atoms)])
    first = _rows(learner, one, [None], 0)
    assert first is not None
    assert (first.forces, len(first.targets)) == (3 * ATOMS, 3 * ATOMS + 6 + 1)
    later = _rows(learner, one, [None], EARLY)
    assert later is not None
    assert (later.forces, len(later.targets)) == (3 * LATER_ATOMS, 3 * LATER_ATOMS + 1 + 1)
    stress = 3 * ATOMS + int(drawn_strains(one, EARLY))
    torch.testing.assert_close(later.targets[-2], first.targets[stress])
    torch.testing.assert_close(later.design[-2], first.design[stress])


class Upright(MorsePotential):
    """A base that knows no sheared cells, as OpenMM's."""

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        if np.abs(np.triu(self.atoms.cell.array, 1)).max() > 1e-12:
            raise RuntimeError("the first box vector must be parallel to x")


def test_a_base_that_refuses_sheared_cells_is_learned_beside_without_stress():
    atoms = hot(bulk("Cu", cubic=True))
    atoms.rattle(0.1, seed=0)
    base = CalculatorPotential(
        Upright(epsilon=0.35, r0=2.87, rho0=3.9, rcut1=1.2, rcut2=1.4), 2.0 * FS
    )
    dynamics = begin(atoms, base, k=1, timestep=None)
    dynamics.run(6)
    assert np.isfinite(residuals(dynamics)).all()
    assert bool(dynamics.lessons.weights.isfinite().all())
    assert bool(dynamics.lessons.weights.any())
    assert dynamics.stats.fallbacks == 0
