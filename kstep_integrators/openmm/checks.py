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
    openmm.RPMDMonteCarloBarostat,
)


def check_system(system: openmm.System, solute: bool = False) -> None:
    """Refuse a System that a jump cannot advance.

    Parameters
    ----------
    system : openmm.System
    solute : bool
        Whether the model covers some of its particles only, or all.

    Raises
    ------
    ValueError
        For an empty System, virtual sites, massless particles, barostats, and periodic boundary
        conditions around a model of all particles.
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
                f"the System has a {type(force).__name__}, which at the start of steps tries "
                "another box and moves whole molecules, as far as bonds and constraints of the "
                "System tell it of them: a solute whose bonds are left to an expensive method "
                "would be pulled apart, and no jump has been tried with a cell that changes. "
                "Equilibrate the volume without jumps, and remove the barostat"
            )
    if system.usesPeriodicBoundaryConditions() and not solute:
        raise ValueError(
            "the System is periodic, and a model of all its particles is one of an isolated "
            "molecule. For a solute in a box call add_jump(system, model, particles=[...], "
            "inner_groups=[...]) first, with the particles of the solute and the force groups of "
            "the force field; for a model of all particles use nonbondedMethod=NoCutoff or "
            "CutoffNonPeriodic"
        )
