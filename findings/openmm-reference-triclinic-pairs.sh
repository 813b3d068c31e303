#!/usr/bin/env bash
# OpenMM's Reference platform loses pairs within the cutoff in some triclinic boxes.
#
# Expected: with CutoffPeriodic in a reduced box whose diagonal is longer than twice the cutoff, each pair closer than
# the cutoff counts once.
# Seen: in OpenMM 8.6.1 the energy of the Reference platform lacks pairs in a rhombohedral box (fcc vectors, edge 2.26
# nm, cutoff 0.75 nm); the CPU platform and the sum over minimum images agree. In boxes shorter by a tenth Reference is
# right.
# Why it matters: Reference is what other results are checked against.
# What we do: OpenMMCalculator warns at the first geometry in a box that is not rectangular.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

venv/bin/python -W ignore - <<'EOF'
import numpy as np
import openmm
from openmm import unit

CUTOFF, COUNT = 0.75, 500


def pairs_found(box, positions, platform):
    """An energy of 1 kJ/mol for each pair within the cutoff."""
    system = openmm.System()
    force = openmm.CustomNonbondedForce("1")
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(CUTOFF)
    for _ in positions:
        system.addParticle(40.0)
        force.addParticle([])
    system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*box)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    energy = context.getState(energy=True).getPotentialEnergy()
    return round(energy.value_in_unit(unit.kilojoule_per_mole))


def pairs_within(box, positions):
    i, j = np.triu_indices(len(positions), 1)
    apart = positions[j] - positions[i]
    for row in (2, 1, 0):
        apart -= np.outer(np.rint(apart[:, row] / box[row, row]), box[row])
    return int((np.linalg.norm(apart, axis=1) < CUTOFF).sum())


print("OpenMM", openmm.version.version)
edge = 1.6 * np.sqrt(2.0)
root = np.sqrt(3.0)
fcc = edge * np.array([[1, 0, 0], [0.5, 0.5 * root, 0], [0.5, root / 6, np.sqrt(2 / 3)]])
fractions = np.random.default_rng(0).random((COUNT, 3))
lost = {}
for scale in (0.9, 0.999999):
    box = scale * fcc
    positions = fractions @ box
    assert np.diag(box).min() > 2 * CUTOFF
    found = {name: pairs_found(box, positions, name) for name in ("Reference", "CPU")}
    pairs = pairs_within(box, positions)
    lost[scale] = {name: pairs - count for name, count in found.items()}
    print(f"diagonal {np.diag(box).round(4)} nm: {pairs} pairs within the cutoff, found {found}")
assert lost[0.9] == {"Reference": 0, "CPU": 0}
assert abs(lost[0.999999]["CPU"]) <= 1
assert lost[0.999999]["Reference"] > 10, "the finding is out of date"
EOF
