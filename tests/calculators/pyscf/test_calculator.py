"""PySCFCalculator as ASE uses it: counts, caching, mean fields of the user. The real PySCF."""

import pickle

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from pyscf import gto

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from tests.calculators.pyscf.systems import water


def test_forces_after_an_energy_reuse_its_scf():
    atoms = water()
    energy = atoms.get_potential_energy()
    assert atoms.calc.totals.gradients == 0
    first = atoms.calc.last_call
    assert first.scf_cycles > 3
    assert first.gradient_seconds == 0.0
    atoms.get_forces()
    second = atoms.calc.last_call
    assert (second.scf_cycles, second.scf_seconds, second.attempt) == (0, 0.0, "")
    assert second.gradient_seconds > 0.0
    assert atoms.get_potential_energy() == energy
    atoms.get_dipole_moment()
    atoms.get_charges()
    totals = atoms.calc.totals
    assert (totals.calls, totals.scf_runs, totals.gradients) == (4, 1, 1)
    assert totals.scf_cycles == first.scf_cycles
    assert (totals.failures, totals.retries) == (0, 0)


def test_asking_again_computes_nothing():
    atoms = water()
    forces = atoms.get_forces()
    atoms.get_forces()[:] = 0.0
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    assert atoms.calc.totals.calls == 1


def test_one_geometry_is_never_served_for_another():
    """Energies asked at changing geometries, then forces at one before: all as if alone."""
    atoms, other = water(), water(1)
    here, there = atoms.positions.copy(), other.positions.copy()
    alone = {"here": atoms.get_forces(), "there": other.get_forces()}
    one = water().calc
    atoms.calc = one
    atoms.get_potential_energy()
    atoms.positions = there
    atoms.get_potential_energy()
    atoms.positions = here
    np.testing.assert_allclose(atoms.get_forces(), alone["here"], atol=2e-4)
    atoms.positions = there
    np.testing.assert_allclose(atoms.get_forces(), alone["there"], atol=2e-4)
    assert np.abs(alone["here"] - alone["there"]).max() > 0.1
    assert one.totals.scf_runs == 4
    atoms.positions[0, 0] += 1e-9
    atoms.get_potential_energy()
    assert one.totals.scf_runs == 5


def test_changing_molecule_charge_and_spin_starts_anew():
    calculator = water().calc
    neutral, ion = molecule("H2O"), molecule("H2O")
    ion.info.update(charge=1, multiplicity=2)
    energies = []
    for atoms in (neutral, ion, molecule("NH3"), neutral):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    assert energies[1] - energies[0] > 5.0
    assert energies[3] == pytest.approx(energies[0], abs=1e-6)
    # The same object, its charge changed in place: ASE alone would not notice.
    neutral.info.update(charge=1, multiplicity=2)
    assert neutral.get_potential_energy() == pytest.approx(energies[1], abs=1e-6)


@pytest.mark.parametrize("guess", ["extrapolate", "last", "aspc", "atomic"])
def test_guesses_save_cycles_and_change_nothing(guess):
    atoms = water(guess=guess, conv_tol=1e-11)
    velocity = np.random.default_rng(2).normal(0.0, 0.01, (3, 3))
    for _ in range(8):
        atoms.positions += velocity
        energy = atoms.get_potential_energy()
    cold = water(conv_tol=1e-11)
    cold.positions = atoms.positions
    assert energy == pytest.approx(cold.get_potential_energy(), abs=1e-8)
    cycles, cold_cycles = (a.calc.last_call.scf_cycles for a in (atoms, cold))
    if guess == "atomic":
        assert cycles == cold_cycles
    else:
        assert cycles < cold_cycles
    if guess == "extrapolate":
        assert cycles <= 4


def test_a_jump_makes_one_evaluation_each():
    atoms = water()
    atoms.set_velocities(np.random.default_rng(0).normal(0.0, 0.02, (3, 3)))
    inner = CalculatorPotential(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(atoms, inner, k=4, timestep=0.25 * units.fs)
    dynamics.run(5)
    assert dynamics.stats.physics_evaluations == 6
    totals = atoms.calc.totals
    assert (totals.scf_runs, totals.gradients) == (6, 6)


def test_energy_is_conserved_over_warm_starts():
    atoms = water()
    atoms.set_velocities(np.random.default_rng(0).normal(0.0, 0.02, (3, 3)))
    dynamics = VelocityVerlet(atoms, 0.1 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(60)
    assert np.ptp(energies) < 1e-3
    assert atoms.calc.totals.scf_cycles < 61 * 5


def test_a_configured_mean_field():
    atoms = water()
    free = gto.M(atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="sto-3g", verbose=0)
    mean_field = free.RHF()
    mean_field.init_guess = "1e"
    forces = atoms.get_forces()
    atoms.calc = PySCFCalculator(mean_field, device="cpu")
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-3)
    assert atoms.calc.mean_field is mean_field
    assert atoms.calc.todict() == {"method": "RHF", "basis": "sto-3g", "device": "cpu"}
    again = pickle.loads(pickle.dumps(atoms.calc))  # noqa: S301
    atoms.calc = again
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.RHF(), "for the elements"),
        (lambda m: m.UHF(), "for the elements"),
    ],
)
def test_a_mean_field_for_other_atoms_is_refused(make, message):
    atoms = water()
    other = gto.M(atom="N 0 0 0; H 0 0 1; H 0 1 0; H 1 0 0", basis="sto-3g", verbose=0)
    atoms.calc = PySCFCalculator(make(other), device="cpu")
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()


def test_a_mean_field_of_another_charge_symmetry_or_periodicity_is_refused():
    text = "O 0 0 0; H 0 0 1; H 0 1 0"
    for options, message in (
        ({"charge": 2}, "charge 2 and multiplicity 1"),
        ({"spin": 2}, "multiplicity 3"),
        ({"symmetry": True}, "symmetry=False"),
    ):
        mean_field = gto.M(atom=text, basis="sto-3g", verbose=0, **options).HF()
        atoms = water()
        atoms.calc = PySCFCalculator(mean_field, device="cpu")
        with pytest.raises(ValueError, match=message):
            atoms.get_potential_energy()
    atoms = water()
    atoms.calc = PySCFCalculator(gto.M(atom=text, basis="sto-3g", verbose=0).HF(), device="cpu")
    atoms.cell, atoms.pbc = [5.0, 5.0, 5.0], True
    with pytest.raises(ValueError, match="isolated molecule"):
        atoms.get_potential_energy()


def test_set_without_a_change_keeps_results():
    atoms = molecule("H2O")
    calculator = PySCFCalculator(method="hf", basis={"O": "sto-3g", "H": "sto-3g"}, threads=1)
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    assert calculator.set(basis={"H": "sto-3g", "O": "sto-3g"}, conv_tol=1e-9) == {}
    assert calculator.set(kpts=[1, 1, 1]) == {}
    assert atoms.get_potential_energy() == energy
    assert calculator.totals.scf_runs == 1
    assert calculator.set(basis="6-31g", threads=1) == {"basis": "6-31g"}
    assert atoms.get_potential_energy() < energy - 10
    assert calculator.totals.scf_runs == 2
