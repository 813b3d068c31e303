"""Arguments and methods of KStepIntegrator."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import unit

from kstep_integrators import StrideTuning
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.openmm.hosted import BATH, setting
from tests.openmm.systems import make_context, model, molecule, moving, place, water, where

__all__ = ["model", "molecule"]

PS, K = unit.picosecond, unit.kelvin


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
        ({"metropolize": True}, "needs a temperature and a friction"),
        ({"temperature": -1 * K, "friction": 1 / PS}, "temperature is -1"),
        ({"temperature": 300 * K, "friction": -1 / PS}, "friction is -1"),
        ({"temperature": 300 * K, "friction": np.nan}, "friction is nan"),
        ({"temperature": np.inf, "friction": 1 / PS}, "temperature is inf"),
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


def test_a_stride_that_is_tuned_is_refused(model):
    """Its first candidate was taken in silence."""
    with pytest.raises(ValueError, match=r"k is a StrideTuning.*has one stride"):
        KStepIntegrator(
            water(), model, k=StrideTuning(), temperature=300, friction=1, metropolize=True
        )


def test_corrector_object_refused(model):
    with pytest.raises(TypeError, match="corrector is a int"):
        KStepIntegrator(water(), model, corrector=1)


def test_wrong_units_refused(model):
    with pytest.raises(TypeError, match="units of picosecond"):
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


def test_copies_keep_the_class(molecule, model):
    _, _, integrator, _ = setting(molecule, model, **BATH)
    pickled = pickle.loads(pickle.dumps(integrator))  # noqa: S301
    for made in (copy.copy(integrator), pickled):
        assert isinstance(made, KStepIntegrator)
        assert made.getTemperature() / unit.kelvin == pytest.approx(300)
        assert made.getNumBaseSteps() == 2


def test_infinite_friction_draws_velocities_anew(model):
    """As in ASE; through XML too."""
    bath = {"temperature": 300 * K, "friction": np.inf}
    integrator = KStepIntegrator(water(), model, k=1, timestep=1e-6, **bath)
    assert integrator.getFriction() * PS == np.inf
    text = openmm.XmlSerializer.serialize(integrator)
    restored = KStepIntegrator.restore(openmm.XmlSerializer.deserialize(text))
    assert restored.getFriction() * PS == np.inf
    for each in (integrator, restored):
        system = water()
        add_jump(system, model)
        context = make_context(system, each)
        context.setPositions([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
        context.setVelocities(np.full((3, 3), 1.0))
        each.setRandomNumberSeed(2)
        each.step(1)
        first = moving(context)
        each.step(1)
        assert np.abs(moving(context) - first).min() > 1e-4
        assert np.abs(moving(context)).max() < 10.0


@pytest.mark.parametrize("bath", [{}, BATH], ids=["constant energy", "langevin"])
def test_restored_from_xml(molecule, model, bath):
    """The same trajectory to the bit, and all methods."""
    system, _, integrator, context = setting(molecule, model, **bath)
    integrator.setRandomNumberSeed(3)
    context.reinitialize()
    place(context, molecule)
    again, plain = (
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(each))
        for each in (system, integrator)
    )
    assert type(plain) is openmm.CustomIntegrator
    restored = KStepIntegrator.restore(plain)
    assert restored is plain
    assert KStepIntegrator.restore(restored) is restored
    integrator.step(5)
    # One after the other: the noise of the platform Reference is one stream.
    elsewhere = place(make_context(again, restored), molecule)
    restored.step(5)
    assert np.array_equal(where(elsewhere), where(context))
    assert np.array_equal(moving(elsewhere), moving(context))
    assert restored.getNumBaseSteps() == 2
    assert restored.getLandingEnergy() == integrator.getLandingEnergy()
    assert restored.stats.physics_evaluations == integrator.stats.physics_evaluations == 6
    assert restored.stats.residual_rms == integrator.stats.residual_rms
    assert restored.describeProgram() == integrator.describeProgram()
    before = where(elsewhere)
    restored.step(1)
    restored.undoStep(elsewhere)
    assert np.array_equal(where(elsewhere), before)
    restored.invalidateForces()
    restored.step(1)
    assert restored.stats.physics_evaluations == 9
    if bath:
        restored.setTemperature(310 * K)
        assert restored.getTemperature() / K == pytest.approx(310)
        assert restored.getFriction() * PS == pytest.approx(10)
    else:
        with pytest.raises(ValueError, match="constant energy"):
            restored.getTemperature()


def test_restored_in_its_context(molecule, model):
    """``Context.getIntegrator`` of a Context that was made elsewhere gives the plain class too."""
    _, _, integrator, context = setting(molecule, model)
    integrator.step(2)
    restored = KStepIntegrator.restore(context.getIntegrator())
    assert restored.stats.jumps == 2


def test_others_are_not_restored():
    with pytest.raises(TypeError, match="integrator is a VerletIntegrator, expected the Custom"):
        KStepIntegrator.restore(openmm.VerletIntegrator(0.001))
    other = openmm.CustomIntegrator(0.001)
    other.addGlobalVariable("kstep_jumps", 0)
    with pytest.raises(ValueError, match=r"not a KStepIntegrator .*'kstep_accepted'"):
        KStepIntegrator.restore(other)
    assert type(other) is openmm.CustomIntegrator
