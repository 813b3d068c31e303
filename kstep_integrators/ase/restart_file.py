"""The last good state of a run that could not go on and had no checkpoint."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kstep_integrators.state import PhasePoint

__all__ = ["write_restart"]


def write_restart(atoms: Atoms, point: PhasePoint, trajectory: str | Path | None) -> Path:
    """Write a state with momenta, energy and forces as an ASE trajectory of one frame.

    Parameters
    ----------
    atoms : ase.Atoms
        Template; moved to the state.
    point : PhasePoint
        Of one molecule.
    trajectory : str, Path or None
        Of the run; the file is named after it.

    Returns
    -------
    Path
    """
    atoms.set_positions(point.state.positions.cpu().numpy(), apply_constraint=False)
    frame = atoms.copy()
    forces = point.physics.forces
    results = {} if forces is None else {"forces": forces.cpu().numpy()}
    frame.calc = SinglePointCalculator(frame, energy=float(point.physics.energy.sum()), **results)
    path = Path("kstep.restart.traj" if trajectory is None else f"{trajectory}.restart.traj")
    write(path, frame)
    return path
