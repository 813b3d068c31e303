"""The last good state of a run that could not go on and had no checkpoint."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.state import PhasePoint

__all__ = ["free_path", "write_restart"]


def write_restart(atoms: Atoms, point: PhasePoint, run: Path) -> Path:
    """Write a state with momenta, energy and forces as an ASE trajectory of one frame.

    Parameters
    ----------
    atoms : ase.Atoms
        Template; moved to the state.
    point : PhasePoint
        Of one molecule.
    run : Path
        Trajectory of the run, or another name for it; the file is named after it.

    Returns
    -------
    Path
        Of a new file: that of an earlier run stays, and this one gets a number.
    """
    atoms.set_positions(point.state.positions.cpu().numpy(), apply_constraint=False)
    frame = atoms.copy()
    forces = point.physics.forces
    results = {} if forces is None else {"forces": forces.cpu().numpy()}
    frame.calc = SinglePointCalculator(frame, energy=float(point.physics.energy.sum()), **results)
    note_estimates(frame, bool(point.estimated.any()))
    path = free_path(run.with_name(f"{run.name}.restart.traj"))
    write(path, frame)
    return path


def free_path(path: Path) -> Path:
    """The path, or the first of ``NAME.restart-2.traj``, ``-3``, ... that is not there yet."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
