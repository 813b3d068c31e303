"""The jumps of a demonstration made by OpenMM, recorded like those made in ASE."""

from __future__ import annotations

import time

import openmm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from openmm import app, unit
from openmmml import MLPotential

from kstep_integrators import DirectJump, NetworkPotential
from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.units import KJ_PER_MOL, NM, NM_PER_PS
from kstep_training.demo.settings import DemoSettings
from kstep_training.evaluate.counting import counting, counts
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import EachFrame, Frame, Record, record_of

__all__ = ["openmm_jumps"]

_SPEED = unit.nanometer / unit.picosecond


def openmm_jumps(
    method: Method,
    start: Atoms,
    model: NetworkPotential | DirectJump,
    physics: CalculatorFactory,
    settings: DemoSettings,
    each_frame: EachFrame | None = None,
) -> Record:
    """A run of jumps in OpenMM, with a frame at each landing; frames cost no evaluation.

    Parameters
    ----------
    method : Method
    start : ase.Atoms
        With momenta; stays as it is.
    model : NetworkPotential or DirectJump
    physics : CalculatorFactory
        Of which MLPotential makes a force.
    settings : DemoSettings
        Base step, and base steps per jump.
    each_frame : EachFrame, optional
    """
    counter = counting(physics, start)
    integrator, context = _simulation(method, start, model, counter, settings)
    frames: list[Frame] = []

    def keep(atoms: Atoms, energy: str, evaluations: int) -> None:
        value = float(integrator.getGlobalVariableByName(energy)) * KJ_PER_MOL
        atoms.calc = SinglePointCalculator(atoms, energy=value)
        frames.append((atoms.get_positions(), atoms.get_momenta(), value))
        if each_frame is not None:
            each_frame(0, atoms, evaluations)

    first = _atoms_of(context, start)
    began = time.perf_counter()
    for jump in range(method.steps):
        integrator.step(1)
        if jump == 0:
            # The physics at the start is known once the first jump has been made.
            keep(first, "kstep_start_potential", 1)
        keep(_atoms_of(context, start), "kstep_potential", counter.evaluations)
    stats = integrator.stats
    facts = {
        "evaluations": stats.physics_evaluations,
        **counts(counter),
        "seconds": time.perf_counter() - began,
        "jump_seconds": stats.jump_seconds,
        "residual_rms": stats.residual_rms,
        "jumps": stats.jumps,
        "fallbacks": stats.fallbacks,
        "error": "",
    }
    return record_of(start, method.frame_fs, frames, facts)


def _simulation(
    method: Method,
    start: Atoms,
    model: NetworkPotential | DirectJump,
    counter: CountingCalculator,
    settings: DemoSettings,
) -> tuple[KStepIntegrator, openmm.Context]:
    """An integrator and its Context, at the positions and velocities of the start."""
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number, z in enumerate(start.numbers):
        element = app.Element.getByAtomicNumber(int(z))
        topology.addAtom(f"{element.symbol}{number}", element, residue)
    system = MLPotential("ase").createSystem(topology, removeCMMotion=False, calculator=counter)
    for index, mass in enumerate(start.get_masses()):
        system.setParticleMass(index, mass)
    integrator = KStepIntegrator(
        system, model, settings.k, settings.timestep_fs * unit.femtosecond, method.corrector
    )
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(start.positions / NM)
    context.setVelocities(start.get_velocities() / NM_PER_PS)
    return integrator, context


def _atoms_of(context: openmm.Context, start: Atoms) -> Atoms:
    """The molecule as it is in a Context."""
    state = context.getState(positions=True, velocities=True)
    atoms: Atoms = start.copy()
    atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    atoms.set_velocities(state.getVelocities(asNumpy=True).value_in_unit(_SPEED) * NM_PER_PS)
    return atoms
