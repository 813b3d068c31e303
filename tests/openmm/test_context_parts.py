"""Parameters and tables inside forces, groups, a Context made anew: no program sees them."""

import numpy as np
import openmm
import pytest

from kstep_integrators.jumps.source import ModelSource
from kstep_integrators.nn.native.library import native_library
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.context_parts import context_of, parameters_of, tables_of
from kstep_integrators.openmm.jump import find_jump
from kstep_integrators.potentials.native_forces import NativeForces
from tests.openmm.bodies import nothing
from tests.openmm.systems import Counted, make_context, model, molecule, place, springs, where

__all__ = ["model", "molecule", "nothing"]


def bond(name="scale"):
    force = openmm.CustomBondForce(f"{name}*(r-0.1)^2")
    force.addGlobalParameter(name, 1000.0)
    force.addBond(0, 1, [])
    return force


def inside(force):
    outer = openmm.CustomCVForce("d")
    outer.addCollectiveVariable("d", force)
    return outer


def offset():
    force = openmm.NonbondedForce()
    for charge in (0.0, 0.5):
        force.addParticle(charge, 0.1, 0.0)
    force.addGlobalParameter("scale", 0.4)
    force.addParticleParameterOffset("scale", 0, 1e-3, 0.0, 0.0)
    return force


def alchemical():
    force = openmm.ATMForce(0.4, 0.6, 0.1, 5.0, 0.0, 1000.0, 500.0, 0.0625, 1.0)
    for shift in (0.0, 0.05):
        force.addParticle(openmm.Vec3(shift, 0.0, 0.0))
    force.addForce(bond())
    return force


def tabulated(values=(0.0, 500.0, 2000.0)):
    force = openmm.CustomCompoundBondForce(2, "table(distance(p1,p2))")
    force.addTabulatedFunction("table", openmm.Continuous1DFunction(values, 0.0, 1.0))
    force.addBond([0, 1], [])
    return force


FORCES = {
    "alone": (bond, "scale", 5000.0),
    "in a collective variable": (lambda: inside(bond()), "scale", 5000.0),
    "two deep": (lambda: inside(inside(bond())), "scale", 5000.0),
    "offset inside": (lambda: inside(offset()), "scale", 900.0),
    "alchemical transfer": (alchemical, "Lambda2", 0.9),
    "inside an alchemical transfer": (alchemical, "scale", 5000.0),
    "not there": (bond, "scale", 1000.0),
}


def verlet(system):
    made = openmm.CustomIntegrator(0.001)
    made.addComputePerDof("v", "v+0.5*dt*f/m")
    made.addComputePerDof("x", "x+dt*v")
    made.addComputePerDof("v", "v+0.5*dt*f/m")
    return made


def pair(force):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.008)
    system.addForce(force)
    return system


def path(make, force, change):
    """Positions of a pair some steps after a change, as an integrator has them."""
    system = pair(force)
    integrator = make(system)
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0.15, 0, 0]])
    integrator.step(3)
    change(context, system)
    integrator.step(2)
    return where(context)


@pytest.mark.parametrize(("make", "name", "value"), FORCES.values(), ids=FORCES)
def test_parameters_that_change(nothing, make, name, value):
    def change(context, system):
        context.setParameter(name, value)

    ours = path(lambda s: KStepIntegrator(s, nothing, k=1, timestep=0.001), make(), change)
    right = path(verlet, make(), change)
    stale = path(verlet, make(), lambda context, system: None)
    assert np.abs(ours - right).max() < 1e-8
    assert (np.abs(stale - right).max() > 1e-7) == (make is not bond or value != 1000.0)


@pytest.mark.parametrize("make", [tabulated, lambda: inside(tabulated())], ids=["alone", "inside"])
def test_tables_that_change(nothing, make):
    def change(context, system):
        (force,) = (f for f in system.getForces() if not isinstance(f, openmm.PythonForce))
        tables_of(force)[0].setFunctionParameters([0.0, 900.0, 9000.0], 0.0, 1.0)
        if isinstance(force, openmm.CustomCVForce):
            context.reinitialize(preserveState=True)
        else:
            force.updateParametersInContext(context)

    ours = path(lambda s: KStepIntegrator(s, nothing, k=1, timestep=0.001), make(), change)
    assert np.abs(ours - path(verlet, make(), change)).max() < 1e-8
    unchanged = path(verlet, make(), lambda context, system: None)
    assert np.abs(ours - unchanged).max() > 1e-7


def test_parameters_by_name():
    assert parameters_of(alchemical()) >= {"Lambda1", "Lambda2", "scale"}
    assert parameters_of(inside(inside(bond("deep")))) == {"deep"}
    assert parameters_of(openmm.HarmonicBondForce()) == set()
    assert parameters_of(openmm.AmoebaVdwForce()) == {"AmoebaVdwLambda"}


def test_force_groups_while_it_runs(molecule, model):
    """Springs, then the torsion alone, then all again: as integrators that had them throughout."""
    system = springs(molecule)
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, k=2, timestep=0.0005)
    context = place(make_context(system, integrator), molecule)
    for groups in ({0}, {1}, 0x7FFFFFFF, range(32)):
        integrator.setIntegrationForceGroups(groups)
        other = springs(molecule)
        same = KStepIntegrator(other, model, k=2, timestep=0.0005)
        same.setIntegrationForceGroups(groups)
        twin = make_context(other, same)
        twin.setPositions(where(context))
        twin.setVelocities(context.getState(velocities=True).getVelocities())
        integrator.step(3)
        same.step(3)
        assert np.allclose(where(context), where(twin), rtol=0, atol=1e-10)
    assert integrator.getIntegrationForceGroups() == 0xFFFFFFFF & ~(1 << 31)
    assert counter.calls > 0
    for groups in ({32}, {-1}, {"a"}):
        with pytest.raises(ValueError, match=r"groups is .*, expected"):
            integrator.setIntegrationForceGroups(groups)


def test_a_force_in_the_group_of_the_jump_is_refused(model):
    system = pair(openmm.HarmonicBondForce())
    integrator = KStepIntegrator(system, model)
    late = openmm.HarmonicBondForce()
    late.setForceGroup(system.getForce(find_jump(system)).getForceGroup())
    system.addForce(late)
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0.15, 0, 0]])
    with pytest.raises(ValueError, match="in the force group of the jump"):
        integrator.step(1)


def test_a_jump_of_another_version_is_refused(model):
    system = pair(openmm.HarmonicBondForce())
    add_jump(system, model)
    text = openmm.XmlSerializer.serialize(system).replace("kstep_guarded", "kstep_older")
    old = openmm.XmlSerializer.deserialize(text)
    with pytest.raises(ValueError, match=r"a jump of another version.*removeForce"):
        add_jump(old, model)


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
@pytest.mark.skipif(native_library() is None, reason="no native kernel here")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 300.0, "friction": 1.0, "metropolize": True},
    ],
    ids=["plain", "metropolized"],
)
def test_reinitialization_loads_and_packs_nothing_anew(molecule, settings, monkeypatch):
    """OpenMM reads the program anew; the model and its atoms are known."""
    system = springs(molecule)
    integrator = KStepIntegrator(system, "organic-gfn2", k=8, **settings)
    context = place(make_context(system, integrator), molecule)
    integrator.step(3)
    made = []
    for kind, name in ((ModelSource, "load"), (NativeForces, "__init__"), (NativeForces, "flow")):
        method = getattr(kind, name)

        def noted(self, *args, method=method, name=name, **kwargs):
            made.append(name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(kind, name, noted)
    for _ in range(3):
        context.reinitialize(preserveState=True)
        integrator.step(1)
    assert made == ["flow"] * 3


def test_reinitialization_keeps_the_path(molecule, model):
    ends = []
    for renew in (False, True):
        system = springs(molecule)
        integrator = KStepIntegrator(
            system, model, k=2, timestep=0.0005, temperature=300.0, friction=5.0
        )
        integrator.setRandomNumberSeed(3)
        context = place(make_context(system, integrator), molecule)
        for _ in range(4):
            integrator.step(1)
            if renew:
                context.reinitialize(preserveState=True)
        ends.append(where(context))
        assert integrator.stats.jumps == 4
    assert np.allclose(*ends, rtol=0, atol=1e-12)


def test_contexts_are_found(molecule, model):
    system = springs(molecule)
    one, two = (KStepIntegrator(system, model) for _ in range(2))
    assert context_of(one) is None
    first, second = (make_context(system, integrator) for integrator in (one, two))
    assert context_of(two) is second
    assert context_of(one) is first
    del first
    assert context_of(one) is None


def test_force_groups_of_a_part(molecule, model):
    system, whole = springs(molecule), openmm.CompoundIntegrator()
    part = KStepIntegrator(system, model, k=2, timestep=0.0005)
    whole.addIntegrator(part)
    context = place(make_context(system, whole), molecule)
    whole.step(2)
    part.setIntegrationForceGroups({1})
    whole.step(1)
    energy = context.getState(energy=True, groups={1}).getPotentialEnergy()
    assert part.getLandingEnergy()._value == pytest.approx(energy._value)


def test_forces_that_a_context_was_given_later(molecule, nothing):
    """A System may serve another Context too; what this one has taken in is another matter."""
    system = springs(molecule)
    integrator = KStepIntegrator(system, nothing, k=1, timestep=0.0005)
    context = place(make_context(system, integrator), molecule)
    integrator.step(1)
    system.addForce(bond("late"))
    integrator.step(1)
    context.reinitialize(preserveState=True)
    with pytest.raises(ValueError, match=r"parameters \['late'\].*make the integrator last"):
        integrator.step(1)
