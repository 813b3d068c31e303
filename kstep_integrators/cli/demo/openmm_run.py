"""The jumps of a demonstration, made by OpenMM."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import openmm
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryWriter
from openmm import app, unit
from openmmml import MLPotential

from kstep_integrators.cli.demo.records import Recorder, RunRecord
from kstep_integrators.cli.demo.start import DemoSettings
from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.units import KJ_PER_MOL, NM, NM_PER_PS

__all__ = ["run_in_openmm"]

_SPEED = unit.nanometer / unit.picosecond


def run_in_openmm(
    atoms: Atoms,
    model: NetworkPotential,
    settings: DemoSettings,
    corrector: str,
    recorder: Recorder,
    advance: Callable[[], object],
    path: Path | None,
) -> RunRecord:
    """Run, sampling every jump; looking costs no evaluation.

    Parameters
    ----------
    atoms : ase.Atoms
        The start, with a counting calculator as the physics.
    model : NetworkPotential
    settings : DemoSettings
    corrector : str
    recorder : Recorder
    advance : callable
        Called after each jump, for a progress bar.
    path : Path, optional
        Trajectory to be written.
    """
    counter = atoms.calc
    integrator, context = _simulation(atoms, model, settings, corrector)
    writer = None if path is None else TrajectoryWriter(path, "w")
    first = _frame(atoms, context)
    began = time.perf_counter()
    for jump in range(settings.n_jumps):
        integrator.step(1)
        if jump == 0:
            # What was known at the start before the first jump.
            _sample(first, integrator, "kstep_start_potential", recorder, 1, writer)
        frame = _frame(atoms, context)
        _sample(frame, integrator, "kstep_potential", recorder, counter.evaluations, writer)
        advance()
    seconds = time.perf_counter() - began
    if writer is not None:
        writer.close()
    stats = integrator.stats
    return recorder.finish(
        atoms,
        evaluations=counter.evaluations,
        seconds=seconds,
        physics_seconds=counter.seconds,
        jump_seconds=stats.jump_seconds,
        residual_rms=stats.residual_rms,
        fallbacks=stats.fallbacks,
    )


def _simulation(
    atoms: Atoms, model: NetworkPotential, settings: DemoSettings, corrector: str
) -> tuple[KStepIntegrator, openmm.Context]:
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number, z in enumerate(atoms.numbers):
        element = app.Element.getByAtomicNumber(int(z))
        topology.addAtom(f"{element.symbol}{number}", element, residue)
    system = MLPotential("ase").createSystem(topology, removeCMMotion=False, calculator=atoms.calc)
    for index, mass in enumerate(atoms.get_masses()):
        system.setParticleMass(index, mass)
    integrator = KStepIntegrator(
        system, model, settings.k, settings.timestep_fs * unit.femtosecond, corrector
    )
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    return integrator, context


def _frame(atoms: Atoms, context: openmm.Context) -> Atoms:
    state = context.getState(positions=True, velocities=True)
    frame: Atoms = atoms.copy()
    frame.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    frame.set_velocities(state.getVelocities(asNumpy=True).value_in_unit(_SPEED) * NM_PER_PS)
    return frame


def _sample(
    frame: Atoms,
    integrator: KStepIntegrator,
    energy: str,
    recorder: Recorder,
    evaluations: int,
    writer: TrajectoryWriter | None,
) -> None:
    value = float(integrator.getGlobalVariableByName(energy)) * KJ_PER_MOL
    frame.calc = SinglePointCalculator(frame, energy=value)
    recorder.sample(frame, evaluations)
    if writer is not None:
        writer.write(frame)
