"""Thermalized starts for dynamics: relaxed, equilibrated, without net momentum or rotation."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators import named_molecule
from kstep_integrators.calculators import xtb_calculator

__all__ = ["thermalized"]


def thermalized(
    name: str, temperature_K: float = 300.0, seed: int = 0, picoseconds: float = 1.0
) -> Atoms:
    """A bundled molecule equilibrated under GFN2 at 1 fs with a friction of 20/ps.

    Parameters
    ----------
    name : str
    temperature_K : float
    seed : int
    picoseconds : float

    Returns
    -------
    ase.Atoms
        With a GFN2 calculator.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    atoms = named_molecule(name)
    atoms.calc = xtb_calculator("GFN2-xTB")
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    bath = Langevin(
        atoms,
        1.0 * units.fs,
        temperature_K=temperature_K,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )
    bath.run(round(1000 * picoseconds))
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    return atoms
