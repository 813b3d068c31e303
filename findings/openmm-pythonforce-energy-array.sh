#!/usr/bin/env bash
# An OpenMM PythonForce that returns its energy as an array of one element has an energy of -1 kJ/mol.
#
# Expected: the number, as with a float, a NumPy scalar, an array without dimensions and a torch tensor of one
# element, or an error. The class's documentation asks for "the potential energy and forces" and shows a Python
# number: https://docs.openmm.org/development/api-python/generated/openmm.openmm.PythonForce.html
# Seen: numpy.array([5.0]), [5.0], (5.0,), "5" and None are all read as -1 kJ/mol, which is how C code reports
# "no float here"; no error, no warning. The forces beside it are right.
# Why it matters: most networks return energies of shape (1,). Dynamics look healthy, while energies in logs,
# Metropolis tests, barostats and minimizations are constant.
# What we do: our force returns a Python float.
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


def energy_read(returned):
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(lambda state: (returned, np.ones((1, 3)))))
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference")
    )
    context.setPositions([(0.1, 0, 0)])
    state = context.getState(energy=True, forces=True)
    force = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    assert np.array_equal(force, np.ones((1, 3)))
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


print("OpenMM", openmm.version.version)
for returned in (5.0, np.float32(5), np.array(5.0), 5 * unit.kilojoule_per_mole):
    print(f"{returned!r:32} -> {energy_read(returned)} kJ/mol")
    assert energy_read(returned) == 5.0
for returned in (np.array([5.0]), [5.0], (5.0,), None):
    print(f"{returned!r:32} -> {energy_read(returned)} kJ/mol")
    assert energy_read(returned) == -1.0, "no longer -1: the finding is out of date"
EOF
