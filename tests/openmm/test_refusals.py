"""What add_jump and KStepIntegrator refuse, and what they take."""

import subprocess
import sys

import numpy as np
import openmm
import pytest
from ase.calculators.lj import LennardJones
from openmm import unit

from kstep_integrators import CalculatorPotential
from kstep_integrators.models.model_file import ModelFileError
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.jump import find_jump, physics_parameters
from tests.conftest import hot, potential
from tests.openmm.systems import model, springs

__all__ = ["model"]

PS, K = unit.picosecond, unit.kelvin


def water():
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    return system


def test_the_highest_free_group_once(model):
    system = springs(hot())
    for group in (31, 30):
        force = openmm.HarmonicBondForce()
        force.setForceGroup(group)
        system.addForce(force)
    assert add_jump(system, model) == 29
    count = system.getNumForces()
    assert add_jump(system, model) == 29
    KStepIntegrator(system, model)
    assert system.getNumForces() == count
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    assert add_jump(again, model) == 29
    assert add_jump(again, model, elements=hot().numbers.tolist()) == 29
    assert again.getNumForces() == count
    assert find_jump(again) == count - 1


def test_parameters_of_the_physics(model):
    system = springs(hot())
    system.addForce(openmm.PythonForce(len, {"lambda": 1.0}))
    add_jump(system, model)
    assert physics_parameters(system) == ["lambda", "stiffness"]


def test_another_jump_is_refused(model):
    system = springs(hot())
    add_jump(system, model)
    with pytest.raises(ValueError, match="another model"):
        add_jump(system, "organic-gfn2")
    with pytest.raises(ValueError, match="elements or inner forces already"):
        add_jump(system, model, elements=[6] * 9)
    system.setParticleMass(3, 2.0)
    with pytest.raises(ValueError, match=r"other masses.*system.removeForce\(2\)"):
        KStepIntegrator(system, model)
    system.removeForce(2)
    system.setParticleMass(3, 1.008)
    KStepIntegrator(system, "organic-gfn2")


def test_all_groups_taken(model):
    system = water()
    for group in range(32):
        force = openmm.HarmonicBondForce()
        force.setForceGroup(group)
        system.addForce(force)
    with pytest.raises(ValueError, match="all 32 force groups are taken"):
        add_jump(system, model)


def virtual_site(system):
    system.addParticle(0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def constraint(system):
    system.addConstraint(0, 1, 0.09572)


def massless(system):
    system.setParticleMass(1, 0.0)


def barostat(system):
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def periodic(system):
    force = openmm.HarmonicBondForce()
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)


def deuterium(system):
    system.setParticleMass(1, 2.014)


def silicon(system):
    system.setParticleMass(1, 28.085)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (virtual_site, r"particles \[3\] are virtual sites"),
        (massless, r"particles \[1\] have no mass"),
        (barostat, r"MonteCarloBarostat, which.*cell that changes"),
        (periodic, "is periodic"),
        (deuterium, "particle 1 has a mass of 2.014 u.*elements="),
        (silicon, "does not cover the elements"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_systems_refused(model, change, message):
    system = water()
    change(system)
    with pytest.raises(ValueError, match=message):
        add_jump(system, model)
    before = system.getNumForces()
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, model)
    assert system.getNumForces() == before


def test_empty_system(model):
    with pytest.raises(ValueError, match="no particles"):
        add_jump(openmm.System(), model)


def test_elements_where_masses_do_not_tell(model):
    system = water()
    deuterium(system)
    with pytest.raises(ValueError, match="2 entries, expected 3"):
        add_jump(system, model, elements=[8, 1])
    assert add_jump(system, model, elements=[8, 1, 1]) == 31
    KStepIntegrator(system, model)


def test_models_refused():
    with pytest.raises(TypeError, match="a CalculatorPotential; expected a bundled model name"):
        add_jump(water(), CalculatorPotential(LennardJones()))
    with pytest.raises(ValueError, match="not loaded from a file"):
        add_jump(water(), potential())
    with pytest.raises(ModelFileError, match="no-such-model"):
        KStepIntegrator(water(), "no-such-model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": True}, "k is True"),
        ({"timestep": 0.0}, "timestep is 0.0"),
        ({"timestep": np.nan}, "timestep is nan"),
        ({"corrector": "magic"}, "unknown corrector"),
        ({"temperature": 300 * K}, "temperature and friction"),
        ({"friction": 1 / PS}, "temperature and friction"),
        ({"metropolize": True}, "temperature and friction"),
        ({"temperature": -1 * K, "friction": 1 / PS}, "temperature is -1"),
        ({"temperature": 300 * K, "friction": np.inf}, "friction is inf.*1e6/picosecond"),
        ({"temperature": 0 * K, "friction": 1 / PS, "metropolize": True}, "temperature_K is 0"),
        (
            {"temperature": 300, "friction": 1, "metropolize": True, "extra_chances": -1},
            "extra_chances is -1",
        ),
    ],
    ids=str,
)
def test_arguments_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(water(), model, **arguments)


def test_corrector_object_refused(model):
    with pytest.raises(TypeError, match="corrector is a int"):
        KStepIntegrator(water(), model, corrector=1)


def test_wrong_units_refused(model):
    with pytest.raises(TypeError, match="not compatible"):
        KStepIntegrator(water(), model, timestep=1 * unit.nanometer)


def test_two_heat_baths_refused(model):
    system = water()
    system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    with pytest.raises(ValueError, match="one run has one heat bath"):
        KStepIntegrator(system, model, temperature=300 * K, friction=1 / PS)
    KStepIntegrator(system, model)


def test_getters_and_setters(model):
    integrator = KStepIntegrator(water(), model)
    assert integrator.getStepSize() / unit.femtosecond == pytest.approx(2.0)
    assert integrator.getNumBaseSteps() == 8
    for call in (
        integrator.getTemperature,
        integrator.getFriction,
        lambda: integrator.setTemperature(1.0),
        lambda: integrator.setFriction(1.0),
    ):
        with pytest.raises(ValueError, match="constant energy"):
            call()
    integrator.setRandomNumberSeed(7)
    assert integrator.getRandomNumberSeed() == 7

    integrator = KStepIntegrator(
        water(), model, 4, 0.5 * unit.femtosecond, temperature=300 * K, friction=0.002
    )
    assert integrator.getStepSize() / PS == pytest.approx(0.002)
    assert integrator.getTemperature() / K == pytest.approx(300)
    assert integrator.getFriction() * PS == pytest.approx(0.002)
    integrator.setTemperature(310)
    integrator.setFriction(5 / unit.nanosecond)
    integrator.setStepSize(1 * unit.femtosecond)
    assert integrator.getTemperature() / K == pytest.approx(310)
    assert integrator.getFriction() * PS == pytest.approx(0.005)
    assert integrator.getStepSize() / PS == pytest.approx(0.001)
    for call in (integrator.setTemperature, integrator.setFriction):
        with pytest.raises(ValueError, match="expected a finite number >= 0"):
            call(-1.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("sys.modules['openmm'] = None", r"kstep-integrators\[openmm\]"),
        ("import openmm; del openmm.PythonForce", "OpenMM 8.4 or newer"),
    ],
)
def test_openmm_missing_or_old(lines, message):
    code = f"import sys\n{lines}\nimport kstep_integrators.openmm"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert __import__("re").search(message, done.stderr), done.stderr
