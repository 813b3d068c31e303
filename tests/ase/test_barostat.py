"""Runs at constant pressure: ensembles of the physics, counts, checkpoints, refusals."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLengths
from ase.io import read

from kstep_integrators import (
    CalculatorPotential,
    Ensemble,
    KStepDynamics,
    KStepWarning,
    load_model,
)
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.periodic_systems import (
    Argon,
    Crystal,
    IdealGas,
    crystal,
    dimers,
    gas,
    mean_and_error,
    volume_of_crystal,
)

FS = units.fs
BATH = {"temperature_K": 300, "friction": 0.02 / FS}
PRESSURE = {"pressure": 0.05, "barostat_interval": 1, "barostat_scales": "atoms", **BATH}
METROPOLIS = {"metropolize": True, "corrector": "none", "k": 5, "timestep": 8 * FS}


def run_of_crystal(**given):
    """Atoms on springs, moved on springs that are softer and know nothing of the volume."""
    atoms, sites = crystal()
    atoms = given.pop("atoms", atoms)
    atoms.calc = given.pop("calculator", None) or CountingCalculator(Crystal(sites))
    cheap = CalculatorPotential(Crystal(sites, spring=2.6, stiffness=0.0), 2 * FS)
    rng = given.pop("rng", None) or np.random.default_rng(5)
    return KStepDynamics(
        atoms, cheap, **{"k": 4, "corrector": "impulse", "rng": rng, **PRESSURE, **given}
    )


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


class Plain(Calculator):
    """Nothing acts: a jump is free flight, and impulses around it are velocity Verlet."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


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


KINDS = {
    "isotropic": {},
    "anisotropic": {"barostat": "anisotropic", "barostat_interval": 2},
    "metropolized": {**METROPOLIS, "barostat": "semi-isotropic"},
    "bussi": {"thermostat": "bussi", "friction": None, "taut": 20 * FS},
}


def begin(folder, kind, calculator=None):
    folder.mkdir(exist_ok=True)
    atoms, _ = crystal()
    atoms.set_momenta(np.random.default_rng(2).normal(size=(4, 3)))
    return run_of_crystal(
        atoms=atoms, calculator=calculator, trajectory=folder / "md.traj",
        logfile=folder / "md.log", loginterval=2, checkpoint=folder / "run.ckpt",
        checkpoint_interval=3, **KINDS[kind],
    )  # fmt: skip


def numbers(stats):
    return dataclasses.replace(stats, jump_seconds=0.0, physics_seconds=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_as_if_it_had_not(kind, tmp_path):
    through = begin(tmp_path / "through", kind)
    through.run(17)
    for stop in (4, 9):
        folder = tmp_path / str(stop)
        stopped = begin(folder, kind)
        stopped.run(stop)
        sites = crystal()[1]
        resumed = KStepDynamics.resume(
            folder / "run.ckpt", CountingCalculator(Crystal(sites)),
            CalculatorPotential(Crystal(sites, spring=2.6, stiffness=0.0), 2 * FS),
        )  # fmt: skip
        resumed.run(17 - stop)
        for name in ("positions", "cell"):
            one, other = (np.array(getattr(run.atoms, name)) for run in (resumed, through))
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(resumed.atoms.get_momenta(), through.atoms.get_momenta())
        assert numbers(resumed.stats) == numbers(through.stats)
        assert resumed._run.volume.sizes == through._run.volume.sizes
        assert resumed.rng.bit_generator.state == through.rng.bit_generator.state
        assert resumed.transferred_energy == through.transferred_energy
        for name in ("md.traj", "md.log"):
            assert (folder / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
        evaluations = stopped.atoms.calc.evaluations + resumed.atoms.calc.evaluations
        assert evaluations == through.atoms.calc.evaluations
    assert through.stats.volume_accepted > 1
    frames = read(tmp_path / "through" / "md.traj", ":")
    assert len({frame.get_volume() for frame in frames}) > 3


def test_the_same_seed_is_the_same_path():
    ends = []
    for seed in (1, 1, 2):
        dynamics = run_of_crystal(rng=np.random.default_rng(seed))
        dynamics.run(10)
        ends.append(dynamics.atoms)
    np.testing.assert_array_equal(ends[0].positions, ends[1].positions)
    assert ends[0].get_volume() == ends[1].get_volume() != ends[2].get_volume()


def test_the_log_has_volume_density_and_acceptance_and_says_when_sizes_are_frozen():
    log = io.StringIO()
    dynamics = run_of_crystal(logfile=log, loginterval=10)
    dynamics.run(110)
    lines = log.getvalue().splitlines()
    assert lines[0].split()[-3:] == ["V[A^3]", "rho[g/cm3]", "acc[V]"]
    volume, density, accepted = (float(word) for word in lines[-1].split()[-3:])
    stats = dynamics.stats
    assert volume == pytest.approx(stats.volume, abs=1e-4)
    assert density == pytest.approx(stats.density, abs=1e-5)
    assert accepted == pytest.approx(stats.volume_accepted / 110, abs=1e-3)
    assert stats.volume_frozen == 100
    (said,) = [line for line in lines if line.startswith("# step 100")]
    assert "constant pressure starts here" in said


class Interrupted(Crystal):
    """Raises Ctrl-C at one of its calls."""

    def __init__(self, sites, at):
        super().__init__(sites)
        self.calls, self.at = 0, at

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


@pytest.mark.parametrize("at", [6, 7])
def test_an_interrupted_step_is_made_again_the_same(at):
    through = run_of_crystal()
    through.run(6)
    dynamics = run_of_crystal(calculator=Interrupted(crystal()[1], at))
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(6)
    assert dynamics.nsteps == 2
    energy, calls = dynamics.atoms.get_potential_energy(), dynamics.atoms.calc.calls
    assert energy == float(dynamics._run.point.physics.energy[0])
    assert dynamics.atoms.calc.calls == calls  # it stands where the run does
    dynamics.run(4)
    np.testing.assert_array_equal(dynamics.atoms.positions, through.atoms.positions)
    np.testing.assert_array_equal(np.array(dynamics.atoms.cell), np.array(through.atoms.cell))


def test_a_move_whose_energy_fails_is_rejected_and_counted():
    sites = crystal()[1]
    dynamics = run_of_crystal(calculator=BrokenCalculator(Crystal(sites), [3]))
    volume = dynamics.atoms.get_volume()
    dynamics.run(1)
    assert dynamics.atoms.get_volume() == volume
    assert dynamics.stats.failures == 1
    assert dynamics.stats.last_problem.startswith("volume move: ")
    dynamics.run(20)
    assert dynamics.stats.volume_accepted > 0


def test_options_change_between_steps():
    dynamics = run_of_crystal(barostat_interval=2)
    dynamics.run(4)
    dynamics.run(2)
    sizes = dynamics._run.volume.sizes
    dynamics.pressure = 0.1
    assert dynamics._run.volume.tried == (0,)  # adapted anew
    assert dynamics._run.volume.sizes != sizes
    assert dynamics.stats.volume_frozen is None
    dynamics.set_options(barostat="anisotropic", barostat_interval=1)
    dynamics.run(2)
    assert dynamics.stats.volume_moves == 5
    volume = dynamics.atoms.get_volume()
    dynamics.set_options(pressure=None, barostat=None, barostat_scales=None, barostat_interval=None)
    dynamics.run(3)
    assert dynamics.stats.volume_moves == 5
    assert dynamics.atoms.get_volume() == volume
    assert dynamics.stats.volume is None
    with pytest.raises(ValueError, match="corrector 'mollified'"):
        dynamics.set_options(pressure=0.0, corrector="mollified")


def test_a_user_may_set_cell_and_positions():
    dynamics = run_of_crystal()
    dynamics.run(3)
    dynamics.atoms.set_cell(dynamics.atoms.cell * 1.01, scale_atoms=True)
    dynamics.atoms.positions += dynamics.atoms.cell[0]  # other images
    volume = dynamics.atoms.get_volume()
    dynamics.set_options(barostat_interval=100)
    dynamics.run(1)
    assert dynamics.stats.volume == pytest.approx(volume, rel=1e-12)
    dynamics.set_options(barostat_interval=1)
    dynamics.run(10)
    assert dynamics.atoms.get_volume() != volume


def test_rigid_molecules_keep_their_bonds():
    atoms = dimers()
    atoms.set_constraint(FixBondLengths([(i, i + 1) for i in range(0, 10, 2)]))
    lengths = atoms.get_all_distances(mic=True)[range(0, 10, 2), range(1, 10, 2)]
    atoms.calc = IdealGas()
    dynamics = KStepDynamics(
        atoms, CalculatorPotential(Plain(), 2 * FS), k=2, rng=np.random.default_rng(0),
        pressure=0.0, barostat_interval=1, **BATH,
    )  # fmt: skip
    dynamics.run(20)
    assert dynamics.stats.volume_accepted > 5
    assert dynamics.stats.fallbacks == 0
    after = atoms.get_all_distances(mic=True)[range(0, 10, 2), range(1, 10, 2)]
    np.testing.assert_allclose(after, lengths, rtol=0.0, atol=1e-9)


def copper():
    return bulk("Cu", cubic=True)


@pytest.mark.parametrize(
    ("atoms", "options", "message"),
    [
        (gas(), {"friction": None, "temperature_K": None}, "accepted at the temperature of a"),
        (Atoms("Ar2", [[0, 0, 0], [4, 0, 0]]), {}, r"atoms.pbc = \[False, False, False\]"),
        (Atoms("Ar", cell=[9, 9, 9], pbc=[1, 1, 0]), {}, r"atoms.pbc = \[True, True, False\]"),
        (copper(), {}, "use barostat_scales='atoms'"),
        (gas(), {"corrector": "mollified"}, "the corrector 'mollified', which has the physics"),
    ],
)
def test_what_has_no_meaning_is_refused(atoms, options, message):
    atoms = atoms.copy()
    atoms.calc = Plain()
    given = {"pressure": 1 * units.bar, **BATH, **options}
    with pytest.raises(ValueError, match=message):
        KStepDynamics(atoms, CalculatorPotential(Plain()), k=4, **given)


def test_a_slip_of_the_unit_is_warned_of():
    with pytest.warns(KStepWarning, match="is 160 GPa: pressures are in ASE's units"):
        run_of_crystal(pressure=1.0)


@pytest.mark.parametrize(
    ("constraint", "scales", "message"),
    [
        (FixAtoms([0]), "molecules", "FixAtoms of 1 atoms: a change of the cell would move"),
        (FixBondLengths([(0, 1)]), "atoms", "would not keep them; use barostat_scales='molecules'"),
    ],
)
def test_constraints_that_it_would_break_are_refused(constraint, scales, message):
    atoms = dimers()
    atoms.set_constraint(constraint)
    atoms.calc = Plain()
    with pytest.raises(ValueError, match=message):
        KStepDynamics(
            atoms, CalculatorPotential(Plain()), k=4, pressure=0.0, barostat_scales=scales, **BATH
        )


def test_models_without_cells_and_ensembles_refuse_it():
    atoms = dimers()
    atoms.calc = Plain()
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        KStepDynamics(atoms, load_model("organic-gfn2"), k=4, pressure=0.0, **BATH)
    with pytest.raises(ValueError, match="each replica needs volumes of its own"):
        Ensemble([gas()], CalculatorPotential(Plain()), lambda _: Plain(), pressure=0.0, **BATH)


def test_copper_of_emt_on_lennard_jones():
    atoms = copper() * (2, 2, 1)
    atoms.calc = EMT()
    inner = CalculatorPotential(LennardJones(sigma=2.27, epsilon=0.4, rc=4.5), 4 * FS)
    dynamics = KStepDynamics(
        atoms, inner, k=2, rng=np.random.default_rng(0), pressure=1 * units.bar,
        barostat="anisotropic", barostat_scales="atoms", barostat_interval=2, **BATH,
    )  # fmt: skip
    dynamics.run(40)
    assert dynamics.stats.volume_accepted > 5
    again = atoms.copy()
    again.calc = EMT()
    assert float(dynamics._run.point.physics.energy[0]) == pytest.approx(
        again.get_potential_energy(), abs=1e-9
    )
    assert torch.allclose(
        dynamics._run.point.physics.forces, torch.from_numpy(again.get_forces()), atol=1e-9
    )
