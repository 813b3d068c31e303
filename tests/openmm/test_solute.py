"""A model of some particles in OpenMM: the rest moves along by forces that the flow computes."""

import numpy as np
import openmm
import pytest
from ase import Atoms, units
from openmm import unit

from kstep_integrators import CalculatorPotential, KStepDynamics, SumPotential, load_model
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.solute import SpanningTree, spanning_tree
from tests.conftest import hot
from tests.direct_systems import untrained
from tests.openmm.periodic_systems import CUBE, SLANTED
from tests.openmm.systems import Counted, make_context, model, moving, place, springs, where

__all__ = ["model"]

FS = unit.femtosecond
SOLUTE = range(9)
SLOW, CHEAP = 5, 0


def bath():
    """Ethanol between two flexible waters."""
    molecule = hot(temperature=300.0)
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    middle = molecule.positions.mean(0)
    atoms = molecule.copy()
    for shift in ([4.0, 0.5, 0.0], [-4.0, 0.0, 1.0]):
        atoms += Atoms("OH2", water + middle + shift)
    momenta = np.random.default_rng(0).normal(size=(15, 3)) * np.sqrt(atoms.get_masses())[:, None]
    momenta *= np.sqrt(300.0 * units.kB)
    momenta[:9] = molecule.get_momenta()
    atoms.set_momenta(momenta)
    return atoms


def cheap_forces(atoms):
    """Springs of the water, and what passes between the three molecules."""
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    pairs = openmm.NonbondedForce()
    for z in atoms.numbers[:9]:
        pairs.addParticle(0.1 if z == 1 else -0.2, 0.25, 0.2)
    for first in (9, 12):
        for charge, sigma in ((-0.8, 0.32), (0.4, 0.1), (0.4, 0.1)):
            pairs.addParticle(charge, sigma, 0.4)
        bonds.addBond(first, first + 1, 0.096, 300000.0)
        bonds.addBond(first, first + 2, 0.096, 300000.0)
        angles.addAngle(first + 1, first, first + 2, 1.82, 400.0)
    for group in (range(9), range(9, 12), range(12, 15)):
        for i in group:
            for j in range(group[0], i):
                pairs.addException(i, j, 0.0, 0.1, 0.0)
    return bonds, angles, pairs


def system_of(atoms, solute=True):
    """All of it; the solute's own forces in a group of their own, or left out."""
    if solute:
        system = springs(hot(), SLOW)
        for mass in atoms.get_masses()[9:]:
            system.addParticle(float(mass))
    else:
        system = openmm.System()
        for mass in atoms.get_masses():
            system.addParticle(float(mass))
    for force in cheap_forces(atoms):
        force.setForceGroup(CHEAP)
        system.addForce(force)
    return system


def setting(model, **settings):
    atoms = bath()
    system = system_of(atoms)
    counter = Counted().join(system)
    system.getForce(system.getNumForces() - 1).setForceGroup(SLOW)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, timestep=0.25 * FS, **settings)
    return atoms, system, counter, integrator, place(make_context(system, integrator), atoms)


@pytest.mark.parametrize("corrector", ["impulse", "filtered"])
def test_trajectory(model, corrector):
    """That of KStepDynamics on the same sum, and the physics is asked once per jump."""
    jumps = 40 if corrector == "impulse" else 3
    atoms, _, counter, integrator, context = setting(model, k=2, corrector=corrector)
    cheap = CalculatorPotential(OpenMMCalculator(system_of(atoms, solute=False)))
    atoms.calc = OpenMMCalculator(system_of(atoms))
    sum_potential = SumPotential((model, SOLUTE), cheap)
    dynamics = KStepDynamics(
        atoms, sum_potential, k=2, timestep=0.25 * units.fs, corrector=corrector
    )
    integrator.step(jumps)
    dynamics.run(jumps)
    assert np.abs(where(context) - atoms.positions / 10.0).max() < 1e-8
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks == 0
    assert counter.calls == dynamics.stats.physics_evaluations == jumps + 1
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-6)


def test_reversible(model):
    *_, integrator, context = setting(model, k=4)
    start = where(context)
    integrator.step(10)
    there = where(context)
    context.setVelocities(-moving(context))
    integrator.step(10)
    assert integrator.stats.fallbacks == 0
    assert np.abs(where(context) - start).max() < 1e-9
    assert np.abs(there - start).max() > 1e-3


def test_xml_goes_on(model):
    """The forces of the flow are in the XML of the System, as they were when it was made."""
    _, system, _, integrator, context = setting(model, k=2)
    integrator.step(2)
    again, same = (
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(each))
        for each in (system, integrator)
    )
    assert add_jump(again, model) == add_jump(system, model)
    elsewhere = make_context(again, same)
    state = context.getState(
        getPositions=True, getVelocities=True, getParameters=True, getIntegratorParameters=True
    )
    elsewhere.setState(state)
    for each in (integrator, same):
        each.step(2)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-13


def test_model_alone_on_the_solute(model):
    """Without inner forces the others fly freely between impulses: velocity Verlet for them."""
    atoms = bath()
    system = system_of(atoms)
    add_jump(system, model, particles=SOLUTE)
    integrator = KStepIntegrator(system, model, k=1, timestep=0.1 * FS)
    context = place(make_context(system, integrator), atoms)
    verlet = openmm.CustomIntegrator(0.0001)
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    verlet.addComputePerDof("x", "x+dt*v")
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    other = place(make_context(system_of(atoms), verlet), atoms)
    for each in (integrator, verlet):
        each.step(10)
    assert np.abs(where(context) - where(other)).max() < 1e-9


def test_arguments_refused(model, tmp_path):
    atoms = bath()
    for arguments, message in (
        ({"particles": []}, "expected indices of 0 to 14"),
        ({"particles": [0, 15]}, "expected indices of 0 to 14"),
        ({"particles": [0, 0]}, "none of them twice"),
        ({"inner_groups": [3]}, r"inner_groups is \[3\], but the System has forces in .*\[0, 5, 6"),
        ({"particles": SOLUTE, "inner_groups": [0], "inner_platform": "HAL"}, "platform is 'HAL'"),
    ):
        system = system_of(atoms)
        count = system.getNumForces()
        with pytest.raises(ValueError, match=message):
            add_jump(system, model, **arguments)
        assert system.getNumForces() == count


def test_expensive_forces_are_not_computed_in_the_flow(model):
    system = system_of(bath())
    Counted().join(system)
    with pytest.raises(ValueError, match=r"has a PythonForce, .*forceGroup=1"):
        add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])


def test_another_inner_force_is_another_jump(model):
    *_, system, _, _, _ = setting(model, k=2)
    assert add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP]) == 31
    with pytest.raises(ValueError, match="or inner forces already"):
        add_jump(system, model, particles=range(8), inner_groups=[CHEAP])


def test_direct_jumps_are_of_all_particles(tmp_path):
    path, network = tmp_path / "direct.safetensors", untrained()
    write_model(path, network, ModelHeader("mine", network.config, "none", kind="increments"))
    with pytest.raises(ValueError, match="'mine' makes direct jumps"):
        add_jump(system_of(bath()), load_model(path), particles=SOLUTE)


@pytest.mark.filterwarnings("ignore::kstep_integrators.KStepWarning")
@pytest.mark.parametrize("temperature", [1e-9, 1e9])
def test_metropolized_trajectory(model, temperature):
    """Where the random number does not matter, every decision is that of KStepDynamics."""
    shared = {"k": 2, "corrector": "none", "metropolize": True, "extra_chances": 2}
    bath = {"temperature": temperature, "friction": 0.0}
    atoms, _, counter, integrator, context = setting(model, **shared, **bath)
    cheap = CalculatorPotential(OpenMMCalculator(system_of(atoms, solute=False)))
    atoms.calc = OpenMMCalculator(system_of(atoms))
    dynamics = KStepDynamics(
        atoms,
        SumPotential((model, SOLUTE), cheap),
        timestep=0.25 * units.fs,
        temperature_K=temperature,
        friction=0.0,
        rng=np.random.default_rng(0),
        **shared,
    )
    integrator.step(8)
    dynamics.run(8)
    assert np.abs(where(context) - atoms.positions / 10.0).max() < 1e-8
    stats, other = integrator.stats, dynamics.stats
    assert (stats.accepted, stats.flips) == (other.accepted, other.flips)
    assert counter.calls == stats.physics_evaluations == other.physics_evaluations
    assert stats.energy_error == pytest.approx(other.energy_error, rel=1e-6)
    if temperature < 1.0:
        assert stats.flips > 0
    else:
        assert stats.accepted == 8


def wells():
    """Two hydrogens that a model is to cover, and two more, each in a well and tied to one.

    Wells of the first two are the expensive part. The energy is quadratic in 12 coordinates, whose
    mean in the canonical ensemble is kT/2 each; the model knows nothing of it, and has forces
    between the first two that the physics has not.
    """
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1.008)
    for group, members in ((SLOW, {0: 0.0, 1: 0.15}), (CHEAP, {2: 0.7, 3: 0.9})):
        well = openmm.CustomExternalForce("0.5*20000*(x^2+y^2+(z-z0)^2)")
        well.addPerParticleParameter("z0")
        for particle, z in members.items():
            well.addParticle(particle, [z])
        well.setForceGroup(group)
        system.addForce(well)
    tie = openmm.CustomCompoundBondForce(
        2, "0.5*5000*((x1-x2)^2+(y1-y2)^2+(z1-z2+z0)^2)"
    )  # harmonic in every coordinate
    tie.addPerBondParameter("z0")
    for first, second, apart in ((0, 2, 0.7), (1, 3, 0.75)):
        tie.addBond([first, second], [apart])
    tie.setForceGroup(CHEAP)
    system.addForce(tie)
    return system


def energies(model, jumps, **settings):
    """Potential energies in kT at 300 K, velocities drawn anew at each jump."""
    system = wells()
    add_jump(system, model, particles=[0, 1], inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, temperature=300.0, friction=1e6, **settings)
    integrator.setRandomNumberSeed(4)
    context = make_context(system, integrator)
    context.setPositions([[0.01, 0, 0], [0, 0.01, 0.15], [0, 0, 0.7], [0, 0.01, 0.9]])
    context.setVelocitiesToTemperature(300.0, 1)
    kt = 300.0 * unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
    values = []
    for _ in range(jumps):
        integrator.step(1)
        values.append(integrator.getLandingEnergy().value_in_unit(unit.kilojoule_per_mole) / kt)
    return integrator.stats, np.array(values)


def independent(values):
    """Their number, by the spread of the means of blocks of 25."""
    blocks = values[: len(values) // 25 * 25].reshape(-1, 25).mean(1)
    return values.var() / blocks.var() * len(blocks)


@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_metropolized_ensemble(model, corrector):
    """The physics' own, although the flow is that of the model and half of the forces."""
    settings = {"metropolize": True, "extra_chances": 1, "timestep": 0.002}
    stats, values = energies(model, 400, corrector=corrector, **settings)
    assert abs(values.mean() - 6.0) < 3.0 * values.std() / np.sqrt(independent(values))
    assert 20 < stats.flips < 350


def test_without_the_test_it_is_another_ensemble(model):
    """The test above can fail: without the expensive forces the solute flies away."""
    _, values = energies(model, 200, corrector="none", timestep=0.002)
    assert abs(values.mean() - 6.0) > 3.0 * values.std() / np.sqrt(independent(values))


def chain(length, count=12):
    """Particles in a row, in no order, a fifth of a nanometre or less apart."""
    x = np.zeros((count, 3))
    x[:, 0] = np.linspace(0.0, length, count)
    return np.random.default_rng(1).permutation(x + 0.3)


@pytest.mark.parametrize("box", [CUBE, SLANTED], ids=["cube", "slanted"])
@pytest.mark.parametrize("length", [0.5, 1.3], ids=["short", "longer than half the box"])
def test_pieces_are_put_together(box, length):
    x = np.vstack([np.zeros((2, 3)), chain(length)])
    atoms = np.arange(2, len(x))
    torn = x.copy()
    torn[2:] += np.random.default_rng(2).integers(-2, 3, (len(atoms), 3)) @ box
    tree = spanning_tree(atoms, torn, box)
    unwrapped = tree.unwrapped(torn, box)
    assert np.array_equal(unwrapped[:2], x[:2])
    assert unwrapped[2:] - unwrapped[2] == pytest.approx(x[2:] - x[2], abs=1e-12)
    assert unwrapped[2] == pytest.approx(torn[2])
    assert tree.unwrapped(x, box) is x


def test_one_particle_is_whole():
    x = np.array([[9.0, 0.0, 0.0], [-7.0, 0.0, 0.0]])
    assert spanning_tree(np.array([1]), x, CUBE).unwrapped(x, CUBE) is x


def test_links_that_are_too_long():
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.65]])
    with pytest.raises(ValueError, match=r"particle 1 .* is 0.42 .* from particle 0.*at most 0.4"):
        spanning_tree(np.arange(2), x, CUBE)
    tree = SpanningTree(np.arange(2), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="larger box"):
        tree.unwrapped(x, CUBE)
    assert tree.unwrapped(0.9 * x, CUBE) is not None


def test_a_solute_that_touches_its_image():
    x = chain(1.45, 11)
    with pytest.raises(ValueError, match="touches its own image"):
        spanning_tree(np.arange(11), x, CUBE)
