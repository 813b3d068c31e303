#!/usr/bin/env bash
# A checkpoint of OpenMM does not hold how far its Monte Carlo barostat has adapted its moves.
#
# Expected: "a checkpoint contains not only publicly visible data such as the particle positions and velocities, but
# also internal data such as the states of random number generators. Ideally, loading a checkpoint should restore the
# Context to an identical state to when it was written, such that continuing the simulation will produce an identical
# trajectory": http://docs.openmm.org/latest/api-python/generated/openmm.openmm.Context.html (createCheckpoint).
# Seen: on the platform Reference, which is deterministic, a run that goes on from a checkpoint in a Context of its own
# has another volume after some moves than the run that was not interrupted. The barostat begins with its first step
# of volume again, and with no moves counted.
# Why it matters: restarts are compared to find faults of restarts; here nothing is wrong with the program that is
# tested. The ensemble is the same once the step of volume is adapted again.
# What we do: tests of restarts with a barostat compare up to its next adaptation; the guide says so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import openmm


def argon(with_barostat):
    """125 atoms, and the Context of a Langevin integrator."""
    system, pairs, places = openmm.System(), openmm.NonbondedForce(), []
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(0.9)
    for i in range(125):
        system.addParticle(39.948)
        pairs.addParticle(0.0, 0.34, 1.0)
        places.append([0.4 * (i % 5), 0.4 * (i // 5 % 5), 0.4 * (i // 25)])
    system.setDefaultPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2])
    system.addForce(pairs)
    if with_barostat:
        barostat = openmm.MonteCarloBarostat(1.0, 120.0, 2)
        barostat.setRandomNumberSeed(5)
        system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(120, 1, 0.002)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions(places)
    return integrator, context


def end(context):
    state = context.getState(positions=True)
    return state.getPeriodicBoxVolume()._value, state.getPositions(asNumpy=True)._value


print("OpenMM", openmm.version.version)
for with_barostat in (False, True):
    integrator, context = argon(with_barostat)
    integrator.step(100)
    checkpoint = context.createCheckpoint()
    integrator.step(100)
    volume, places = end(context)
    integrator, context = argon(with_barostat)
    context.loadCheckpoint(checkpoint)
    integrator.step(100)
    again, others = end(context)
    apart = abs(places - others).max()
    name = "with a barostat" if with_barostat else "at constant volume"
    print(f"{name}: {volume:.6f} and {again:.6f} nm^3, positions {apart:.1e} nm apart")
    assert (apart > 1e-6) == with_barostat, "the finding is out of date"
EOF
