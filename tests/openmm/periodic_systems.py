"""Methanol in a periodic box of flexible water, with an expensive method that is a network."""

from __future__ import annotations

import numpy as np
import openmm
import torch
from ase import Atoms, units

from kstep_integrators.openmm.system import Particles
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.units import KJ_PER_MOL, KJ_PER_MOL_NM, NM
from tests.conftest import hot

SOLUTE = range(6)
CHEAP, SLOW = 0, 5
LENGTH = 1.55
CUBE = np.eye(3) * LENGTH
SLANTED = np.array([[LENGTH, 0.0, 0.0], [0.1, LENGTH, 0.0], [-0.2, 0.15, LENGTH]])
WATER = np.array([[0.0, 0.0, 0.0], [0.0957, 0.0, 0.0], [-0.024, 0.0927, 0.0]])


class Network:
    """A network of some particles as a physics, put together about the first; counts its calls."""

    def __init__(self, model: NetworkPotential, numbers: np.ndarray, masses: np.ndarray) -> None:
        self.calls = 0
        self.atoms = Particles(tuple(map(int, numbers)), tuple(map(float, masses)))
        self.forces = model.bind(self.atoms.unplaced())

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        self.calls += 1
        box = np.array(state.getPeriodicBoxVectors(asNumpy=True)._value)
        x = np.array(state.getPositions(asNumpy=True)._value)
        x -= np.rint((x - x[0]) @ np.linalg.inv(box)) @ box
        with torch.no_grad():
            evaluation, _ = self.forces(torch.from_numpy(x * NM), None)
        return float(evaluation.energy[0]) / KJ_PER_MOL, evaluation.forces.numpy() / KJ_PER_MOL_NM


def box_atoms(waters: int = 26, length: float = LENGTH) -> Atoms:
    """Methanol and water about the points of a lattice, in nm times ten; thermal velocities."""
    rng = np.random.default_rng(0)
    solute = hot("methanol")
    atoms = solute.copy()
    atoms.positions -= atoms.positions.mean(0)
    side = range(round((waters + 1) ** (1 / 3)))
    places = np.array([[a, b, c] for a in side for b in side for c in side]) * length / len(side)
    middle = len(places) // 2
    atoms.positions += 10.0 * places[middle]
    for place in np.delete(places, middle, axis=0)[:waters]:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        atoms += Atoms("OH2", 10.0 * (WATER @ turn + place))
    momenta = (
        rng.normal(size=(len(atoms), 3)) * np.sqrt(atoms.get_masses() * 300.0 * units.kB)[:, None]
    )
    momenta[:6] = solute.get_momenta()
    atoms.set_momenta(momenta)
    return atoms


def force_field(atoms: Atoms, cutoff: float = 0.7, rigid: bool = False) -> openmm.System:
    """Bonds of all, angles of water, and what passes between all molecules within a cutoff."""
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5])
    for mass in atoms.get_masses():
        system.addParticle(float(mass))
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(cutoff)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(cutoff - 0.1)
    for z in atoms.numbers[:6]:
        charge, sigma, epsilon = {1: (0.1, 0.2, 0.1), 6: (0.1, 0.35, 0.3), 8: (-0.5, 0.31, 0.7)}[z]
        pairs.addParticle(charge, sigma, epsilon)
    for first in range(6, len(atoms), 3):
        for charge, sigma, epsilon in ((-0.8, 0.315, 0.64), (0.4, 0.1, 0.1), (0.4, 0.1, 0.1)):
            pairs.addParticle(charge, sigma, epsilon)
        if rigid:
            for i, j in ((0, 1), (0, 2), (1, 2)):
                system.addConstraint(
                    first + i, first + j, float(np.linalg.norm(WATER[i] - WATER[j]))
                )
            continue
        bonds.addBond(first, first + 1, 0.0957, 300000.0)
        bonds.addBond(first, first + 2, 0.0957, 300000.0)
        angles.addAngle(first + 1, first, first + 2, 1.82, 400.0)
    # An untrained network holds nothing together.
    bonds.setUsesPeriodicBoundaryConditions(True)
    for i in range(6):
        for j in range(i):
            bonds.addBond(i, j, float(atoms.get_distance(i, j)) / 10.0, 100000.0)
    for group in (range(6), *(range(i, i + 3) for i in range(6, len(atoms), 3))):
        for i in group:
            for j in range(group[0], i):
                pairs.addException(i, j, 0.0, 0.1, 0.0)
    for force in (bonds, angles, pairs):
        force.setForceGroup(CHEAP)
        system.addForce(force)
    return system


def solvated(
    model: NetworkPotential, atoms: Atoms, perturbed: float = 0.0, **settings
) -> tuple[openmm.System, Network]:
    """The force field with the network on the solute, and maybe springs that no model knows."""
    system = force_field(atoms, **settings)
    network = Network(model, atoms.numbers[:6], atoms.get_masses()[:6])
    force = openmm.PythonForce(network)
    force.setParticles(list(SOLUTE))
    force.setUsesPeriodicBoundaryConditions(True)
    force.setForceGroup(SLOW)
    system.addForce(force)
    if perturbed:
        springs = openmm.HarmonicBondForce()
        springs.setUsesPeriodicBoundaryConditions(True)
        for i in range(1, 6):
            springs.addBond(0, i, 0.2, perturbed)
        springs.setForceGroup(SLOW)
        system.addForce(springs)
    return system, network


def verlet(step: float) -> openmm.CustomIntegrator:
    """Velocity Verlet on all forces, which OpenMM's own leapfrog is not; step in ps."""
    integrator = openmm.CustomIntegrator(step)
    integrator.addComputePerDof("v", "v+0.5*dt*f/m")
    integrator.addComputePerDof("x", "x+dt*v")
    integrator.addComputePerDof("v", "v+0.5*dt*f/m")
    return integrator
