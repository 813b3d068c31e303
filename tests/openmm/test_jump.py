"""The jump as a force of a System: where it is put, and what is no model of one."""

import openmm
import pytest
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential, SumPotential
from kstep_integrators.models.model_file import ModelFileError
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.jump import find_jump, physics_parameters
from tests.conftest import hot, potential
from tests.openmm.systems import model, springs, water

__all__ = ["model"]


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


def test_models_refused():
    lennard_jones = CalculatorPotential(LennardJones())
    with pytest.raises(TypeError, match="a SumPotential; expected a bundled model name"):
        add_jump(water(), SumPotential(lennard_jones))
    assert add_jump(water(), lennard_jones) == 31
    with pytest.raises(ValueError, match="not loaded from a file"):
        add_jump(water(), potential())
    with pytest.raises(ModelFileError, match="no-such-model"):
        KStepIntegrator(water(), "no-such-model")
