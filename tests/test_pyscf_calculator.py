"""PySCFCalculator as ASE uses it: counts, caching, errors, copies, workers. The real PySCF."""

import copy
import gc
import logging
import multiprocessing
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.io import read
from ase.md.verlet import VelocityVerlet
from pyscf import gto, lib

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.calculators.pyscf import CallRecord, threads


def water(seed=0, **changes):
    atoms = molecule("H2O")
    atoms.positions += np.random.default_rng(seed).normal(0.0, 0.03, (3, 3))
    settings = {"method": "hf", "basis": "sto-3g", "device": "cpu", **changes}
    atoms.calc = PySCFCalculator(**{k: v for k, v in settings.items() if v is not None})
    return atoms


# What is computed, and how often


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


# Configured mean-field objects


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


# Copies, pickles, processes, threads


def test_copies_and_pickles_carry_the_settings():
    atoms = water(conv_tol=1e-10, guess="last")
    forces = atoms.get_forces()
    for twin in (copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):  # noqa: S301
        assert twin.settings == atoms.calc.settings
        assert twin.totals.calls == 0
        other = atoms.copy()
        other.calc = twin
        np.testing.assert_allclose(other.get_forces(), forces, atol=1e-4)
    assert len(pickle.dumps(atoms.calc)) < 3000


def _energy(atoms):
    return atoms.get_potential_energy(), atoms.calc.totals.scf_runs, lib.num_threads()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes(start):
    systems = [water(seed, threads=1) for seed in range(4)]
    expected = [atoms.get_potential_energy() for atoms in systems]
    context = multiprocessing.get_context(start)
    with context.Pool(2) as pool:
        found = pool.map_async(_energy, systems).get(timeout=120)
    np.testing.assert_allclose([e for e, *_ in found], expected, atol=1e-6)
    assert [runs for _, runs, _ in found] == [1] * 4


def _forked(calculator):
    atoms = molecule("H2O")
    atoms.calc = calculator
    with threads.openmp_threads(2) as used:
        return atoms.get_potential_energy(), used


def test_a_fork_after_many_threads_does_not_hang(caplog):
    atoms = molecule("H2O")
    atoms.calc = water(threads=2).calc
    energy = atoms.get_potential_energy()
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        found, used = pool.apply_async(_forked, (atoms.calc,)).get(timeout=120)
    assert found == pytest.approx(energy, abs=1e-6)
    assert used == 1


def test_threads_are_set_for_the_call_only():
    before = lib.num_threads()
    seen = []
    mean_field = gto.M(atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="sto-3g", verbose=0).RHF()
    mean_field.callback = lambda local: seen.append(lib.num_threads())
    atoms = water()
    atoms.calc = PySCFCalculator(mean_field, device="cpu", threads=2)
    atoms.get_potential_energy()
    assert set(seen) == {2}  # and the user's own callback was called
    assert len(seen) == atoms.calc.last_call.scf_cycles
    assert lib.num_threads() == before


@pytest.mark.parametrize("processes", [False, True])
def test_dask_workers(processes):
    from distributed import Client, LocalCluster

    systems = [water(seed, threads=1) for seed in range(4)]
    expected = [atoms.get_potential_energy() for atoms in systems]
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1 if processes else 2,
            processes=processes,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        found = client.gather(client.map(_energy, systems, pure=False))
    np.testing.assert_allclose([e for e, *_ in found], expected, atol=1e-6)


# Settings


def test_set_starts_anew_and_todict_says_what_is_not_default():
    atoms = water()
    first = atoms.get_potential_energy()
    changed = atoms.calc.set(basis="6-31g")
    assert changed == {"basis": "6-31g"}
    assert atoms.get_potential_energy() < first - 1.0
    described = atoms.calc.todict()
    assert described == {"method": "hf", "basis": "6-31g", "device": "cpu"}
    assert atoms.calc.set() == {}
    with pytest.raises(TypeError, match=r"unknown settings \['functional'\]"):
        atoms.calc.set(functional="pbe")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected exactly one of them"),
        ({"method": "hf", "xc": "pbe", "basis": "sto-3g"}, "expected exactly one of them"),
        ({"method": "mp2", "basis": "sto-3g"}, "method is 'mp2'"),
        ({"method": 7}, "method is a int"),
        ({"xc": "pbe"}, "basis is missing"),
        ({"xc": "pbf", "basis": "sto-3g"}, "no functional 'pbf'"),
        ({"xc": "pbe", "basis": "sto-3g", "grid_level": 12}, "grid_level is 12"),
        ({"method": "hf", "basis": "sto-3g", "grid_response": True}, "has no grid"),
        ({"method": "hf", "basis": "sto-3g", "conv_tol": 1e-2}, "conv_tol is 0.01"),
        ({"method": "hf", "basis": "sto-3g", "max_cycle": 0}, "max_cycle is 0"),
        ({"method": "hf", "basis": "sto-3g", "history": 0}, "history is 0"),
        ({"method": "hf", "basis": "sto-3g", "threads": 0}, "threads is 0"),
        ({"method": "hf", "basis": "sto-3g", "kpts": (1, 1, 0)}, "kpts is"),
        ({"method": "hf", "basis": "sto-3g", "device": "gpu"}, "device is 'gpu'"),
        ({"method": "hf", "basis": "sto-3g", "guess": "minao"}, "guess is 'minao'"),
        ({"method": "hf", "basis": "sto-3g", "dispersion": "d5"}, "dispersion is 'd5'"),
        ({"method": "hf", "basis": "sto-3g", "solvent": "beer"}, "unknown solvent 'beer'"),
        ({"method": "hf", "basis": "sto-3g", "solvent": 0.5}, "solvent is 0.5"),
        ({"method": "hf", "basis": "sto-3g", "solvent_model": "x"}, "solvent_model is 'x'"),
        (
            {"method": "hf", "basis": "sto-3g", "solvent": 78.4, "solvent_model": "smd"},
            "SMD needs a name",
        ),
        (
            {"method": "hf", "basis": "sto-3g", "min_overlap_eigenvalue": -1.0},
            "min_overlap_eigenvalue is -1.0",
        ),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        PySCFCalculator(**settings)


def test_a_mean_field_decides_the_level_of_theory():
    mean_field = gto.M(atom="He 0 0 0", basis="sto-3g", verbose=0).RHF()
    with pytest.raises(ValueError, match="basis, conv_tol given beside a mean-field object"):
        PySCFCalculator(mean_field, basis="sto-3g", conv_tol=1e-8)


# Charge and multiplicity


@pytest.mark.parametrize(
    ("name", "info", "settings", "message"),
    [
        ("H2O", {}, {"charge": 1}, r"9 electrons, an odd number.*can be 2, 4, 6"),
        ("CH3", {}, {"multiplicity": 1}, r"9 electrons, an odd number"),
        ("O2", {}, {"multiplicity": 2}, r"16 electrons, an even number.*can be 1, 3, 5"),
        ("H2O", {"charge": 1}, {"charge": 0}, r"charge=0, but atoms.info\['charge'\] is 1"),
        ("H2O", {"multiplicity": 1.5}, {}, r"multiplicity'\] is 1.5, expected a whole number"),
        ("H2O", {"charge": "one"}, {}, "is 'one', expected a whole number"),
        ("H2O", {}, {"multiplicity": 0}, "multiplicity is 0"),
        ("H2O", {}, {"charge": 10}, "has 0 electrons"),
        ("H2", {}, {"multiplicity": 5}, "2 electrons.*can be 1, 3"),
    ],
)
def test_impossible_electrons_are_refused_before_any_scf(name, info, settings, message):
    atoms = molecule(name)
    atoms.info.update(info)
    atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", **settings)
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()
    assert atoms.calc.totals.scf_runs == 0


def test_electrons_from_info_and_from_initial_moments():
    oxygen = molecule("O2")  # ASE gives it two unpaired electrons
    oxygen.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    triplet = oxygen.get_potential_energy()
    assert oxygen.get_magnetic_moment() == 2.0
    oxygen.info["multiplicity"] = 1
    assert oxygen.get_potential_energy() > triplet + 0.5
    ion = molecule("OH")
    ion.set_initial_charges([-1.0, 0.0])
    ion.set_initial_magnetic_moments([0.0, 0.0])
    ion.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    assert ion.get_charges().sum() == pytest.approx(-1.0, abs=1e-9)


# Errors while running


def test_unknown_basis_and_missing_core_potential():
    atoms = Atoms("HI", [[0, 0, 0], [0, 0, 1.6]])
    for settings, message in (
        ({"basis": "def2-swp"}, "basis='def2-swp'"),
        ({"basis": "def2-svp"}, r"core electrons of \['I'\].*use ecp='def2-svp'"),
    ):
        atoms.calc = PySCFCalculator(method="hf", device="cpu", **settings)
        with pytest.raises(ValueError, match=message):
            atoms.get_potential_energy()
    atoms.calc = PySCFCalculator(method="hf", basis="def2-svp", ecp="def2-svp", device="cpu")
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.get_charges().sum() == pytest.approx(0.0, abs=1e-9)


def test_linear_dependence_is_an_error_with_the_geometry_saved(tmp_path):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])
    atoms.calc = PySCFCalculator(method="hf", basis="aug-cc-pvdz", device="cpu", directory=tmp_path)
    with pytest.raises(CalculationFailed, match="linearly dependent") as caught:
        atoms.get_forces()
    path = tmp_path / "pyscf-failed-1.extxyz"
    assert str(path) in str(caught.value)
    saved = read(path)
    np.testing.assert_allclose(saved.positions, atoms.positions, atol=1e-7)
    assert saved.info["charge"] == 0
    assert saved.info["multiplicity"] == 1
    assert "energy" not in atoms.calc.results
    assert atoms.calc.totals.failures == 1
    with pytest.raises(CalculationFailed):  # nothing is overwritten
        atoms.get_forces()
    assert (tmp_path / "pyscf-failed-2.extxyz").exists()
    atoms.positions[1, 2] = 0.74  # and the calculator is still good for a sound geometry
    assert np.isfinite(atoms.get_potential_energy())


def test_what_does_not_exist_is_not_implemented():
    atoms = water()
    with pytest.raises(PropertyNotImplementedError, match="no stress"):
        atoms.get_stress()
    atoms.pbc, atoms.cell = [True, False, False], [5.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="expected all or none"):
        atoms.get_potential_energy()
    atoms.pbc = True
    atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", solvent="water")
    with pytest.raises(ValueError, match="solvent is for isolated molecules"):
        atoms.get_potential_energy()
    atoms.pbc = False
    for settings, message in (({"pseudo": "gth-pade"}, "use ecp="), ({"kpts": (2, 1, 1)}, "kpts")):
        atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", **settings)
        with pytest.raises(ValueError, match=message):
            atoms.get_potential_energy()


def test_nothing_is_printed_and_no_files_are_left(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        atoms = water(xc="pbe", method=None, grid_level=0)
        atoms.get_forces()
        atoms.get_dipole_moment()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not caplog.records
    assert not list(tmp_path.iterdir())


def test_the_record_of_no_call():
    assert water().calc.last_call == CallRecord()
    assert water().calc.mean_field is None


@pytest.mark.parametrize(
    ("settings", "ask", "what"),
    [
        ({"xc": "pbe", "density_fit": True}, "get_forces", "no forces for"),
        ({"xc": "pbe", "grid_response": True}, "get_forces", "no forces for"),
        ({"xc": "r2scan"}, "get_forces", "no forces for"),
        ({"xc": "pbe", "dispersion": "d3bj"}, "get_forces", "no forces of dispersion"),
        ({"xc": "pbe"}, "get_dipole_moment", "no dipole moment"),
    ],
)
def test_what_pyscf_lacks_for_crystals_is_not_implemented(settings, ask, what):
    atoms = Atoms("H2", [[0.1, 0.2, 0.3], [0.3, 0.5, 0.95]], cell=[2.6, 2.8, 3.0], pbc=True)
    atoms.calc = PySCFCalculator(
        basis={"H": [[0, [0.9, 1.0]]]}, pseudo="gth-pade", device="cpu", **settings
    )
    with pytest.raises(PropertyNotImplementedError, match=what):
        getattr(atoms, ask)()
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
@pytest.mark.parametrize("settings", [{}, {"density_fit": True}, {"solvent": "water"}])
def test_no_open_files_are_left(settings):
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    atoms = water(**settings)
    atoms.get_forces()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    del atoms
    gc.collect()  # an unclosed file would be a ResourceWarning here
