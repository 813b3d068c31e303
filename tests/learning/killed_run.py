"""A run that learns, begun or gone on with in a process of its own."""

from __future__ import annotations

from pathlib import Path

from kstep_integrators import KStepDynamics
from tests.conftest import cheap, physics
from tests.learning.runs import DEPTH, LANGEVIN, begin, learning, start


def go(folder: Path, steps: int) -> KStepDynamics:
    """To the end, or until the process is killed."""
    path = folder / "run.ckpt"
    if path.exists():
        dynamics = KStepDynamics.resume(path, physics(), cheap(depth=DEPTH))
    else:
        # Killed before its first checkpoint: a run that begins anew, whose log ASE appends to.
        (folder / "md.log").unlink(missing_ok=True)
        dynamics = begin(
            folder, start(physics()), learn=learning(folder.parent), checkpoint=path,
            checkpoint_interval=5, trajectory=folder / "md.traj", logfile=folder / "md.log",
            **LANGEVIN,
        )  # fmt: skip
    dynamics.run(steps - dynamics.nsteps)
    return dynamics
