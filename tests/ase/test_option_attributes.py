"""Options that are changed while a run goes on are those of the next step, or are refused."""

import numpy as np
import pytest
from ase import units
from ase.calculators.lj import LennardJones
from ase.md import VelocityVerlet
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, hot, physics
from tests.direct_systems import silent

BATH = {"temperature_K": 300.0, "friction": 0.05 / units.fs}


def run_of(atoms=None, **options):
    atoms = hot() if atoms is None else atoms
    atoms.calc = physics()
    given = {"k": 2, "timestep": 0.5 * units.fs, "rng": np.random.default_rng(0), **options}
    return KStepDynamics(atoms, cheap(depth=1.6), **given)


def test_heating_from_an_observer_heats(atoms):
    """The mean kinetic energy follows a ramp from 100 to 500 K, 3 sigma of independent atoms."""
    thermalize_momenta(atoms, temperature_K=100.0, rng=np.random.default_rng(1))
    dynamics = run_of(atoms, temperature_K=100.0, friction=0.5 / units.fs)
    seen = []

    def heat():
        if dynamics.nsteps == 300:
            dynamics.set_temperature(temperature_K=500.0)
        seen.append(dynamics.atoms.get_kinetic_energy() * 2.0 / (27 * units.kB))

    dynamics.attach(heat)
    dynamics.run(600)
    for kelvin, part in ((100.0, seen[20:300]), (500.0, seen[320:])):
        # Momenta are drawn anew within a stride or two; sigma of a mean of n/2 samples.
        sigma = kelvin * np.sqrt(2.0 / 27.0 / (len(part) / 2.0))
        assert abs(np.mean(part) - kelvin) < 3.0 * sigma
    assert dynamics.todict()["temperature_K"] == 500.0


def test_a_shorter_timestep_is_a_shorter_stride():
    dynamics = run_of()
    dynamics.run(2)
    dynamics.set_timestep(0.25 * units.fs)
    dynamics.k = 3
    dynamics.run(2)
    assert dynamics.dt == pytest.approx(0.75 * units.fs)
    assert dynamics.get_time() == pytest.approx((2 * 1.0 + 2 * 0.75) * units.fs)


def test_a_change_costs_no_evaluation(atoms):
    counted = atoms.calc
    given = {"k": 2, "timestep": 0.5 * units.fs, "rng": np.random.default_rng(0)}
    dynamics = KStepDynamics(atoms, cheap(), **given, **BATH)
    dynamics.run(2)
    for name, value in {"temperature_K": 400.0, "friction": 0.1, "k": 4, "corrector": "none",
                        "timestep": 0.25 * units.fs, "force_tolerance": 5.0}.items():  # fmt: skip
        setattr(dynamics, name, value)
    dynamics.run(2)
    assert counted.evaluations == 5 == dynamics.stats.physics_evaluations


class ForcesOnRequest(CountingCalculator):
    """Keeps forces only if it was asked for them."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if "forces" not in properties:
            del self.results["forces"]


def test_forces_are_evaluated_where_a_test_needed_energies_only(atoms):
    counted = atoms.calc = ForcesOnRequest(physics())
    dynamics = KStepDynamics(
        atoms, cheap(), k=2, timestep=0.5 * units.fs, corrector="none", metropolize=True,
        rng=np.random.default_rng(0), **BATH,
    )  # fmt: skip
    dynamics.run(2)
    assert counted.force_evaluations == 0
    dynamics.set_options(metropolize=False, corrector="impulse")
    dynamics.run(1)
    assert counted.force_evaluations == 2


def test_a_thermostat_is_changed_with_what_it_needs():
    dynamics = run_of(**BATH)
    dynamics.run(1)
    with pytest.raises(ValueError, match="taut"):
        dynamics.thermostat = "bussi"
    assert dynamics.todict()["thermostat"] == "langevin"
    dynamics.set_options(thermostat="bussi", friction=None, taut=50 * units.fs)
    dynamics.set_taut(20 * units.fs)
    assert dynamics.todict()["taut"] == 20 * units.fs
    dynamics.run(1)


def test_a_change_between_runs_is_in_the_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    dynamics = run_of(checkpoint=path, **BATH)
    dynamics.run(2)
    dynamics.temperature_K = 450.0
    resumed = KStepDynamics.resume(path, physics(), cheap(depth=1.6))
    assert resumed.temperature_K == 450.0
    for one in (dynamics, resumed):
        one.run(3)
    assert np.array_equal(dynamics.atoms.positions, resumed.atoms.positions)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("temperature_K", -5.0, ValueError, "-5"),
        ("temperature_K", [300.0, 400.0], ValueError, "one heat bath"),
        ("k", 0, ValueError, "k"),
        ("timestep", -1.0, ValueError, "timestep"),
        ("corrector", "impuls", ValueError, "impuls"),
        ("rng", 3, TypeError, "default_rng"),
        ("dt", 1.0, AttributeError, "dyn.timestep or dyn.k"),
        ("temp", 0.02, AttributeError, "set_temperature"),
        ("device", "cpu", AttributeError, "device"),
        ("loginterval", 5, AttributeError, "files are opened at the start"),
        ("model", cheap(), AttributeError, "make another run"),
        ("atoms", None, AttributeError, "make another run"),
        ("fixcm", True, AttributeError, r"set_constraint\(FixCom\(\)\)"),
        ("nsteps", -1, ValueError, "nsteps is -1"),
        ("guard", "strict", TypeError, "guard is 'strict', expected a Guard"),
        ("temprature_K", 500.0, AttributeError, "did you mean 'temperature_K'"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(name, value, error, message):
    dynamics = run_of(**BATH)
    dynamics.run(1)
    before = dynamics.options
    with pytest.raises(error, match=message):
        setattr(dynamics, name, value)
    assert dynamics.options is before
    assert not hasattr(dynamics, "temprature_K")


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="device"):
        run_of().set_options(device="cpu")


def test_an_attribute_of_the_users_own_is_theirs():
    dynamics = run_of()
    dynamics.my_table = [1, 2]
    assert dynamics.my_table == [1, 2]
    dynamics.times, dynamics.tempo = [], 4  # near ``timestep`` and ``temp``, and no misspellings
    with pytest.raises(AttributeError, match="did you mean 'temperature_K'"):
        dynamics.temperture_K = 350
    with pytest.raises(AttributeError, match="no attribute 'my_tables'"):
        _ = dynamics.my_tables


def test_a_temperature_that_ase_takes_as_an_energy_is_refused():
    dynamics = run_of(**BATH)
    for given in ((400,), ()):
        with pytest.raises(TypeError, match=r"set_temperature\(temperature_K=300\)"):
            dynamics.set_temperature(*given)
    assert dynamics.temperature_K == 300.0


def test_the_base_step_of_a_direct_jump_is_its_own():
    atoms = hot()
    atoms.calc = physics()
    dynamics = KStepDynamics(atoms, silent(), k=8)
    with pytest.raises(ValueError, match="base step"):
        dynamics.timestep = 0.1 * units.fs
    with pytest.raises(ValueError, match="strides"):
        dynamics.k = 5


def test_steps_counted_from_zero_again_are_time_zero_as_in_ase():
    times = []
    for make in (
        lambda atoms: VelocityVerlet(atoms, 1.0 * units.fs),
        lambda atoms: KStepDynamics(
            atoms, CalculatorPotential(LennardJones(sigma=0.8)), k=2, timestep=0.5 * units.fs
        ),
    ):
        atoms = hot("water")
        atoms.calc = LennardJones(sigma=0.8, epsilon=0.1)
        dynamics, seen = make(atoms), []
        dynamics.attach(lambda d=dynamics, s=seen: s.append((d.nsteps, d.get_time() / units.fs)))
        dynamics.run(3)
        dynamics.nsteps = 0
        dynamics.run(2)
        times.append(seen)
    assert np.allclose(times[0], times[1])
