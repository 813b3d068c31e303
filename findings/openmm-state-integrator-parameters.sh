#!/usr/bin/env bash
# OpenMM's State with integratorParameters=True has neither the temperature nor the step of Langevin integrators.
#
# Expected: "whether to store integrator parameters in the State", so that setState (and Simulation.loadState;
# saveState sets that flag) brings back what setTemperature, setFriction and setStepSize had set.
# http://docs.openmm.org/latest/api-python/generated/openmm.openmm.Context.html
# Seen: the element is empty for LangevinMiddleIntegrator, and after setState its later temperature, friction and
# step stay. A checkpoint brings none of them back either. The variables of a CustomIntegrator are in both.
# Why it matters: a run resumed in a fresh script goes on at that script's temperature and step; annealing and
# tempering runs then restart at the wrong rung, in silence.
# What we do: temperature and friction of our integrator are variables of its program, which States hold.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import openmm
from openmm import unit

print("OpenMM", openmm.version.version)
system = openmm.System()
system.addParticle(1.0)
reference = openmm.Platform.getPlatform("Reference")
integrator = openmm.LangevinMiddleIntegrator(350, 2, 0.002)
context = openmm.Context(system, integrator, reference)
context.setPositions([(0, 0, 0)])
state = context.getState(positions=True, velocities=True, integratorParameters=True)
checkpoint = context.createCheckpoint()


def settings():
    return (
        integrator.getTemperature().value_in_unit(unit.kelvin),
        integrator.getFriction().value_in_unit(unit.picosecond**-1),
        integrator.getStepSize().value_in_unit(unit.picosecond),
    )


saved = settings()
integrator.setTemperature(300)
integrator.setFriction(1)
integrator.setStepSize(0.001)
later = settings()
context.setState(state)
print("saved", saved, "later", later, "after setState", settings())
assert settings() == later, "setState brings parameters back: the finding is out of date"
context.loadCheckpoint(checkpoint)
print("after loadCheckpoint", settings())
assert settings() == later, "loadCheckpoint brings parameters back: the finding is out of date"
xml = openmm.XmlSerializer.serialize(state)
print([line.strip() for line in xml.splitlines() if "IntegratorParameters" in line])
assert "350" not in xml

custom = openmm.CustomIntegrator(0.001)
custom.addGlobalVariable("temperature", 350)
custom.addComputePerDof("x", "x + dt*v")
context = openmm.Context(system, custom, reference)
context.setPositions([(0, 0, 0)])
state = context.getState(positions=True, integratorParameters=True)
custom.setGlobalVariableByName("temperature", 300)
context.setState(state)
print("a CustomIntegrator's variable after setState:", custom.getGlobalVariableByName("temperature"))
assert custom.getGlobalVariableByName("temperature") == 350
EOF
