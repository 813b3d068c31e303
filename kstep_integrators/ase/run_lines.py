"""Lines of a run for its log, beside those of its steps."""

from __future__ import annotations

from kstep_integrators.step.run import Run
from kstep_integrators.step.stats import Stats
from kstep_integrators.units import FS

__all__ = ["burn_in_line", "verification_line", "volume_line"]


def burn_in_line(start: int | None, k: int, stride: float) -> str:
    """The end of a burn-in.

    Parameters
    ----------
    start : int
        Step at which production starts.
    k : int
        Base steps from here on.
    stride : float
        ASE time units.
    """
    return (
        f"step {start}: the burn-in is over, k = {k} "
        f"({stride / FS:g} fs) from here on; production starts here"
    )


def volume_line(run: Run) -> str | None:
    """The sizes of volume moves that are adapted; None if there are none."""
    moves, stats = run.volume, run.stats[0]
    if moves is None or stats.volume is None:
        return None
    sizes = ", ".join(f"{100.0 * size / stats.volume:.3g}" for size in moves.sizes)
    return (
        f"step {run.nsteps}: moves of the volume stay within {sizes} % of it from here on "
        f"({stats.volume_accepted} of {stats.volume_moves} accepted so far); the ensemble at "
        "constant pressure starts here"
    )


def verification_line(step: int, stats: Stats, error: float, atoms: int, conserved: float) -> str:
    """How good the estimated energy is where the physics was computed beside it.

    Parameters
    ----------
    step : int
    stats : Stats
    error : float
        Of the estimate here, eV.
    atoms : int
        How many there are.
    conserved : float
        Conserved energy, eV.
    """
    per_atom = 1e3 / atoms
    rms = per_atom * (stats.estimate_error or 0.0)
    return (
        f"step {step}: the estimated energy is off by {per_atom * error:+.3f} "
        f"meV/atom (rms of {stats.verifications}: {rms:.3f}); conserved energy "
        f"{conserved:.6f} eV"
    )
