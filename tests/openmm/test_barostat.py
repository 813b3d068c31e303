"""OpenMM's own Monte Carlo barostats beside jumps: their box and positions are noticed."""

from itertools import pairwise

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from openmm import unit

from kstep_integrators import CalculatorPotential
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.units import FS, NM, NM_PER_PS
from tests.openmm.cells import BASE, CUBE, SLANTED, cheap, copper, running, system_of
from tests.openmm.periodic_systems import CHEAP, SOLUTE, box_atoms, solvated
from tests.openmm.systems import make_context, model, moving, place, where

__all__ = ["model"]

BATH = {"temperature": 600.0, "friction": 5.0}
R = 0.00831446261815324  # kJ/(mol K)
BAR = 0.0602214076  # kJ/(mol nm^3)
PLACES = np.array([[a, b, 2 * c] for a in range(4) for b in range(4) for c in range(2)]) * 0.4
KINDS = [
    openmm.MonteCarloBarostat(1.0, 600.0, 2),
    openmm.MonteCarloAnisotropicBarostat([1.0, 1.0, 1.0], 600.0, True, True, True, 2),
    openmm.MonteCarloFlexibleBarostat(1.0, 600.0, 2),
    openmm.MonteCarloMembraneBarostat(1.0, 0.0, 600.0, 0, 0, 2),
]


def box_of(context):
    vectors = context.getState().getPeriodicBoxVectors(asNumpy=True)
    return np.array(vectors.value_in_unit(unit.nanometer))


def started(barostat, box=CUBE, **settings):
    """Copper under a barostat: physics, integrator, Context."""
    atoms = copper(box)
    system, physics = system_of(atoms)
    system.addForce(openmm.XmlSerializer.clone(barostat))
    system.getForce(1).setRandomNumberSeed(7)
    integrator = KStepIntegrator(system, cheap(), k=2, timestep=BASE, **{**BATH, **settings})
    integrator.setRandomNumberSeed(3)
    context = make_context(system, integrator)
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    return physics, integrator, context


@pytest.mark.parametrize("barostat", KINDS, ids=lambda force: type(force).__name__)
def test_moves_are_noticed(barostat):
    """By one evaluation after each accepted one, beside the barostat's own two for each tried."""
    physics, integrator, context = started(barostat, SLANTED)
    boxes = [box_of(context)]
    for _ in range(40):
        integrator.step(1)
        boxes.append(box_of(context))
    changes = [bool((a != b).any()) for a, b in pairwise(boxes)]
    assert not any(changes[::2])  # between its moves
    accepted = sum(changes)
    assert 5 < accepted <= 20
    assert integrator.stats.physics_evaluations == 41 + accepted
    assert physics.calls == 41 + accepted + 40
    assert integrator.stats.fallbacks == 0
    energy = context.getState(energy=True).getPotentialEnergy()
    assert (energy - integrator.getLandingEnergy()) / unit.kilojoule_per_mole == pytest.approx(0.0)


def test_the_path_goes_on_in_the_new_box():
    """As in a Context that is set there and has no barostat: nothing of the old box is left."""
    atoms = copper(SLANTED)
    system, _ = system_of(atoms)
    system.addForce(openmm.AndersenThermostat(600.0, 0.0))
    system.addForce(openmm.XmlSerializer.clone(KINDS[0]))
    integrator = KStepIntegrator(system, cheap(), k=2, timestep=BASE)
    context = make_context(system, integrator)
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    before = box_of(context)
    while np.array_equal(box_of(context), before):
        integrator.step(1)
    _, fresh, other = running(atoms)
    other.setPeriodicBoxVectors(*box_of(context))
    other.setPositions(integrator.getPerDofVariableByName("kstep_start_x"))
    other.setVelocities(integrator.getPerDofVariableByName("kstep_start_v"))
    fresh.step(1)
    assert np.abs(where(other) - where(context)).max() < 1e-13
    assert np.abs(moving(other) - moving(context)).max() < 1e-12


def test_a_step_that_fails_is_undone_with_its_box():
    """In the barostat's trial, which leaves its box and positions behind, or after it."""
    physics, integrator, context = started(KINDS[0])
    integrator.step(1)
    box, x, v = box_of(context), where(context), moving(context)
    physics.failing = True
    with pytest.raises(openmm.OpenMMException, match="does not converge"):
        integrator.step(1)
    physics.failing = False
    integrator.undoStep(context)
    assert np.abs(box_of(context) - box).max() == 0.0
    assert np.array_equal(where(context), x)
    assert np.array_equal(moving(context), v)
    integrator.step(2)
    assert integrator.stats.fallbacks == 0


class Steps(Calculator):
    """A potential of waves in the cell, of which the physics knows nothing."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        wave = 8 * np.pi * np.linalg.inv(atoms.cell.array).T[0]
        phase = atoms.positions @ wave
        energy, forces = 0.2 * np.cos(phase).sum(), 0.2 * np.sin(phase)[:, None] * wave
        self.results = {"energy": float(energy), "forces": forces}


def gas(count: int, pressure: float, frequency: int = 1) -> openmm.System:
    """Argon without forces, at 300 K."""
    system, pairs = openmm.System(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(0.1)
    pairs.setUseDispersionCorrection(False)
    for _ in range(count):
        system.addParticle(39.948)
        pairs.addParticle(0.0, 0.1, 0.0)
    side = np.cbrt(count * R * 300.0 / (pressure * BAR))
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * side))
    system.addForce(pairs)
    barostat = openmm.MonteCarloBarostat(pressure, 300.0, frequency)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    return system


def volumes(system, potential, steps):
    """Volumes (nm^3) of a run, and its statistics."""
    integrator = KStepIntegrator(
        system, potential, k=2, timestep=0.05, temperature=300.0, friction=1.0, metropolize=True,
        extra_chances=0,
    )  # fmt: skip
    integrator.setRandomNumberSeed(5)
    context = make_context(system, integrator)
    side, count = system.getDefaultPeriodicBoxVectors()[0][0]._value, system.getNumParticles()
    x = np.random.default_rng(0).random((count, 3)) * side
    x[1] = x[0] + [0.1, 0.0, 0.0]
    context.setPositions(x)
    context.setVelocitiesToTemperature(300.0, 1)
    found = []
    for _ in range(steps):
        integrator.step(1)
        found.append(context.getState().getPeriodicBoxVolume()._value)
    return np.array(found), integrator.stats


def error_of(values: np.ndarray, blocks: int = 20) -> float:
    """Standard error of a mean, from blocks."""
    means = [block.mean() for block in np.array_split(values, blocks)]
    return float(np.std(means, ddof=1) / np.sqrt(blocks))


def assert_gas(found: np.ndarray, molecules: int, pressure: float) -> None:
    """p(V) is V^N exp(-PV/kT): mean and spread within three standard errors, which are small."""
    unit_volume = R * 300.0 / (pressure * BAR)
    mean, variance = (molecules + 1) * unit_volume, (molecules + 1) * unit_volume**2
    found = found[len(found) // 10 :]
    assert abs(found.mean() - mean) < 3 * error_of(found) < 0.15 * mean
    squares = (found - mean) ** 2
    assert abs(squares.mean() - variance) < 3 * error_of(squares) < 0.6 * variance


@pytest.mark.slow
def test_an_ideal_gas_whose_jumps_are_mistaken():
    """The volume is that of the physics, whatever the jumps move on."""
    found, stats = volumes(gas(8, 50.0), CalculatorPotential(Steps()), 2000)
    assert_gas(found, 8, 50.0)
    assert 50 < stats.flips < 1000


class Dumbbell:
    """A bond that OpenMM knows nothing of, between the first two particles as they stand."""

    def __call__(self, state):
        x = np.array(state.getPositions(asNumpy=True)._value)
        bond = x[1] - x[0]
        length = np.linalg.norm(bond)
        forces = np.zeros_like(x)
        forces[1] = -20000.0 * (length - 0.1) * bond / length
        forces[0] = -forces[1]
        return 10000.0 * (length - 0.1) ** 2, forces


class Spring(Calculator):
    """The same, a little softer, for ASE."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        assert not atoms.pbc.any()
        bond = atoms.positions[1] - atoms.positions[0]
        length = float(np.linalg.norm(bond))
        pull = 1.8 * (length - 1.0) * bond / length
        self.results = {"energy": 0.9 * (length - 1.0) ** 2, "forces": np.array([pull, -pull])}


@pytest.mark.slow
def test_a_solute_without_bonds():
    """OpenMM scales its atoms one by one, and the energy decides: one molecule among the others.

    Its volume is that of one particle less, of which no scaling of whole molecules was told.
    """
    system = gas(7, 50.0)
    bond = openmm.PythonForce(Dumbbell())
    bond.setForceGroup(3)
    system.addForce(bond)
    potential = CalculatorPotential(Spring(), timestep=5 * FS)
    add_jump(system, potential, particles=[0, 1])
    found, stats = volumes(system, potential, 2000)
    assert_gas(found, 6, 50.0)
    assert stats.accepted > 1000


def argon(epsilon: float = 0.9977) -> openmm.System:
    """32 atoms of argon, kJ/mol."""
    system, pairs = openmm.System(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(0.6)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(0.5)
    pairs.setUseDispersionCorrection(False)
    for _ in range(32):
        system.addParticle(39.948)
        pairs.addParticle(0.0, 0.34, epsilon)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 1.6))
    system.addForce(pairs)
    return system


def squeezed():
    """Argon at jumps of a stiffer potential, with a barostat every second step."""
    system = argon()
    barostat = openmm.MonteCarloBarostat(300.0, 250.0, 2)
    barostat.setRandomNumberSeed(2)
    system.addForce(barostat)
    stiffer = CalculatorPotential(OpenMMCalculator(argon(1.2)), timestep=5 * FS)
    integrator = KStepIntegrator(system, stiffer, k=2, temperature=250.0, friction=2.0)
    integrator.setRandomNumberSeed(11)
    context = make_context(system, integrator)
    context.setPositions(PLACES)
    return integrator, context


def test_restarts():
    """Go on alike until OpenMM adapts its volume step: its checkpoints know nothing of that.

    (Its random numbers are in them. Each energy that anyone asks for draws some, so that a run of
    whose ``PythonForce`` the first energy is looked at makes other moves.)
    """
    integrator, context = squeezed()
    integrator.step(4)
    checkpoint, before = context.createCheckpoint(), box_of(context)
    integrator.step(6)
    end, speeds, box = where(context), moving(context), box_of(context)
    again, elsewhere = squeezed()
    elsewhere.loadCheckpoint(checkpoint)
    again.step(6)
    assert (box != before).any()
    assert np.array_equal(box_of(elsewhere), box)
    assert np.abs(where(elsewhere) - end).max() < 1e-13
    assert np.abs(moving(elsewhere) - speeds).max() < 1e-12
    assert again.stats.physics_evaluations == integrator.stats.physics_evaluations


@pytest.mark.slow
def test_argon_as_openmm_has_it():
    """Mean volume and energy of a dense gas, 3 sigma, against OpenMM's own integrator."""
    potential = CalculatorPotential(OpenMMCalculator(argon(1.2)), timestep=5 * FS)
    found = []
    for jumps in (True, False):
        system = argon()
        barostat = openmm.MonteCarloBarostat(300.0, 250.0, 1)
        barostat.setRandomNumberSeed(2)
        system.addForce(barostat)
        if jumps:
            integrator = KStepIntegrator(
                system, potential, k=2, timestep=0.005, temperature=250.0, friction=2.0,
                metropolize=True,
            )  # fmt: skip
        else:
            integrator = openmm.LangevinMiddleIntegrator(250.0, 2.0, 0.004)
        integrator.setRandomNumberSeed(11)
        context = make_context(system, integrator)
        context.setPositions(PLACES)
        context.setVelocitiesToTemperature(250.0, 1)
        integrator.step(300)
        values = []
        for _ in range(400 if jumps else 1500):
            integrator.step(5)
            state = context.getState(energy=True)
            energy = state.getPotentialEnergy() / unit.kilojoule_per_mole
            values.append((state.getPeriodicBoxVolume()._value, energy))
        found.append(np.array(values).T)
    for ours, theirs in zip(*found, strict=True):
        error = np.hypot(error_of(ours), error_of(theirs))
        assert abs(ours.mean() - theirs.mean()) < 3 * error
        assert error < 0.05 * abs(theirs.mean())


def test_rigid_water_and_a_solute(model):
    """Molecules are scaled as wholes, and constraints kept."""
    system, _ = solvated(model, box_atoms(), rigid=True)
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, timestep=0.0005, temperature=300, friction=1)
    context = place(make_context(system, integrator), box_atoms())
    context.setPeriodicBoxVectors(*(np.eye(3) * 1.55))
    integrator.step(8)
    assert box_of(context)[0, 0] != 1.55
    x = where(context)
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length / unit.nanometer, rel=1e-5)
    assert integrator.stats.fallbacks == 0
    assert integrator.stats.residual_rms < 1e-11


def with_forces(*forces):
    system, _ = system_of(copper())
    for force in forces:
        system.addForce(force)
    return system


@pytest.mark.parametrize("barostat", KINDS, ids=lambda force: type(force).__name__)
def test_temperatures_that_do_not_go_together(barostat):
    name = type(barostat).__name__

    def barostatted(*others):
        return with_forces(openmm.XmlSerializer.clone(barostat), *others)

    system = barostatted()
    with pytest.raises(ValueError, match=rf"{name} of 600 K, and the run has no temperature"):
        KStepIntegrator(system, cheap(), k=2)
    with pytest.raises(ValueError, match=rf"{name} of 600 K, and the run has a heat bath of 300 K"):
        KStepIntegrator(system, cheap(), k=2, temperature=300.0, friction=1.0)
    with pytest.raises(ValueError, match=r"has a heat bath of 500 K"):
        KStepIntegrator(barostatted(openmm.AndersenThermostat(500.0, 1.0)), cheap(), k=2)
    KStepIntegrator(barostatted(openmm.AndersenThermostat(600.0, 1.0)), cheap(), k=2)


def test_a_barostat_that_came_later_is_refused():
    system, _ = system_of(copper())
    integrator = KStepIntegrator(system, cheap(), k=2, **BATH)
    system.addForce(openmm.MonteCarloBarostat(1.0, 600.0))
    context = make_context(system, integrator)
    context.setPositions(copper().positions / NM)
    with pytest.raises(ValueError, match=r"a barostat was added .* make the integrator last"):
        integrator.step(1)


def test_a_barostat_without_a_box_is_openmms_error():
    atoms = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]])
    system, _ = system_of(atoms)
    system.addForce(openmm.MonteCarloBarostat(1.0, 600.0))
    with pytest.raises(openmm.OpenMMException, match="barostat cannot be used"):
        make_context(system, KStepIntegrator(system, cheap(), k=2, **BATH))
