#!/usr/bin/env bash
# The clock of a Context with a CustomIntegrator goes on with the step size that the integrator was made with.
#
# Expected: getTime advances by what the particles travelled, whether the step size is changed by setStepSize or
# by the program itself (`dt` is modifiable by global steps, openmm/openmm#1598, mended in #1600), as it does with
# VerletIntegrator. http://docs.openmm.org/latest/api-python/generated/openmm.openmm.CustomIntegrator.html
# Seen: on the Reference and CPU platforms, particles move by the new step, getStepSize gives the new step, and
# getTime advances by the one of when the Context took its first step or was made. Nothing warns.
# Why it matters: times in logs and trajectories are off by the factor, and so are rates, diffusion constants and
# spectra made from them. An integrator with an adaptive step has no clock at all.
# What we do: our integrator sets the Context's time itself after its steps, and no program assigns `dt`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import numpy as np
import openmm


def twenty_steps(change, platform):
    """Distance over speed and getTime (ps) after 10 steps of 1 fs and 10 of 2 fs."""
    system = openmm.System()
    system.addParticle(1.0)
    if change == "setStepSize, Verlet":
        integrator = openmm.VerletIntegrator(0.001)
    else:
        integrator = openmm.CustomIntegrator(0.001)
        integrator.addGlobalVariable("wanted", 0.001)
        if change == "by the program":
            integrator.addComputeGlobal("dt", "wanted")
        integrator.addComputePerDof("x", "x + dt*v")
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform))
    context.setPositions([(0, 0, 0)])
    context.setVelocities([(1, 0, 0)])
    integrator.step(10)
    if change == "by the program":
        integrator.setGlobalVariableByName("wanted", 0.002)
    else:
        integrator.setStepSize(0.002)
    integrator.step(10)
    assert np.isclose(integrator.getStepSize()._value, 0.002)
    state = context.getState(positions=True)
    return state.getPositions()[0][0]._value, state.getTime()._value


print("OpenMM", openmm.version.version)
for platform in ("Reference", "CPU"):
    for change, clock in (("setStepSize, Verlet", 0.03), ("setStepSize", 0.02), ("by the program", 0.02)):
        travelled, time = twenty_steps(change, platform)
        print(f"{platform}, {change}: travelled {travelled:.3f} ps, clock {time:.3f} ps")
        assert np.isclose(travelled, 0.03, atol=1e-6)
        assert np.isclose(time, clock), "the finding is out of date"
EOF
