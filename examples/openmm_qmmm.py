"""QM/MM: methanol under GFN2-xTB in a periodic box of flexible TIP3P water, jumps on the methanol.

python examples/openmm_qmmm.py [--smoke]

Mechanical embedding by openmm-ml: GFN2-xTB sees an isolated molecule, the force field (PME) a
periodic box. The network stands for GFN2-xTB inside the flow, which computes the force field
itself: one step is one evaluation of GFN2-xTB and four of the force field. Killed and started
again, the script goes on from its last checkpoint. At the end it compares energies at constant
energy.
"""

import argparse
import copy
from io import StringIO
from pathlib import Path

import numpy as np
import openmm
from ase import Atoms
from ase.build import molecule
from openmm import app, unit
from openmmml import MLPotential

from kstep_integrators import load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.testing import CountingCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
smoke = parser.parse_args().smoke
steps, report, compared = (8, 2, 0.01) if smoke else (1000, 50, 1.0)

FS = unit.femtosecond
# What is between methanol and water: charges and Lennard-Jones parameters of OPLS-AA.
METHANOL = """<ForceField>
 <AtomTypes>
  <Type name="m-C" class="mC" element="C" mass="12.011"/>
  <Type name="m-O" class="mO" element="O" mass="15.999"/>
  <Type name="m-H" class="mH" element="H" mass="1.008"/>
  <Type name="m-HO" class="mHO" element="H" mass="1.008"/>
 </AtomTypes>
 <Residues><Residue name="MOH">
  <Atom name="C" type="m-C"/><Atom name="O" type="m-O"/>
  <Atom name="H1" type="m-H"/><Atom name="HO" type="m-HO"/>
  <Atom name="H2" type="m-H"/><Atom name="H3" type="m-H"/>
  <Bond atomName1="C" atomName2="O"/><Bond atomName1="O" atomName2="HO"/>
  <Bond atomName1="C" atomName2="H1"/><Bond atomName1="C" atomName2="H2"/>
  <Bond atomName1="C" atomName2="H3"/>
 </Residue></Residues>
 <NonbondedForce coulomb14scale="0.833333" lj14scale="0.5">
  <Atom type="m-C" charge="0.145" sigma="0.35" epsilon="0.276144"/>
  <Atom type="m-O" charge="-0.683" sigma="0.312" epsilon="0.71128"/>
  <Atom type="m-H" charge="0.04" sigma="0.25" epsilon="0.12552"/>
  <Atom type="m-HO" charge="0.418" sigma="1.0" epsilon="0"/>
 </NonbondedForce>
</ForceField>"""
QM = 1  # force group of GFN2-xTB; the force field is in group 0


def box(field: app.ForceField) -> app.Modeller:
    """Methanol in water."""
    atoms = molecule("CH3OH")  # C, O, H of the methyl group, H of the hydroxyl, two H
    topology = app.Topology()
    residue = topology.addResidue("MOH", topology.addChain())
    made = [
        topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
        for name in ("C", "O", "H1", "HO", "H2", "H3")
    ]
    for i, j in ((0, 1), (1, 3), (0, 2), (0, 4), (0, 5)):
        topology.addBond(made[i], made[j])
    modeller = app.Modeller(topology, 0.1 * atoms.positions * unit.nanometer)
    modeller.addSolvent(field, boxSize=openmm.Vec3(1.6, 1.6, 1.6) * unit.nanometer)
    return modeller


def relaxed(x):
    """The water made room for methanol, which stays as it is."""
    still = copy.deepcopy(cheap)
    for index in solute:
        still.setParticleMass(index, 0.0)
    context = openmm.Context(still, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(x)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    return context.getState(positions=True).getPositions()


field = app.ForceField(StringIO(METHANOL), "tip3p.xml")
modeller = box(field)
topology, solute = modeller.topology, range(6)
cheap = field.createSystem(
    topology, nonbondedMethod=app.PME, nonbondedCutoff=0.7 * unit.nanometer, rigidWater=False
)
# Without atoms of its own openmm-ml would hand the box on, and GFN2-xTB compute a crystal.
gfn2 = CountingCalculator(xtb_calculator("GFN2-xTB"))
isolated = Atoms("COHHHH", pbc=False, calculator=gfn2)
system = MLPotential("ase").createMixedSystem(
    topology, cheap, list(solute), forceGroup=QM, aseAtoms=isolated, mlLongRange=False
)
network = load_model("organic-gfn2")
add_jump(system, network, particles=solute, inner_groups=[0], inner_platform="CPU")
platform = openmm.Platform.getPlatformByName("CPU")

# A run with reporters, that goes on where it was killed. The checkpoint is written last: what the
# other reporters have written twice, if anything, is the last frame before the kill.
integrator = KStepIntegrator(
    system,
    network,
    k=4,
    timestep=0.5 * FS,
    temperature=300 * unit.kelvin,
    friction=2 / unit.picosecond,
)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(topology, system, integrator, platform)
resumed = Path("methanol.chk").exists()
if resumed:
    simulation.loadCheckpoint("methanol.chk")
    print(f"goes on from step {simulation.currentStep}")
else:
    simulation.context.setPositions(relaxed(modeller.positions))
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters += [
    app.StateDataReporter(
        "methanol.csv", report, step=True, time=True, temperature=True, append=resumed
    ),
    # Wrapped, the solute would be in pieces: the force field no longer has its bonds.
    app.DCDReporter("methanol.dcd", report, append=resumed, enforcePeriodicBox=False),
    app.CheckpointReporter("methanol.chk", report),
]
simulation.step(steps - simulation.currentStep)
stats = integrator.stats
print(
    f"{stats.jumps} jumps, {stats.physics_evaluations} evaluations, {stats.fallbacks} fallbacks, "
    f"residual {stats.residual_rms:.4f} eV/A over all atoms"
)

start = simulation.context.getState(positions=True, velocities=True)


def conservation(name, dynamics, stride_fs):
    """Standard deviation of the total energy, and what it cost."""
    context = openmm.Context(system, dynamics, platform)
    context.setPositions(start.getPositions())
    context.setVelocities(start.getVelocities())
    before, energies = gfn2.evaluations, []
    for _ in range(round(compared * 1000 / stride_fs)):
        dynamics.step(1)
        state = context.getState(energy=True)  # of this geometry GFN2-xTB is known
        energy = state.getKineticEnergy() + state.getPotentialEnergy()
        energies.append(energy.value_in_unit(unit.kilojoule_per_mole) / topology.getNumAtoms())
    drift = np.polyfit(np.arange(len(energies)) * stride_fs / 1000, energies, 1)[0]
    print(
        f"{name:28s} {1000 * np.std(energies):8.2f} J/mol per atom, drift {1000 * drift:8.2f} "
        f"J/mol per atom and ps, {gfn2.evaluations - before} evaluations of GFN2-xTB"
    )


conservation("jumps, k = 4, 2 fs", KStepIntegrator(system, network, 4, 0.5 * FS), 2.0)
conservation("velocity Verlet, 0.5 fs", openmm.VerletIntegrator(0.5 * FS), 0.5)
conservation("velocity Verlet, 2 fs", openmm.VerletIntegrator(2.0 * FS), 2.0)
