"""An OpenMM molecule of springs, the same as an ASE calculator, and a model file to jump with."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from openmm import app, unit

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import add_jump
from kstep_integrators.openmm.solute import Model
from kstep_integrators.potentials import NetworkPotential
from tests.conftest import hot, network

KJ_NM = units.kJ / units.mol / units.nm


def water() -> openmm.System:
    """Three particles without forces."""
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    return system


def springs(atoms: Atoms, group: int = 0) -> openmm.System:
    """Harmonic springs between all atoms, and a torsion, with a parameter of the Context."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(float(mass))
    stretch = openmm.CustomBondForce("0.5*k*stiffness*(r-r0)^2")
    stretch.addGlobalParameter("stiffness", 1.0)
    stretch.addPerBondParameter("k")
    stretch.addPerBondParameter("r0")
    for i in range(len(atoms)):
        for j in range(i):
            length = atoms.get_distance(i, j) / 10.0
            stretch.addBond(i, j, [200000.0 if length < 0.16 else 3000.0, length])
    stretch.setForceGroup(group)
    system.addForce(stretch)
    torsion = openmm.PeriodicTorsionForce()
    torsion.addTorsion(0, 1, 2, 3, 3, 0.0, 4.0)
    torsion.setForceGroup(group + 1)
    system.addForce(torsion)
    return system


class Counted:
    """A physics of no force at all, that counts how often OpenMM evaluates it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        self.calls += 1
        return 0.0, np.zeros((len(state.getPositions(asNumpy=True)), 3))

    def __reduce__(self) -> tuple[type[Counted], tuple[()]]:
        return Counted, ()

    def join(self, system: openmm.System) -> Counted:
        system.addForce(openmm.PythonForce(self))
        return self


class OpenMMCalculator(Calculator):
    """A System on the Reference platform as an ASE calculator."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, system: openmm.System) -> None:
        super().__init__()
        self.context = make_context(system, openmm.VerletIntegrator(0.001))

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.context.setPositions(self.atoms.positions / 10.0)
        state = self.context.getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces = state.getForces(asNumpy=True)
        self.results = {
            "energy": energy * units.kJ / units.mol,
            "forces": forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer) * KJ_NM,
        }


def make_context(system: openmm.System, integrator: openmm.Integrator, platform: str = "Reference"):
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))


def require_platform(name: str) -> None:
    """Skip a test on a platform that is not there; OpenCL is where Debian's pocl is installed."""
    count = openmm.Platform.getNumPlatforms()
    if name not in [openmm.Platform.getPlatform(i).getName() for i in range(count)]:
        pytest.skip(f"OpenMM has no platform {name} here")
    atom = openmm.System()
    atom.addParticle(1.008)
    try:
        make_context(atom, openmm.VerletIntegrator(0.001), name)
    except openmm.OpenMMException as error:
        pytest.skip(f"no device for {name}: {error}")


def place(context: openmm.Context, atoms: Atoms) -> openmm.Context:
    """Positions and velocities of an Atoms object."""
    context.setPositions(atoms.positions / 10.0)
    # nm/ps in ASE units
    context.setVelocities(atoms.get_velocities() / (units.nm / (1000.0 * units.fs)))
    return context


def where(context: openmm.Context) -> np.ndarray:
    state = context.getState(getPositions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def moving(context: openmm.Context) -> np.ndarray:
    state = context.getState(getVelocities=True)
    return state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)


def out_of_xml(
    context: openmm.Context, integrator: openmm.Integrator, model: Model
) -> tuple[openmm.Integrator, openmm.Context]:
    """Integrator and Context made again from XML alone; the jump is known as that of the model."""
    state = context.getState(positions=True, velocities=True, integratorParameters=True)
    system, again, state = (
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(each))
        for each in (context.getSystem(), integrator, state)
    )
    assert add_jump(system, model) == 31
    elsewhere = make_context(system, again)
    elsewhere.setState(state)
    return again, elsewhere


def same_side_by_side(runs: list[tuple[openmm.Integrator, openmm.Context]]) -> None:
    """Assert that runs end where they do one after another when each has a thread of its own."""
    alone = []
    for integrator, context in runs:
        saved = context.createCheckpoint()
        integrator.step(10)
        alone.append(where(context))
        context.loadCheckpoint(saved)
    threads = [threading.Thread(target=integrator.step, args=(10,)) for integrator, _ in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (_, context), expected in zip(runs, alone, strict=True):
        assert np.abs(where(context) - expected).max() < 1e-13


def topology(atoms: Atoms) -> app.Topology:
    """One residue, without bonds."""
    made = app.Topology()
    residue = made.addResidue("MOL", made.addChain())
    for number, z in enumerate(atoms.numbers):
        made.addAtom(f"A{number}", app.Element.getByAtomicNumber(int(z)), residue)
    return made


def growth(
    atoms: Atoms, system: openmm.System, integrator: openmm.Integrator, folder: Path
) -> tuple[int, int]:
    """Bytes that steps, each with every reporter, leave behind.

    Of a thousand in the process, libraries in C included, as the system counts it in pages; and of
    300 in what Python and numpy have allocated, to the byte.
    """
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology(atoms), system, integrator, platform)
    place(simulation.context, atoms)
    simulation.reporters += [
        app.StateDataReporter(str(folder / "log.csv"), 1, potentialEnergy=True, temperature=True),
        app.DCDReporter(str(folder / "path.dcd"), 1),
        app.CheckpointReporter(str(folder / "run.chk"), 1),
        app.CheckpointReporter(str(folder / "run.xml"), 1, writeState=True),
    ]

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    simulation.step(100)
    before = resident()
    simulation.step(1000)
    grown = resident() - before
    tracemalloc.start()
    try:
        simulation.step(100)  # more than the geometries that are remembered
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0]
        simulation.step(300)
        gc.collect()
        return grown, tracemalloc.get_traced_memory()[0] - traced
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> NetworkPotential:
    """An untrained network from a file, soft enough to jump with, in float64."""
    built = network()
    path = tmp_path_factory.mktemp("models") / "untrained.safetensors"
    write_model(path, built, ModelHeader("untrained", built.config, "none"))
    return load_model(path, device="cpu", dtype=torch.float64)


@pytest.fixture
def molecule() -> Atoms:
    return hot(temperature=300.0)
