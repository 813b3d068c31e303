"""Ethanol on springs in a Context of jumps, and how often its physics is asked."""

from __future__ import annotations

import openmm
from openmm import unit

from kstep_integrators.openmm import KStepIntegrator
from tests.conftest import hot
from tests.openmm.systems import Counted, make_context, place, springs

KJ = unit.kilojoule_per_mole
BATH = {"temperature": 300 * unit.kelvin, "friction": 10 / unit.picosecond}


def setting(molecule, model, platform="Reference", **settings):
    """System, counter of evaluations, integrator, Context."""
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, k=2, **settings)
    return system, counter, integrator, place(make_context(system, integrator, platform), molecule)


def potential_energy(context: openmm.Context) -> float:
    """kJ/mol."""
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(KJ)


def calls(counter, action) -> int:
    """Evaluations during an action."""
    before = counter.calls
    action()
    return counter.calls - before
