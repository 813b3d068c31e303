#!/usr/bin/env bash
# The example in OpenMM's documentation of PythonForce has forces that do not belong to its energy.
#
# Expected: the harmonic force of the class's own documentation, the first thing that anyone starts from, is the
# negative gradient of the energy beside it: -2 k x for an energy of k x^2.
# https://docs.openmm.org/development/api-python/generated/openmm.openmm.PythonForce.html
# Seen: it has -0.5 k x, a quarter. The Verlet trajectory of that function loses or gains three quarters of its
# potential energy within each oscillation. OpenMM compares nothing, so nothing is said.
# Why it matters: it is copied, and a force that is no gradient shows only as drift or as a wrong ensemble.
# What we do: forces of networks are gradients of their energies, held against finite differences in tests.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import numpy as np
import openmm
from openmm import unit


def trajectory(factor):
    """Total energies (kJ/mol) of a particle in k x^2 with the force -factor k x."""

    def compute(state):
        pos = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        k = state.getParameters()["k"]
        return float(k * np.sum(pos * pos)), -factor * k * pos

    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(compute, {"k": 2.5}))
    integrator = openmm.CustomIntegrator(0.01)
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions([(1.0, 0, 0)])
    energies = []
    for _ in range(300):
        integrator.step(2)
        state = context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        energies.append(total.value_in_unit(unit.kilojoule_per_mole))
    return np.ptp(energies)


print("OpenMM", openmm.version.version)
text = "".join(openmm.PythonForce.__doc__.split())
published = "energy=k*np.sum(pos*pos)" in text and "force=-0.5*k*pos" in text
print("the documentation pairs k*sum(x^2) with -0.5*k*x:", published)
wrong, right = trajectory(0.5), trajectory(2.0)
print(f"spread of the total energy: {wrong:.3f} kJ/mol with -0.5 k x, {right:.5f} with -2 k x")
assert published, "the example has changed: the finding is out of date"
assert wrong > 1.8 and right < 0.01
EOF
