"""Samplers of ``openmm.app`` around a KStepIntegrator: the averages of wells, which are known."""

import math
import random
from collections.abc import Iterator

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.bodies import nothing
from tests.openmm.systems import where

__all__ = ["nothing"]

R = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
ATOMS, STRIDE = 10, 0.002
STIFF = 1.008 * (0.8 / STRIDE) ** 2  # 0.8 radian in a stride
DEGREES = 3 * ATOMS


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """The samplers of openmm.app draw exchanges from Python's own generator, which has no seed."""
    kept = random.getstate()
    random.seed(11)
    yield
    random.setstate(kept)


def wells(model, **settings):
    """A Simulation of hydrogen atoms far apart, each in a harmonic well, started at rest."""
    system, topology = openmm.System(), app.Topology()
    well = openmm.CustomExternalForce("0.5*stiff*width*((x-x0)^2+y^2+z^2)")
    well.addGlobalParameter("stiff", STIFF)
    well.addGlobalParameter("width", 1.0)
    well.addPerParticleParameter("x0")
    residue = topology.addResidue("H", topology.addChain())
    for number in range(ATOMS):
        topology.addAtom(f"H{number}", app.element.hydrogen, residue)
        well.addParticle(system.addParticle(1.008), [2.0 * number])
    system.addForce(well)
    bath = {"temperature": 300.0, "friction": math.inf, "metropolize": True}
    integrator = KStepIntegrator(system, model, k=1, timestep=STRIDE, **{**bath, **settings})
    integrator.setRandomNumberSeed(3)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions([[2.0 * number, 0, 0] for number in range(ATOMS)])
    simulation.step(8)
    return simulation


def check(energies, temperature):
    """Energies in wells are Gamma(degrees / 2) in kT; five sigma, of a half that is independent."""
    scaled = np.array(energies) / (R * temperature)
    error = math.sqrt(0.5 * DEGREES / (0.5 * len(scaled)))
    assert len(scaled) > 20
    assert abs(scaled.mean() - 0.5 * DEGREES) < 5.0 * error < 0.2 * DEGREES


def test_replica_exchange_of_temperatures(nothing):
    simulation, temperatures = wells(nothing), [300.0, 420.0]
    sampler = app.ReplicaExchangeSampler(
        [{"temperature": t * unit.kelvin} for t in temperatures], simulation, 4
    )
    found, visits, starts = {0: [], 1: []}, [], []

    def report(sampler):
        visits.append(sampler.replicaStateIndex[0])
        starts.append([c.getPositions(asNumpy=True)._value for c in sampler.replicaConformation])
        for replica, state in enumerate(sampler.replicaStateIndex):
            found[state].append(sampler.replicaStateEnergy[replica][state]._value)

    sampler.reporters.append(report)
    sampler.simulate(50)
    assert 5 < np.count_nonzero(np.diff(visits)) < 45
    for state, temperature in enumerate(temperatures):
        check(found[state][3:], temperature)
    # They begin in one state and with one seed, and do not share their noise.
    first, second = np.array(starts).transpose(1, 0, 2, 3).reshape(2, -1)
    assert abs(np.corrcoef(first - first.round(), second - second.round())[0, 1]) < 0.1


def test_replica_exchange_of_parameters(nothing):
    simulation = wells(nothing)
    sampler = app.ReplicaExchangeSampler([{"width": 1.0}, {"width": 1.4}], simulation, 4)
    found = {0: [], 1: []}
    sampler.reporters.append(
        lambda s: [
            found[state].append(s.replicaStateEnergy[replica][state]._value)
            for replica, state in enumerate(s.replicaStateIndex)
        ]
    )
    sampler.simulate(50)
    for energies in found.values():
        check(energies[3:], 300.0)


@pytest.mark.parametrize("redrawn", [False, True])
def test_expanded_ensemble(nothing, redrawn):
    """With these weights every temperature is as probable: Z of a well goes with T^(degrees/2)."""
    simulation, temperatures = wells(nothing), [300.0, 360.0, 430.0]
    weights = [-0.5 * DEGREES * math.log(t) for t in temperatures]
    sampler = app.ExpandedEnsembleSampler(
        [{"temperature": t * unit.kelvin} for t in temperatures], simulation, 3, redrawn, weights
    )
    found = {number: [] for number in range(3)}
    for _ in range(160):
        state = sampler.currentStateIndex
        sampler.step(3)
        energy = simulation.integrator.getLandingEnergy()._value
        found[state].append(energy)
        assert simulation.integrator.getTemperature()._value == pytest.approx(
            temperatures[sampler.currentStateIndex]
        )
    for state, temperature in enumerate(temperatures):
        check(found[state], temperature)


def test_simulated_tempering(nothing, tmp_path):
    simulation = wells(nothing)
    report = tmp_path / "tempering.csv"
    sampler = app.SimulatedTempering(
        simulation,
        numTemperatures=3,
        minTemperature=300 * unit.kelvin,
        maxTemperature=430 * unit.kelvin,
        tempChangeInterval=4,
        reportInterval=4,
        reportFile=str(report),
    )
    sampler.step(200)
    visited = {line.split(",")[2] for line in report.read_text().splitlines()[1:]}
    assert visited == {"0", "1", "2"}


def test_temperatures_need_a_heat_bath(nothing):
    bath = {"temperature": None, "friction": None, "metropolize": False}
    simulation = wells(nothing, **bath)
    states = [{"temperature": 300}, {"temperature": 400}]
    sampler = app.ReplicaExchangeSampler(states, simulation, 2)
    with pytest.raises(ValueError, match="runs at constant energy and has no heat bath"):
        sampler.simulate(1)


def biased(make, hills=True):
    """The path of a pair of atoms on a spring under metadynamics, and its Simulation."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.008)
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 2000.0)
    system.addForce(spring)
    length = openmm.CustomBondForce("r")
    length.addBond(0, 1, [])
    variable = app.BiasVariable(length, 0.05, 0.25, 0.01, False)
    bias = app.Metadynamics(system, [variable], 300.0, 5.0, 5.0 if hills else 0.0, 4)
    integrator = make(system)
    platform = openmm.Platform.getPlatformByName("Reference")
    topology = app.Topology()
    residue = topology.addResidue("H2", topology.addChain())
    for name in "AB":
        topology.addAtom(name, app.element.hydrogen, residue)
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions([[0, 0, 0], [0.11, 0, 0]])
    bias.step(simulation, 30)
    return where(simulation.context), simulation


def test_metadynamics_is_noticed(nothing):
    """Bare jumps with impulses are velocity Verlet: on the bias as it is, Gaussian by Gaussian."""

    def verlet(system):
        made = openmm.CustomIntegrator(0.0005)
        made.addComputePerDof("v", "v+0.5*dt*f/m")
        made.addComputePerDof("x", "x+dt*v")
        made.addComputePerDof("v", "v+0.5*dt*f/m")
        return made

    def jumps(system):
        return KStepIntegrator(system, nothing, k=1, timestep=0.0005)

    path, simulation = biased(jumps)
    assert np.abs(path - biased(verlet)[0]).max() < 1e-9
    assert np.abs(path - biased(verlet, hills=False)[0]).max() > 1e-4
    assert simulation.integrator.stats.physics_evaluations == 31 + 7  # one more after each Gaussian


def test_forces_that_came_later_are_refused(nothing):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.008)
    integrator = KStepIntegrator(system, nothing, k=1, timestep=0.001)
    late = openmm.CustomBondForce("pull*r")
    late.addGlobalParameter("pull", 1.0)
    late.addBond(0, 1, [])
    system.addForce(late)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0, 0, 0], [0.1, 0, 0]])
    with pytest.raises(ValueError, match=r"parameters \['pull'\].*make the integrator last"):
        integrator.step(1)
