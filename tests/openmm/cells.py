"""Copper in a cell: an ASE calculator as the physics of a System, another one in the jumps."""

from __future__ import annotations

import numpy as np
import openmm
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from kstep_integrators import CalculatorPotential
from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.units import FS, KJ_PER_MOL, KJ_PER_MOL_NM, NM, NM_PER_PS
from tests.openmm.systems import make_context

CUBE = np.eye(3) * 0.722
SLANTED = np.array([[0.722, 0.0, 0.0], [0.06, 0.722, 0.0], [-0.09, 0.05, 0.722]])
BASE = 0.002  # ps


class Physics:
    """An ASE calculator as the function of a PythonForce; pickled, one of EMT. Counts its calls."""

    def __init__(self, atoms: Atoms, calculator: BaseCalculator | None = None) -> None:
        self.atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        self.atoms.calc = calculator or EMT()
        self.calls = 0
        self.failing = False

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        self.calls += 1
        if self.failing:
            raise RuntimeError("the SCF does not converge")
        if self.atoms.pbc.all():
            self.atoms.cell[:] = np.array(state.getPeriodicBoxVectors(asNumpy=True)._value) * NM
        self.atoms.positions[:] = np.array(state.getPositions(asNumpy=True)._value) * NM
        energy, forces = self.atoms.get_potential_energy(), self.atoms.get_forces()
        return float(energy) / KJ_PER_MOL, forces / KJ_PER_MOL_NM

    def __reduce__(self) -> tuple[type[Physics], tuple[Atoms]]:
        bare = self.atoms.copy()
        return Physics, (bare,)


def copper(box: np.ndarray = CUBE, temperature: float = 600.0) -> Atoms:
    """32 atoms at random velocities, strained into a box (nm)."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.set_cell(box * NM, scale_atoms=True)
    rng = np.random.default_rng(0)
    momenta = (
        rng.normal(size=(32, 3)) * np.sqrt(atoms.get_masses() * temperature * units.kB)[:, None]
    )
    atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def cheap() -> CalculatorPotential:
    """A potential that is not the physics."""
    return CalculatorPotential(
        LennardJones(sigma=2.27, epsilon=0.4, rc=4.5, smooth=True), timestep=BASE * 1000 * FS
    )


def system_of(atoms: Atoms, calculator: BaseCalculator | None = None):
    """The System, and its physics."""
    system, physics = openmm.System(), Physics(atoms, calculator)
    for mass in atoms.get_masses():
        system.addParticle(float(mass))
    force = openmm.PythonForce(physics)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / NM))
        force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)
    return system, physics


def pairs(epsilon: float = 5.0) -> openmm.NonbondedForce:
    """A force of OpenMM's own between the atoms, with a cutoff: GPU platforms reorder for it."""
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(0.35)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.3)
    force.setUseDispersionCorrection(False)
    for _ in range(32):
        force.addParticle(0.0, 0.23, epsilon)
    return force


def running(atoms: Atoms, platform: str = "Reference", potential=None, **settings):
    """Physics, integrator and Context of jumps of atoms."""
    system, physics = system_of(atoms)
    settings = {"k": 2, "timestep": BASE, **settings}
    integrator = KStepIntegrator(system, potential or cheap(), **settings)
    context = make_context(system, integrator, platform)
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    return physics, integrator, context


def images(positions: np.ndarray, others: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Box vectors from one set of positions to another; all in whole numbers, if they are one."""
    return (positions - others) @ np.linalg.inv(box)
