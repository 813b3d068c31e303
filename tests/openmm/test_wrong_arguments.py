"""Errors at OpenMM's door are ours: what was given, what is expected, before anything is made."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from kstep_integrators import Learning
from kstep_integrators.calculators import OpenMMCalculator, fixed_bonds
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.openmm.systems import make_context, model, water, where

__all__ = ["model"]

PLACES = [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]]
BATH = {"temperature": 300.0, "friction": 1.0}


def started(model, system=None, steps=0, **settings):
    system = system or water()
    integrator = KStepIntegrator(system, model, **settings)
    context = make_context(system, integrator)
    context.setPositions(PLACES)
    integrator.step(steps)
    return context, integrator


@pytest.mark.parametrize("system", [None, "water.xml", openmm.VerletIntegrator(0.001)])
def test_no_system(model, system):
    for act in (add_jump, KStepIntegrator):
        with pytest.raises(TypeError, match=r"system is a .*expected an openmm.System"):
            act(system, model)
    for act in (OpenMMCalculator, fixed_bonds):
        with pytest.raises(TypeError, match=r"system is a .*expected an openmm.System"):
            act(system)


def test_an_empty_system(model):
    for act in (OpenMMCalculator, fixed_bonds, lambda system: add_jump(system, model)):
        with pytest.raises(ValueError, match="the System has no particles"):
            act(openmm.System())


@pytest.mark.parametrize("learn", [True, Learning(refit=False), None])
def test_a_program_does_not_learn(model, learn):
    with pytest.raises(ValueError, match=r"learn is .*expected False: .*potential.save\(path\)"):
        KStepIntegrator(water(), model, learn=learn)


@pytest.mark.parametrize("mass", [0.0, -1.0, float("nan")])
def test_no_masses(model, mass):
    system = openmm.System()
    for _ in range(3):
        system.addParticle(mass)
    with pytest.raises(ValueError, match=r"particles \[0, 1, 2\] have no mass"):
        KStepIntegrator(system, model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elements": ["O", "H", "H"]}, "an entry of elements is 'O'"),
        ({"elements": [8.5, 1, 1]}, "an entry of elements is 8.5"),
        ({"elements": [None, 1, 1]}, "an entry of elements is None"),
        ({"elements": np.zeros((3, 2), int)}, "an entry of elements is array"),
        ({"elements": [0, 1, 1]}, r"elements has \[0\], expected atomic numbers"),
        ({"elements": [500, 1, 1]}, r"elements has \[500\], expected atomic numbers"),
        ({"elements": [8, 1]}, "elements has 2 entries, expected 3"),
        ({"elements": "OHH"}, "elements is 'OHH', expected several"),
        ({"particles": 2}, "particles is 2, expected several"),
        ({"particles": np.int64(2)}, "particles is .*, expected several"),
        ({"particles": np.array(2)}, "particles is .*, expected several"),
        ({"particles": [0.5, 1]}, "an entry of particles is 0.5"),
        ({"particles": [True, True, False]}, "an entry of particles is True"),
        ({"particles": np.array([True, False, True])}, "an entry of particles is .*True"),
        ({"particles": [-1]}, "an entry of particles is -1"),
        ({"particles": [3]}, r"particles are \[3\], expected indices of 0 to 2"),
        ({"inner_groups": 0}, "inner_groups is 0, expected several"),
        ({"inner_groups": ["a"]}, "an entry of inner_groups is 'a'"),
        ({"inner_groups": [40]}, r"inner_groups is \[40\], but the System has"),
    ],
)
def test_arguments_of_the_jump(model, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        add_jump(water(), model, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"timestep": True},
        {"timestep": [0.001]},
        {"timestep": 1 * unit.kelvin},
        {"temperature": "300", "friction": 1.0},
        {"temperature": np.array([300.0, 300.0]), "friction": 1.0},
        {"temperature": 300.0, "friction": 1 * unit.picosecond},
        {"temperature": 300.0, "friction": None},
        {"k": "8"},
        {"k": True},
        {"corrector": 1},
        {"metropolize": "yes", **BATH},
        {"metropolize": True, "extra_chances": 1.5, **BATH},
    ],
)
def test_arguments_of_the_integrator(model, arguments):
    with pytest.raises((TypeError, ValueError), match=rf"({'|'.join(arguments)}).*(expected|pass)"):
        KStepIntegrator(water(), model, **arguments)


def test_a_corrector_that_wants_the_physics_elsewhere_is_refused(model):
    with pytest.raises(ValueError, match=r"corrector=.*at averaged positions; use 'impulse'"):
        KStepIntegrator(water(), model, k=2, corrector="mollified")
    KStepIntegrator(water(), model, k=2, timestep=0.004)  # whose default is another in ASE


@pytest.mark.parametrize("steps", [1.5, -1, "a", None, True])
def test_steps(model, steps):
    context, integrator = started(model)
    with pytest.raises(ValueError, match=r"steps is .*expected a whole number"):
        integrator.step(steps)
    integrator.step(0)
    assert integrator.stats.jumps == 0
    integrator.step(np.int64(2))
    assert integrator.stats.jumps == 2
    assert context.getStepCount() == 2


@pytest.mark.parametrize(
    ("setter", "value"),
    [
        ("setConstraintTolerance", "x"),
        ("setConstraintTolerance", 0.0),
        ("setConstraintTolerance", -1),
        ("setTemperature", "hot"),
        ("setTemperature", 1 * unit.picosecond),
        ("setFriction", None),
        ("setFriction", float("nan")),
        ("setIntegrationForceGroups", None),
        ("setIntegrationForceGroups", "ab"),
        ("setIntegrationForceGroups", set()),
        ("setIntegrationForceGroups", {32}),
        ("setIntegrationForceGroups", 1.5),
    ],
)
def test_setters(model, setter, value):
    _context, integrator = started(model, **BATH)
    with pytest.raises((TypeError, ValueError), match="expected"):
        getattr(integrator, setter)(value)
    integrator.step(1)


def test_undo(model):
    context, integrator = started(model, steps=0)
    with pytest.raises(ValueError, match="no step was begun"):
        integrator.undoStep(context)
    with pytest.raises(TypeError, match=r"expected an openmm\.Context"):
        integrator.undoStep(None)
    other, _ = started(model)
    integrator.step(1)
    with pytest.raises(ValueError, match="that of another integrator"):
        integrator.undoStep(other)
    integrator.undoStep(context)
    assert np.allclose(where(context), PLACES)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside others"])
@pytest.mark.parametrize(
    ("energy", "read"),
    [
        (5.0, True),
        (5, True),
        (np.float32(5.0), True),
        (np.array(5.0), True),
        (torch.tensor(5.0), True),
        (5.0 * unit.kilojoule_per_mole, True),
        (np.array([5.0]), False),
        ([5.0], False),
        (None, False),
        ("5", False),
    ],
    ids=lambda value: f"{type(value).__name__}{np.shape(value)}",
)
def test_energies_of_python_forces(model, energy, read, beside):
    """OpenMM reads what is not a number as -1 kJ/mol."""

    class Function:
        def __call__(self, state):
            return energy, np.zeros((3, 3))

        def __reduce__(self):
            return Function, ()

    system = water()
    if beside:
        spring = openmm.HarmonicBondForce()
        spring.addBond(0, 1, 0.09, 1000.0)
        spring.setForceGroup(1)
        system.addForce(spring)
    system.addForce(openmm.PythonForce(Function()))
    context, integrator = started(model, system)
    if read:
        integrator.step(1)
        groups = set(range(31)) - {1}
        found = context.getState(energy=True, groups=groups).getPotentialEnergy()
        assert found._value == pytest.approx(5.0)
        return
    for _ in range(2):
        with pytest.raises(ValueError, match=r"PythonForce .*return float\(energy\)"):
            integrator.step(1)
