"""A Simulation with all reporters that goes on from its checkpoint; run as a script it is killed.

python -m tests.openmm.killed_run FOLDER CALLS: SIGKILL in the physics after CALLS evaluations.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from kstep_integrators.openmm import KStepIntegrator

STEPS = 12


class Physics:
    """No force; the process dies in one of its evaluations."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, state):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0, np.zeros((2, 3))

    def __reduce__(self):
        return Physics, (-1,)


def go_on(folder: Path, calls: int = -1) -> app.Simulation:
    """To the end of the run, from the last checkpoint if there is one."""
    system = openmm.System()
    bond = openmm.HarmonicBondForce()
    bond.addBond(system.addParticle(1.008), system.addParticle(1.008), 0.074, 300000.0)
    system.addForce(bond)
    system.addForce(openmm.PythonForce(Physics(calls)))
    topology = app.Topology()
    residue = topology.addResidue("H2", topology.addChain())
    for name in ("H1", "H2"):
        topology.addAtom(name, app.element.hydrogen, residue)
    integrator = KStepIntegrator(
        system, "organic-gfn2", k=2, timestep=0.00025, temperature=300.0, friction=10.0
    )
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    saved = folder / "run.chk"
    resumed = saved.exists()
    if resumed:
        simulation.loadCheckpoint(str(saved))
    else:
        simulation.context.setPositions([[0, 0, 0], [0.076, 0, 0]])
        simulation.context.setVelocitiesToTemperature(300.0, 1)
    simulation.reporters += [
        app.StateDataReporter(
            str(folder / "run.csv"), 2, step=True, temperature=True, append=resumed
        ),
        app.DCDReporter(str(folder / "run.dcd"), 2, append=resumed),
        app.CheckpointReporter(str(saved), 2),
    ]
    simulation.step(STEPS - simulation.currentStep)
    return simulation


if __name__ == "__main__":
    go_on(Path(sys.argv[1]), int(sys.argv[2]))
