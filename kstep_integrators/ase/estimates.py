"""Frames whose energies and forces are estimates, and say so."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.state import PhasePoint

__all__ = ["estimated_frame"]


def estimated_frame(atoms: Atoms, point: PhasePoint) -> Atoms:
    """A copy of atoms with the estimated energy and forces of a point, and a note of that.

    Parameters
    ----------
    atoms : ase.Atoms
        Where the point is. Their calculator is not asked.
    point : PhasePoint
        Of one molecule.
    """
    frame: Atoms = atoms.copy()
    energy, forces = float(point.physics.energy[0]), point.physics.forces
    if np.isfinite(energy):
        known = {} if forces is None else {"forces": forces.cpu().numpy().copy()}
        frame.calc = SinglePointCalculator(frame, energy=energy, **known)
        note_estimates(frame, True)
    return frame
