"""Systems that a jump cannot advance, and particles that are no plain atoms."""

import openmm
import pytest

from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.openmm.systems import model, water

__all__ = ["model"]


def virtual_site(system):
    system.addParticle(0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def massless(system):
    system.setParticleMass(1, 0.0)


def path_integrals(system):
    system.addForce(openmm.RPMDMonteCarloBarostat(1.0))


def periodic(system):
    force = openmm.HarmonicBondForce()
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)


def deuterium(system):
    system.setParticleMass(1, 2.014)


def silicon(system):
    system.setParticleMass(1, 28.085)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (virtual_site, r"particles \[3\] are virtual sites"),
        (massless, r"particles \[1\] have no mass"),
        (path_integrals, r"RPMDMonteCarloBarostat, which.*take a MonteCarloBarostat"),
        (periodic, "is periodic"),
        (deuterium, "particle 1 has a mass of 2.014 u.*elements="),
        (silicon, "does not cover the elements"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_systems_refused(model, change, message):
    system = water()
    change(system)
    with pytest.raises(ValueError, match=message):
        add_jump(system, model)
    before = system.getNumForces()
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, model)
    assert system.getNumForces() == before


def test_empty_system(model):
    with pytest.raises(ValueError, match="no particles"):
        add_jump(openmm.System(), model)


def test_elements_where_masses_do_not_tell(model):
    system = water()
    deuterium(system)
    with pytest.raises(ValueError, match="2 entries, expected 3"):
        add_jump(system, model, elements=[8, 1])
    assert add_jump(system, model, elements=[8, 1, 1]) == 31
    KStepIntegrator(system, model)
