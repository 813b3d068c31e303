"""Ensembles and evaluations of runs at constant pressure."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from kstep_integrators import CalculatorPotential, KStepDynamics
from tests.ase.barostat_runs import BATH, FS, METROPOLIS, Plain, run_of_crystal
from tests.periodic_systems import Argon, Crystal, crystal, mean_and_error, volume_of_crystal


@pytest.mark.parametrize(
    ("kind", "options"),
    [("isotropic", {}), ("anisotropic", METROPOLIS), ("semi-isotropic", {}),
     ("isotropic", METROPOLIS)],
)  # fmt: skip
def test_a_harmonic_crystal_has_its_volume(kind, options):
    """Against quadrature of every cell; without the term N ln V it would be 8 % smaller."""
    dynamics = run_of_crystal(barostat=kind, **options)
    atoms, volumes = dynamics.atoms, []
    dynamics.run(300)
    dynamics.attach(lambda: volumes.append(atoms.get_volume()))
    dynamics.run(1000)
    known, spread = volume_of_crystal(kind, 0.05)
    mean, error = mean_and_error(volumes, 12)
    assert error < 0.01 * known
    assert abs(mean - known) < 3.0 * error
    variance, error = mean_and_error((np.array(volumes) - known) ** 2, 12)
    assert abs(variance - spread) < 3.0 * error
    if options:
        assert dynamics.stats.flips > 0


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_argon_under_pressure_has_it_in_its_virial(kind):
    """<N kT / V - dU/dV> = P, and along each vector on its own: exact in this ensemble."""
    pressure, kelvin = 2000 * units.bar, 40.0
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True) * (2, 2, 2)
    atoms.calc = Argon()
    dynamics = KStepDynamics(
        atoms, CalculatorPotential(Plain(), 12 * FS), k=1, temperature_K=kelvin,
        friction=0.01 / FS, rng=np.random.default_rng(3), pressure=pressure, barostat=kind,
        barostat_interval=1,
    )  # fmt: skip
    seen = []

    def look():
        ideal = len(atoms) * units.kB * kelvin / atoms.get_volume()
        seen.append(ideal - atoms.calc.results["stress"][:3])

    dynamics.run(300)
    dynamics.attach(look)
    dynamics.run(1000)
    assert dynamics._run.volume.bodies.count == 32
    values = np.array(seen)
    for value in (values.mean(1), *(values.T if kind == "anisotropic" else ())):
        mean, error = mean_and_error(value, 10)
        assert error < 0.1 * pressure
        assert abs(mean - pressure) < 3.0 * error


@pytest.mark.parametrize("options", [{}, METROPOLIS])
def test_one_evaluation_for_each_move(options):
    dynamics = run_of_crystal(barostat_interval=3, **{**options, "extra_chances": 0})
    dynamics.run(20)
    stats, counted = dynamics.stats, dynamics.atoms.calc
    assert stats.volume_moves == 6
    assert stats.physics_evaluations == counted.evaluations == 1 + 20 + 6
    if options:  # energies alone
        assert counted.force_evaluations == 0
    assert 0 < stats.volume_accepted < 6
    volume = dynamics.atoms.get_volume()
    assert stats.volume == pytest.approx(volume, rel=1e-12)
    mass = dynamics.atoms.get_masses().sum() * 1e3 / units.kg  # g
    assert stats.density == pytest.approx(mass / (volume * 1e-24), rel=1e-9)


@pytest.mark.parametrize("options", [{}, METROPOLIS])
def test_after_a_move_everything_is_of_the_new_cell(options):
    """The next step is that of a run which begins there, to the last bit."""
    dynamics = run_of_crystal(rng=np.random.default_rng(5), **options)
    while dynamics.stats.volume_accepted < 3:
        before = dynamics.stats.volume_accepted
        dynamics.run(1)
    assert dynamics.stats.volume_accepted == before + 1
    atoms = dynamics.atoms.copy()
    atoms.calc = Crystal(crystal()[1])
    assert dynamics.atoms.get_potential_energy() == atoms.get_potential_energy()
    assert float(dynamics._run.point.physics.energy[0]) == atoms.get_potential_energy()
    evaluations = dynamics.atoms.calc.evaluations
    dynamics.atoms.get_potential_energy()
    assert dynamics.atoms.calc.evaluations == evaluations
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = dynamics.rng.bit_generator.state
    cheap = CalculatorPotential(Crystal(crystal()[1], spring=2.6, stiffness=0.0), 2 * FS)
    given = {"k": 4, "corrector": "impulse", **BATH, **options}
    other = KStepDynamics(atoms, cheap, rng=rng, **given)
    dynamics.set_options(barostat_interval=100)
    dynamics.run(3)
    other.run(3)
    np.testing.assert_array_equal(dynamics.atoms.positions, other.atoms.positions)
    np.testing.assert_array_equal(dynamics.atoms.get_momenta(), other.atoms.get_momenta())


def test_what_moves_of_the_volume_bring_is_in_the_conserved_energy():
    dynamics = run_of_crystal(k=2)
    totals, conserved = [], []

    def look():
        totals.append(dynamics.atoms.get_total_energy())
        conserved.append(dynamics.get_conserved_energy())

    dynamics.attach(look)
    dynamics.run(150)
    assert np.std(totals) > 0.05
    assert np.std(conserved) < 0.002
