#!/usr/bin/env bash
# The first step of an OpenMM CustomIntegrator costs twice as long, or more, with each further block.
#
# Expected: a program of a few dozen lines starts in milliseconds. Context creation was said to be cured in
# openmm/openmm#4191 (closing #2866 and #3853), where blocks that touch neither forces nor energy are left out.
# Seen: every block that moves particles still counts. OpenMM follows all paths through the program, taken or
# not, to learn where forces are out of date, and the number of paths is 2 to the number of blocks. A step with
# ten one-line blocks needs hundreds of times as long for its start as one with five, and nothing is printed.
# Why it matters: schemes with retries (extra chances after a rejection, fallbacks) are written with such
# blocks. It looks as if the run hung.
# What we do: the program of a step has few blocks, and what varies goes into expressions (`select`, products
# with a flag) rather than into branches.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openmm==8.6.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import time

import openmm


def seconds_of_first_step(blocks):
    system = openmm.System()
    system.addParticle(1.0)
    well = openmm.CustomExternalForce("x^2")
    well.addParticle(0, [])
    system.addForce(well)
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("phase", 0)
    for block in range(blocks):
        integrator.beginIfBlock(f"phase = {block + 1}")  # never taken
        integrator.addComputePerDof("v", "v + dt*f/m")
        integrator.endBlock()
        integrator.addComputePerDof("x", "x + dt*v")
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions([(0.1, 0, 0)])
    start = time.process_time()
    integrator.step(1)
    first = time.process_time() - start
    start = time.process_time()
    integrator.step(1)
    return first, time.process_time() - start


print("OpenMM", openmm.version.version)
first = {}
for blocks in (5, 6, 7, 8, 9, 10):
    first[blocks], second = seconds_of_first_step(blocks)
    print(f"{blocks:2d} blocks: first step {1e3 * first[blocks]:8.2f} ms, second {1e3 * second:5.2f} ms")
    assert second < 0.05, "steps after the first are slow too: another finding"
growth = (first[10] / first[7]) ** (1 / 3)
print(f"each further block multiplies the first step by {growth:.1f}")
assert growth > 1.8, "the cost no longer grows exponentially: the finding is out of date"
EOF
