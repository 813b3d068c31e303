"""Heat baths beside constraints: a bath that does nothing changes nothing, one that works is right.

Bodies without forces, so that all is known exactly: momenta of a rigid body are conserved, and each
degree of freedom has the energy kT/2.
"""

import numpy as np
import openmm
import pytest
import torch

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator
from tests.conftest import network
from tests.openmm.systems import make_context, moving, where

C, H, O = 12.011, 1.008, 15.999
# Masses and places (nm) of bodies; each pair in the last column keeps its distance.
BODIES = {
    "rotor": ([C, H], [[0, 0, 0], [0.109, 0, 0]], [(0, 1)]),
    "rigid water": (
        [O, H, H],
        [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]],
        [(0, 1), (0, 2), (1, 2)],
    ),
    "methyl": (
        [C, H, H, H],
        [[0, 0, 0], [0.109, 0, 0], [-0.036, 0.103, 0], [-0.036, -0.05, 0.09]],
        [(0, 1), (0, 2), (0, 3)],
    ),
    "chain": (
        [H, C, O, H],
        [[0, 0, 0], [0.109, 0, 0], [0.15, 0.136, 0], [0.245, 0.14, 0.02]],
        [(0, 1), (1, 2), (2, 3)],
    ),
    "water and rotor": (
        [O, H, H, C, H],
        [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0], [0, 0, 2.0], [0.109, 0, 2.0]],
        [(0, 1), (0, 2), (1, 2), (3, 4)],
    ),
}


def body(name):
    """The System of a body, and where its particles are."""
    masses, places, pairs = BODIES[name]
    system, places = openmm.System(), np.array(places, dtype=float)
    for mass in masses:
        system.addParticle(mass)
    for i, j in pairs:
        system.addConstraint(i, j, float(np.linalg.norm(places[i] - places[j])))
    return system, places


def kinetic(context):
    return context.getState(getEnergy=True).getKineticEnergy()._value


def opening(context):
    """Largest v.r of a constrained pair, nm^2/ps."""
    system, x, v = context.getSystem(), where(context), moving(context)
    pairs = [system.getConstraintParameters(n)[:2] for n in range(system.getNumConstraints())]
    return max(abs((x[i] - x[j]) @ (v[i] - v[j])) for i, j in pairs)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """A network that exerts no force."""
    built = network()
    for weight in built.parameters():
        weight.zero_()
    path = tmp_path_factory.mktemp("models") / "nothing.safetensors"
    write_model(path, built, ModelHeader("nothing", built.config, "none"))
    return load_model(path, device="cpu", dtype=torch.float64)


@pytest.mark.parametrize("name", ["rotor", "rigid water", "water and rotor"])
@pytest.mark.parametrize("corrector", ["impulse", "none"])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_a_bath_without_friction_changes_nothing(nothing, name, corrector, platform):
    """A rigid body turns for ever; its energy is that of the first step, to rounding."""
    ends = []
    for bath in ({}, {"temperature": 300.0, "friction": 0.0}):
        system, places = body(name)
        integrator = KStepIntegrator(
            system, nothing, k=2, timestep=0.001, corrector=corrector, **bath
        )
        context = make_context(system, integrator, platform)
        context.setPositions(places)
        context.setVelocitiesToTemperature(600.0, 3)
        energies = []
        for _ in range(25):
            integrator.step(1)
            energies.append(kinetic(context))
            assert opening(context) < (1e-14 if platform == "Reference" else 1e-5)
        assert integrator.stats.fallbacks == 0
        assert np.ptp(energies) < (1e-12 if platform == "Reference" else 1e-4) * energies[0]
        ends.append(where(context))
    assert np.abs(ends[0] - ends[1]).max() < (1e-12 if platform == "Reference" else 1e-5)
