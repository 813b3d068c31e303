"""Runs of one molecule by one method: thermal starts, and records with their spot checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.md.velocitydistribution import thermalize_momenta
from numpy.typing import NDArray

from kstep_integrators import Learning, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.files import atomic_file
from kstep_integrators.jumps.base import Averaged, Jump
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.potentials import Potential
from kstep_integrators.step.options import RunOptions
from kstep_training.evaluate.controls import free_flight, langevin, velocity_verlet
from kstep_training.evaluate.counting import Aim, spot_check
from kstep_training.evaluate.jumps import jump_runs
from kstep_training.evaluate.plan import LEARNING, Method, start_key, start_noise
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.teaching import taught_potential
from kstep_training.inputs.models import read_model
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import thermal_start

__all__ = ["kept_start", "make_records"]


def kept_start(
    molecule: InputMolecule, seed: int, settings: EvaluateSettings, cache: Path | None = None
) -> Atoms:
    """A molecule or cell at temperature, made once and kept in a file.

    Without net momentum, but beside fixed atoms, and in no cell without net rotation.

    Parameters
    ----------
    molecule : InputMolecule
    seed : int
        Number of the start.
    settings : EvaluateSettings
    cache : Path, optional
        Folder that keeps starts.

    Returns
    -------
    ase.Atoms
        Without a calculator.
    """
    key = start_key(molecule, seed, settings)
    path = None if cache is None else cache / f"{molecule.name}.start.{key}.npz"
    given = molecule.atoms
    atoms = Atoms(
        given.numbers, positions=given.positions, cell=given.cell, pbc=given.pbc,
        constraint=given.constraints,
    )  # fmt: skip
    atoms.set_masses(given.get_masses())
    for name, usual in (("charge", 0), ("multiplicity", 1)):
        atoms.info[name] = int(given.info.get(name, usual))
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            atoms.positions = file["positions"]
            atoms.set_momenta(file["momenta"])
        return atoms
    physics = make_physics(settings)
    atoms.calc = physics(atoms.copy())
    start = thermal_start(
        atoms,
        settings.temperature_K,
        np.random.default_rng(start_noise(molecule, seed, settings)),
        settings.equilibration_ps,
        fmax=0.05,
        max_steps=200,
        name=f"{molecule.name} with {physics.method}",
    ).atoms
    if path is not None:
        with atomic_file(path) as handle:
            np.savez(handle, positions=start.positions, momenta=start.get_momenta())
    return start


def make_records(
    method: Method,
    starts: Sequence[Atoms],
    physics: CalculatorFactory,
    settings: EvaluateSettings,
    entropy: Sequence[int],
    taught: Path | None = None,
) -> list[Record]:
    """Run a method from several starts of one molecule.

    Parameters
    ----------
    method : Method
    starts : sequence of ase.Atoms
    physics : CalculatorFactory
    settings : EvaluateSettings
    entropy : sequence of int
        Seed of the noise of each.
    taught : Path, optional
        File of what the model has learned before, for a method that has.

    Returns
    -------
    list of Record
        One for each start; a run that failed keeps what it has.
    """
    starts = [atoms.copy() for atoms in starts]
    for number, (atoms, seed) in enumerate(zip(starts, entropy, strict=True)):
        atoms.info["replica"] = number
        if method.part == "ensemble":
            rng = np.random.default_rng([seed, 1])
            thermalize_momenta(atoms, settings.temperature_K, rng=rng)
    if method.kind == "ballistic":
        return [free_flight(method, atoms) for atoms in starts]
    if method.learn:
        return _learned(method, starts, physics, settings, entropy, taught)
    records = _with_physics(method, starts, physics, settings, entropy)
    for atoms, record in zip(starts, records, strict=True):
        potential = _potential(method, atoms) if settings.spot_checks else None
        aim = _aim(method, atoms, potential, settings)
        spot = spot_check(record, atoms, physics, settings.spot_checks, potential, aim)
        record.facts["spot"] = spot
    return records


def _learned(
    method: Method,
    starts: Sequence[Atoms],
    physics: CalculatorFactory,
    settings: EvaluateSettings,
    entropy: Sequence[int],
    path: Path | None,
) -> list[Record]:
    """Runs with what the model has learned of the molecule."""
    model = read_model(method.potential, starts[0])
    if path is None or isinstance(model, DirectJump):
        raise ValueError(f"{method.name} needs a potential that learns, and a file to keep it in")
    potential, history = taught_potential(method, starts[0], model, physics, settings, path)
    jump = make_jump(potential, settings.timestep_fs * units.FS)
    options = _options(method, jump, settings)
    records = jump_runs(
        method, jump, options, starts, physics, np.random.default_rng([*entropy, 3])
    )
    for atoms, record in zip(starts, records, strict=True):
        # What learns on is another potential at each landing.
        known = None if options.learning else potential
        known = known if settings.spot_checks else None
        aim = _aim(method, atoms, known, settings)
        record.facts["spot"] = spot_check(record, atoms, physics, settings.spot_checks, known, aim)
        record.facts["learning"] = history
    return records


def _with_physics(
    method: Method,
    starts: Sequence[Atoms],
    physics: CalculatorFactory,
    settings: EvaluateSettings,
    entropy: Sequence[int],
) -> list[Record]:
    if method.kind == "verlet":
        return [velocity_verlet(method, atoms, physics) for atoms in starts]
    kelvin, friction_per_ps = settings.temperature_K, settings.friction_per_ps
    if method.kind == "langevin":
        return [
            langevin(
                method, atoms, physics, kelvin, friction_per_ps, np.random.default_rng([seed, 2])
            )
            for atoms, seed in zip(starts, entropy, strict=True)
        ]
    model = read_model(method.potential, starts[0], backend=settings.backend)
    # A direct jump has a base step of its own.
    timestep = None if isinstance(model, DirectJump) else settings.timestep_fs * units.FS
    jump = make_jump(model, timestep)
    rng = np.random.default_rng([*entropy, 3])
    options = _options(method, jump, settings)
    return jump_runs(method, jump, options, starts, physics, rng)


def _options(method: Method, jump: Jump, settings: EvaluateSettings) -> RunOptions:
    """Options of the jumps of a method; at constant temperature if it samples an ensemble."""
    options = RunOptions(
        k=round(method.stride_fs * units.FS / jump.timestep),
        corrector=method.corrector,
        verify_interval=(
            settings.verify_interval if CORRECTORS[method.corrector].averages else None
        ),
        learn=Learning(refit=False, grow=False) if method.learn == LEARNING else False,
    )
    if method.part != "ensemble":
        return options
    options = replace(
        options,
        temperature_K=settings.temperature_K,
        friction=settings.friction_per_ps / units.PS,
    )
    if not method.metropolize:
        return options
    # Momenta are drawn anew before each jump, and a rejected one is not followed on.
    return replace(options, friction=np.inf, metropolize=True, extra_chances=0)


def _potential(method: Method, atoms: Atoms) -> Potential | None:
    """The potential of jumps that ask for forces; None if they have none, or it has no energy."""
    if method.kind != "jumps" or method.metropolize:
        return None
    model = read_model(method.potential, atoms)
    return None if isinstance(model, DirectJump) else model


def _aim(
    method: Method, atoms: Atoms, potential: Potential | None, settings: EvaluateSettings
) -> Aim | None:
    """A note on where the physics of a method is computed, if its corrector averages positions."""
    if potential is None or not CORRECTORS[method.corrector].averages:
        return None
    corrector = CORRECTORS[method.corrector]()
    state = state_from_atoms(atoms, potential.device)
    jump = make_jump(potential, settings.timestep_fs * units.FS).bind(state)

    def aim(positions: NDArray[np.float64]) -> Averaged | None:
        there = state.replace(positions=torch.from_numpy(positions.copy()).to(potential.device))
        return corrector.aim(there, jump.begin(there), method.stride_fs * units.FS, jump)

    return aim
