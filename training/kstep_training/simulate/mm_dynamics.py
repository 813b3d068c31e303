"""Force-field dynamics of one molecule with OpenMM."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import openmm
from openmm import unit

from kstep_integrators import units
from kstep_training.simulate.engine import Array, Frame, Run

__all__ = ["MMEngine"]

TOLERANCE = 1e-8
"""Relative, of constrained lengths."""


def _velocity_verlet(timestep_ps: float) -> openmm.CustomIntegrator:
    """Velocity Verlet with constraints (RATTLE): positions and velocities of the same time.

    OpenMM's own VerletIntegrator is a leapfrog, whose velocities are half a step behind.
    """
    integrator = openmm.CustomIntegrator(timestep_ps)
    integrator.addPerDofVariable("free", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("free", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m + (x - free)/dt")
    integrator.addConstrainVelocities()
    integrator.setConstraintTolerance(TOLERANCE)
    return integrator


class MMEngine:
    """The force field of the stage ``prep``, in OpenMM.

    Langevin dynamics is LFMiddle, whose velocities are half a step behind the positions.

    Parameters
    ----------
    run : Run

    Raises
    ------
    ValueError
        If the molecule was prepared without a force field.

    Notes
    -----
    Zhang et al., J. Phys. Chem. A 123, 6056 (2019), doi:10.1021/acs.jpca.9b02771.
    """

    versions: Mapping[str, str] = {"openmm": openmm.__version__}

    def __init__(self, run: Run) -> None:
        if run.prepared.system is None:
            raise ValueError(
                f"{run.prepared.name} has no system.xml, which physics=mm needs; prepare it with a "
                "force field (kstep prep LIST forcefield=mmff94), or choose another physics"
            )
        self.run = run
        self.system: openmm.System = run.prepared.system
        n_atoms = self.system.getNumParticles()
        self.method = str(run.prep["forcefield"])
        self.masses = np.array(
            [self.system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(n_atoms)]
        )
        self.degrees = 3 * n_atoms - self.system.getNumConstraints()
        self.context = self._still(run.prepared.conformers[0].positions)

    def _begin(self, integrator: openmm.Integrator, positions: Array) -> openmm.Context:
        # In double precision and reproducible; a molecule of this size gains nothing from others.
        platform = openmm.Platform.getPlatformByName("Reference")
        self.context = openmm.Context(self.system, integrator, platform)
        self.context.setPositions(positions / units.NM)
        return self.context

    def _still(self, positions: Array) -> openmm.Context:
        return self._begin(openmm.VerletIntegrator(0.001), positions)

    def relaxed(self, number: int) -> Array:
        """A conformer on the constraints; the stage ``prep`` has relaxed it."""
        self._still(self.run.prepared.conformers[number].positions).applyConstraints(TOLERANCE)
        return self.frame().positions

    def thermal(self, positions: Array, seed: int) -> Array:
        """Velocities that the constraints allow."""
        self._still(positions).setVelocitiesToTemperature(self.run.temperature, seed)
        return self.frame().velocities

    def langevin(
        self, positions: Array, velocities: Array, friction_per_ps: float, seed: int
    ) -> None:
        """Begin LFMiddle."""
        integrator = openmm.LangevinMiddleIntegrator(
            self.run.temperature, friction_per_ps, self.run.timestep_ps
        )
        integrator.setRandomNumberSeed(seed)
        integrator.setConstraintTolerance(TOLERANCE)
        self._begin(integrator, positions).setVelocities(velocities / units.NM_PER_PS)

    def verlet(self, positions: Array, velocities: Array) -> None:
        """Begin velocity Verlet."""
        context = self._begin(_velocity_verlet(self.run.timestep_ps), positions)
        context.setVelocities(velocities / units.NM_PER_PS)
        context.applyConstraints(TOLERANCE)
        context.applyVelocityConstraints(TOLERANCE)

    def step(self, steps: int) -> None:
        """Go on by some steps."""
        self.context.getIntegrator().step(steps)

    def frame(self) -> Frame:
        """Positions, velocities, forces and energy of the molecule now."""
        state = self.context.getState(positions=True, velocities=True, forces=True, energy=True)
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        v = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
        f = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        time = state.getTime().value_in_unit(unit.picosecond)
        return Frame(
            x * units.NM,
            v * units.NM_PER_PS,
            f * units.KJ_PER_MOL_NM,
            energy * units.KJ_PER_MOL,
            time * units.PS,
        )

    def label(self, positions: Array) -> Frame:
        """Energy and forces at a geometry, on the constraints or not."""
        self._still(positions)
        return self.frame()
