"""Close contacts, SCFs that do not converge, NaN: provoked with real calculators."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read

from kstep_integrators import CalculatorPotential, DynamicsFailed, KStepDynamics, KStepWarning
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.conftest import hot

FS = units.fs


def gfn1():
    return CalculatorPotential(xtb_calculator("GFN1-xTB"))


def colliding(calculator):
    """Two carbons of ethanol driven into each other at many times thermal speed."""
    atoms = hot(temperature=300)
    atoms.calc = CountingCalculator(calculator)
    momenta = atoms.get_momenta()
    bond = atoms.positions[0] - atoms.positions[1]
    momenta[0] -= 9.0 * bond
    momenta[1] += 9.0 * bond
    atoms.set_momenta(momenta)
    return atoms


@pytest.mark.parametrize("on_error", ["fallback", "shrink"])
def test_a_close_contact_is_stepped_over_and_its_bonds_reported(on_error):
    atoms = colliding(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(
        atoms, gfn1(), k=8, timestep=0.5 * FS, on_error=on_error, energy_tolerance=0.1
    )
    start = dynamics.get_conserved_energy()
    with pytest.warns(KStepWarning) as told:
        dynamics.run(8)
    assert any("has broken" in str(one.message) for one in told)
    stats = dynamics.stats
    assert (stats.shrinks if on_error == "shrink" else stats.fallbacks) > 0
    assert stats.last_problem
    assert atoms.calc.evaluations > 9
    assert dynamics.get_time() == pytest.approx(8 * 4 * FS)
    assert abs(atoms.get_total_energy() - start) < 0.5


def test_a_close_contact_stops_a_run_that_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = colliding(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(
        atoms, gfn1(), k=8, timestep=0.5 * FS, on_error="stop", energy_tolerance=0.1,
        trajectory="md.traj",
    )  # fmt: skip
    with pytest.raises(DynamicsFailed, match=r"energy.* eV\).*step 0\)"):
        dynamics.run(8)
    restart = read("md.traj.restart.traj")
    np.testing.assert_array_equal(restart.positions, atoms.positions)
    np.testing.assert_array_equal(restart.positions, read("md.traj", -1).positions)
    assert restart.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


class Hindered(CountingCalculator):
    """PySCF that has a single SCF cycle for some of the calls, which is too few for any solver."""

    hindered = range(0)

    def calculate(self, *arguments, **words):
        if self.calculator.mean_field is not None:
            number = self.evaluations + 1
            self.calculator.mean_field.max_cycle = 1 if number in self.hindered else 50
        super().calculate(*arguments, **words)


def water(tmp_path, hindered):
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0.77, 0.55], [0, -0.77, 0.55]])
    rng = np.random.default_rng(0)
    atoms.set_momenta(rng.normal(0.0, 0.2, (3, 3)) * np.sqrt(atoms.get_masses())[:, None])
    solver = PySCFCalculator(
        method="hf", basis="sto-3g", device="cpu", directory=tmp_path, threads=1
    )
    atoms.calc = Hindered(solver)
    atoms.calc.hindered = hindered
    return atoms


def test_an_scf_that_fails_for_good_stops_the_run_with_its_state(tmp_path):
    atoms = water(tmp_path, range(4, 100))
    path = tmp_path / "md.traj"
    dynamics = KStepDynamics(atoms, gfn1(), k=4, trajectory=str(path))
    with pytest.raises(DynamicsFailed, match=r"CalculationFailed.*did not converge.*step 2"):
        dynamics.run(5)
    assert len(read(path, ":")) == 3
    restart = read(f"{path}.restart.traj")
    np.testing.assert_array_equal(restart.positions, read(path, -1).positions)
    assert list(tmp_path.glob("pyscf-failed-*.extxyz"))
    # The same run goes on once the SCF can converge again.
    atoms.calc.hindered = range(0)
    dynamics.run(3)
    assert len(read(path, ":")) == 6


@pytest.mark.parametrize("on_error", ["fallback", "shrink", "warn"])
def test_an_scf_that_fails_for_one_geometry_is_stepped_over(on_error, tmp_path):
    atoms = water(tmp_path, [4])
    dynamics = KStepDynamics(atoms, gfn1(), k=4, on_error=on_error)
    start = dynamics.get_conserved_energy()
    dynamics.run(5)
    stats = dynamics.stats
    assert (stats.fallbacks, stats.shrinks) == ((0, 1) if on_error == "shrink" else (1, 0))
    assert stats.last_problem.startswith("CalculationFailed: ")
    extra = 1 + 3 if on_error == "shrink" else 4
    assert stats.physics_evaluations == atoms.calc.evaluations == 1 + 5 + extra
    assert abs(atoms.get_total_energy() - start) < 0.02


def test_nan_of_a_real_calculator_is_no_force():
    atoms = hot()
    atoms.calc = BrokenCalculator(xtb_calculator("GFN2-xTB"), [3], "nan")
    dynamics = KStepDynamics(atoms, gfn1(), k=2)
    dynamics.run(4)
    assert dynamics.stats.fallbacks == 1
    assert "no finite forces on atoms [0, 1, 2, 3, 4, 5, 6, 7, 8]" in dynamics.stats.last_problem
    assert atoms.calc.calls == dynamics.stats.physics_evaluations == 1 + 4 + 2
    assert np.isfinite(atoms.get_total_energy())


def test_atoms_on_top_of_each_other_are_refused_at_the_start():
    atoms = hot()
    atoms.calc = xtb_calculator("GFN2-xTB")
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(RuntimeError, match="Too close interatomic distances"):
        KStepDynamics(atoms, gfn1(), k=2).run(1)
