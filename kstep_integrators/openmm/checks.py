"""What a jump cannot do in OpenMM, refused with the reason."""

from __future__ import annotations

import openmm
from openmm import unit

__all__ = ["check_system"]

_BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)


def check_system(system: openmm.System) -> None:
    """Refuse a System that a jump of all its particles cannot advance.

    Raises
    ------
    ValueError
        For an empty System, virtual sites, massless particles, barostats, and periodic boundary
        conditions.
    """
    count = system.getNumParticles()
    if count == 0:
        raise ValueError("the System has no particles; add them before the jump")
    virtual = [i for i in range(count) if system.isVirtualSite(i)]
    if virtual:
        raise ValueError(
            f"particles {virtual[:10]} are virtual sites: a model is a function of atoms, and "
            "knows nothing of sites without mass. Use a force field without them"
        )
    dalton = unit.dalton
    massless = [i for i in range(count) if not system.getParticleMass(i).value_in_unit(dalton) > 0]
    if massless:
        raise ValueError(
            f"particles {massless[:10]} have no mass: OpenMM holds them in place, a jump would not "
            "know. Give them their masses, or use KStepDynamics in ASE with FixAtoms"
        )
    for force in system.getForces():
        if isinstance(force, _BAROSTATS):
            raise ValueError(
                f"the System has a {type(force).__name__}: models are of isolated molecules, and "
                "a jump cannot follow a cell that changes. Equilibrate the volume without jumps, "
                "and remove the barostat"
            )
    if system.usesPeriodicBoundaryConditions():
        raise ValueError(
            "the System is periodic, and models are of isolated molecules. Use nonbondedMethod="
            "NoCutoff or CutoffNonPeriodic"
        )
