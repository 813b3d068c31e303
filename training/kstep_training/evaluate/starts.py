"""Thermalized starts, which all methods share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators import units
from kstep_integrators.files import atomic_file
from kstep_training.evaluate.plan import start_key
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import Target, calculator_factory

__all__ = ["thermal_start"]

STEP_FS, FRICTION_PER_FS = 0.5, 0.02


def thermal_start(
    target: Target, seed: int, settings: EvaluateSettings, cache: Path | None = None
) -> Atoms:
    """A molecule at temperature, without net momentum or rotation.

    Relaxed under the physics, then Langevin dynamics. Momenta alone would not do: from a minimum,
    half of the heat goes into the potential.

    Parameters
    ----------
    target : Target
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
    key = start_key(target, seed, settings)
    path = None if cache is None else cache / f"{target.name}.start.{key}.npz"
    atoms = Atoms(target.atoms.numbers, positions=target.atoms.positions)
    atoms.set_masses(target.atoms.get_masses())
    atoms.info["charge"] = int(target.atoms.info.get("charge", 0))
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            atoms.positions = file["positions"]
            atoms.set_momenta(file["momenta"])
        return atoms
    rng = np.random.default_rng(int(key, 16))
    atoms.calc = calculator_factory(settings.physics)(atoms.copy())
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=200)
    thermalize_momenta(atoms, settings.temperature, rng=rng)
    bath = Langevin(
        atoms,
        STEP_FS * units.FS,
        temperature_K=settings.temperature,
        friction=FRICTION_PER_FS / units.FS,
        fixcm=False,
        rng=rng,
    )
    bath.run(round(1000.0 * settings.equilibration_ps / STEP_FS))
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    atoms.calc = None
    if path is not None:
        with atomic_file(path) as handle:
            np.savez(handle, positions=atoms.positions, momenta=atoms.get_momenta())
    return atoms
