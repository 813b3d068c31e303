#!/usr/bin/env bash
# addConstrainVelocities of an OpenMM CustomIntegrator can leave velocities along the constraints.
#
# Expected: "the net velocity along all constraints is 0" after it, as the documentation says, wherever the
# particles are: http://docs.openmm.org/latest/api-python/generated/openmm.openmm.CustomIntegrator.html
# Seen: the directions are those of the bonds at the last addConstrainPositions, or at the start of the step. If
# particles have been moved since by a computation (here a bond turned by 90 degrees, its length kept), the
# velocity along the bond stays, and the one across it, which is none of the constraint's business, is halved.
# Context.applyVelocityConstraints at the same positions is right. (That base configurations exist is told in
# openmm/openmm#2554, for positions.)
# Why it matters: multiple-time-step and jump programs move particles and set them back. A heat bath written that
# way cools what is constrained, by tens of kelvin, with no other sign.
# What we do: an addConstrainPositions, which moves nothing, stands before each addConstrainVelocities.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import numpy as np
import openmm


def along_the_bond(constrain_positions_first, platform):
    """Relative velocity along and across a turned bond, nm/ps."""
    system = openmm.System()
    system.addParticle(1.0)
    system.addParticle(1.0)
    system.addConstraint(0, 1, 0.1)
    integrator = openmm.CustomIntegrator(0.001)
    integrator.setConstraintTolerance(1e-10)
    integrator.addPerDofVariable("target", 0)
    integrator.addComputePerDof("x", "target")
    if constrain_positions_first:
        integrator.addConstrainPositions()
    integrator.addConstrainVelocities()
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform))
    context.setPositions([(0, 0, 0), (0.1, 0, 0)])
    context.setVelocities([(0, 0, 0), (1, 1, 0)])
    integrator.setPerDofVariableByName("target", [openmm.Vec3(0, 0, 0), openmm.Vec3(0, 0.1, 0)])
    integrator.step(1)
    state = context.getState(positions=True, velocities=True)
    x = np.array(state.getPositions(asNumpy=True)._value)
    v = np.array(state.getVelocities(asNumpy=True)._value)
    assert np.allclose(x[1] - x[0], [0, 0.1, 0], atol=1e-6)
    difference = v[1] - v[0]
    context.applyVelocityConstraints(1e-10)
    v = np.array(context.getState(velocities=True).getVelocities(asNumpy=True)._value)
    assert abs((v[1] - v[0])[1]) < 1e-6
    return difference[1], difference[0]


print("OpenMM", openmm.version.version)
for platform in ("Reference", "CPU"):
    along, across = along_the_bond(False, platform)
    print(f"{platform}: along the bond {along:.3f} nm/ps (0 expected), across {across:.3f} (1 expected)")
    assert abs(along - 1) < 1e-6 and abs(across) < 1e-6, "the finding is out of date"
    along, across = along_the_bond(True, platform)
    print(f"{platform}, positions constrained before: along {along:.3f}, across {across:.3f}")
    assert abs(along) < 1e-6 and abs(across - 1) < 1e-6
EOF
