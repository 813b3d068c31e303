"""Jumps in an OpenMM Simulation: reporters, checkpoints, a restart. Ethanol of springs.

python examples/openmm_ethanol.py [--smoke]

The physics is a toy, harmonic springs between all atoms about the geometry that the model knows.
Any force that OpenMM has, or that openmm-ml makes, stands in the same place.
"""

import argparse
import sys

import numpy as np
import openmm
from openmm import app, unit

from kstep_integrators import load_model, named_molecule
from kstep_integrators.openmm import KStepIntegrator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
smoke = parser.parse_args().smoke
steps = 20 if smoke else 500

atoms = named_molecule("ethanol")
topology = app.Topology()
residue = topology.addResidue("EOH", topology.addChain())
for number, z in enumerate(atoms.numbers):
    element = app.Element.getByAtomicNumber(int(z))
    topology.addAtom(f"{element.symbol}{number}", element, residue)

system = openmm.System()
for mass in atoms.get_masses():
    system.addParticle(mass)
springs = openmm.HarmonicBondForce()
for i in range(len(atoms)):
    for j in range(i):
        length = 0.1 * atoms.get_distance(i, j)  # nm
        springs.addBond(i, j, length, 200000.0 if length < 0.16 else 15000.0)
system.addForce(springs)

# Add all forces first: the integrator adds the jump, and gives it a force group of its own.
integrator = KStepIntegrator(
    system,
    load_model("organic-gfn2", compile=not smoke),
    k=4,
    timestep=0.25 * unit.femtosecond,
    temperature=300 * unit.kelvin,
    friction=5 / unit.picosecond,
)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("CPU"))
simulation.context.setPositions(0.1 * atoms.positions)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters += [
    app.StateDataReporter(
        sys.stdout, steps // 5, step=True, time=True, potentialEnergy=True, temperature=True
    ),
    app.DCDReporter("ethanol.dcd", steps // 10),
    app.CheckpointReporter("ethanol.chk", steps // 2),
]
simulation.step(steps)


def positions():
    """Where the atoms are, nm."""
    return simulation.context.getState(positions=True).getPositions(asNumpy=True)


end = positions()
stats = integrator.stats
print(f"{stats.jumps} jumps, {stats.physics_evaluations} evaluations, {stats.fallbacks} fallbacks")
print(f"residual {stats.residual_rms:.2f} eV/A: springs are no GFN2-xTB")

# The last checkpoint is the end of the run; what follows is the same from there and from here.
simulation.step(5)
onwards = positions()
simulation.loadCheckpoint("ethanol.chk")
back = np.abs((positions() - end).value_in_unit(unit.nanometer)).max()
simulation.step(5)
again = np.abs((positions() - onwards).value_in_unit(unit.nanometer)).max()
print(f"the checkpoint is off by {back:.1e} nm, and five jumps later by {again:.1e} nm")
