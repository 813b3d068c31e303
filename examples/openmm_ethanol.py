"""Ethanol under GFN2-xTB in an OpenMM Simulation: reporters, checkpoints, a restart.

python examples/openmm_ethanol.py [--smoke]

openmm-ml makes the calculator a force of the System; the jump is a force beside it.
"""

import argparse
import sys

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

from kstep_integrators import load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator
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
system = MLPotential("ase").createSystem(topology, calculator=xtb_calculator("GFN2-xTB"))

# Add all forces first: the integrator adds the jump, and gives it a force group of its own.
integrator = KStepIntegrator(
    system,
    load_model("organic-gfn2"),
    k=4,
    timestep=0.5 * unit.femtosecond,
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
    state = simulation.context.getState(positions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


stats = integrator.stats
print(
    f"{stats.jumps} jumps, {stats.physics_evaluations} evaluations besides the reporter's, "
    f"{stats.fallbacks} fallbacks, residual {stats.residual_rms:.3f} eV/A"
)

# The last checkpoint is the end of the run: what follows is the same from there and from here.
simulation.reporters.clear()
simulation.step(5)
onwards = positions()
simulation.loadCheckpoint("ethanol.chk")
simulation.step(5)
print(f"five jumps from the checkpoint: off by {np.abs(positions() - onwards).max():.1e} nm")
