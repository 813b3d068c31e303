"""Thermal starts: a molecule or a cell relaxed, given momenta, equilibrated under its physics."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS, LBFGS

from kstep_integrators import units

__all__ = ["RelaxationFailed", "ThermalStart", "bring_to_rest", "relax", "thermal_start"]

TIMESTEP_FS = 0.5
FRICTION_PER_FS = 0.02


class RelaxationFailed(ValueError):
    """The physics cannot compute the forces that a relaxation needs."""


class ThermalStart(NamedTuple):
    """A molecule at a temperature, and where it came from.

    Attributes
    ----------
    relaxed : ase.Atoms
        The minimum, or the last geometry on the way to it.
    atoms : ase.Atoms
        At temperature.
    """

    relaxed: Atoms
    atoms: Atoms


def relax(
    atoms: Atoms, fmax: float = 0.02, max_steps: int = 500, name: str = "the molecule"
) -> bool:
    """Move a molecule to the nearest minimum of its calculator, in place.

    By BFGS; in a periodic cell, which stays as it is, by LBFGS, whose steps cost little for
    hundreds of atoms too.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator.
    fmax : float
        Largest force left on any atom, eV/angstrom.
    max_steps : int
        What is not at a minimum then is left to an equilibration.
    name : str
        Of the molecule and its physics, for the message.

    Returns
    -------
    bool
        Whether it is at a minimum.

    Raises
    ------
    RelaxationFailed
        If forces cannot be computed.
    """
    try:
        optimizer: Any = LBFGS if atoms.pbc.any() else BFGS
        return bool(optimizer(atoms, logfile=None).run(fmax=fmax, steps=max_steps))
    except (CalculatorError, FloatingPointError, ValueError) as error:
        charge, multiplicity = (atoms.info.get(key) for key in ("charge", "multiplicity"))
        raise RelaxationFailed(
            f"{name} cannot be relaxed: {error}; check its geometry, charge ({charge}) and "
            f"multiplicity ({multiplicity})"
        ) from error


def bring_to_rest(atoms: Atoms) -> None:
    """Take away what motion conserves, in place: momentum, and rotation of a molecule in no cell.

    With atoms that are held nothing is conserved, and everything stays.
    """
    if any(isinstance(constraint, FixAtoms) for constraint in atoms.constraints):
        return
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any():
        ZeroRotation(atoms, preserve_temperature=False)


def thermal_start(
    atoms: Atoms,
    temperature_K: float,
    rng: np.random.Generator,
    equilibration_ps: float = 0.5,
    fmax: float = 0.02,
    max_steps: int = 500,
    name: str = "the molecule",
) -> ThermalStart:
    """A molecule at a temperature, without net momentum or rotation.

    Momenta alone would not do: from a minimum, half of the heat goes into the potential. So it is
    relaxed, given momenta, and moved by Langevin dynamics with steps of 0.5 fs and a friction of
    0.02/fs.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator; stays as it is.
    temperature_K : float
    rng : numpy.random.Generator
        For momenta and noise.
    equilibration_ps : float
        0: momenta only, those of the whole molecule included, for a run that equilibrates itself.
    fmax, max_steps, name
        As for :func:`relax`; ``max_steps`` of 0: not at all.

    Returns
    -------
    ThermalStart
        Without calculators.

    Raises
    ------
    RelaxationFailed
        If forces cannot be computed in the relaxation.

    Examples
    --------
    >>> from ase.calculators.morse import MorsePotential
    >>> molecule = Atoms("N2", [[0, 0, 0], [0, 0, 1.2]], calculator=MorsePotential())
    >>> start = thermal_start(molecule, 300.0, np.random.default_rng(0), equilibration_ps=0.01)
    >>> float(np.abs(start.atoms.get_momenta().sum(axis=0)).max()) < 1e-9
    True
    """
    calculator = atoms.calc
    moved: Atoms = atoms.copy()
    moved.calc = calculator
    if max_steps:
        relax(moved, fmax, max_steps, name)
    relaxed: Atoms = moved.copy()
    thermalize_momenta(moved, temperature_K, rng=rng)
    if equilibration_ps:
        bath = Langevin(
            moved,
            TIMESTEP_FS * units.FS,
            temperature_K=temperature_K,
            friction=FRICTION_PER_FS / units.FS,
            fixcm=False,
            rng=rng,
        )
        bath.run(round(1000.0 * equilibration_ps / TIMESTEP_FS))
        bring_to_rest(moved)
    moved.calc = None
    return ThermalStart(relaxed, moved)
