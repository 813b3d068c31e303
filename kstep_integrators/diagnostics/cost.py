"""Cost of simulated time."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_integrators.units import PS

__all__ = ["Cost", "cost_per_ps"]


@dataclass(frozen=True)
class Cost:
    """Cost of one picosecond.

    Attributes
    ----------
    evaluations, seconds : float
        Of the physics, and of everything.
    scf_cycles : float or None
        None if the calculator does not tell.

    Examples
    --------
    >>> cost = Cost(evaluations=500.0, seconds=2.0)
    >>> cost.seconds / cost.evaluations
    0.004
    """

    evaluations: float
    seconds: float
    scf_cycles: float | None = None


def cost_per_ps(
    time: float, evaluations: int, seconds: float, scf_cycles: int | None = None
) -> Cost:
    """Cost of a run over its simulated time.

    Parameters
    ----------
    time : float
        Really travelled, ASE time units.
    evaluations : int
        Of the physics, counted inside the calculator: those at the start, of fallbacks and of
        rejected jumps too.
    seconds : float
        Wall-clock time of the whole run.
    scf_cycles : int, optional

    Raises
    ------
    ValueError
        If the time is not positive or a count is negative.

    Examples
    --------
    >>> from kstep_integrators.units import PS
    >>> cost = cost_per_ps(2.0 * PS, evaluations=1001, seconds=5.0)
    >>> round(cost.evaluations, 3), round(cost.seconds, 3)
    (500.5, 2.5)
    """
    if not time > 0.0:
        raise ValueError(f"time is {time}; a cost per picosecond needs a run that went somewhere")
    if evaluations < 0 or seconds < 0.0 or (scf_cycles is not None and scf_cycles < 0):
        raise ValueError(
            f"evaluations is {evaluations}, seconds {seconds} and scf_cycles {scf_cycles}; "
            "expected numbers from 0"
        )
    per_ps = PS / time
    return Cost(
        evaluations * per_ps,
        seconds * per_ps,
        None if scf_cycles is None else scf_cycles * per_ps,
    )
