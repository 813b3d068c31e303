"""Cycles, retries and seconds of a calculator: per call and in total."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["CallRecord", "Totals"]


@dataclass(frozen=True)
class CallRecord:
    """One call of the calculator.

    Attributes
    ----------
    scf_cycles : int
        Iterations of all attempts; 0 if the SCF of this geometry was converged before.
    retries : int
        Attempts after the first.
    scf_seconds, gradient_seconds : float
        Wall-clock time; the gradient's includes the stress.
    attempt : str
        The attempt that converged, one of the names in
        :mod:`~kstep_integrators.calculators.pyscf.ladder`; empty if none was made or none did.
    """

    scf_cycles: int = 0
    retries: int = 0
    scf_seconds: float = 0.0
    gradient_seconds: float = 0.0
    attempt: str = ""


@dataclass(frozen=True)
class Totals:
    """Sums over the calls of a calculator.

    Attributes
    ----------
    calls : int
        Times that something was computed.
    scf_runs : int
        Geometries whose SCF was run, failed ones included.
    gradients : int
    failures : int
        Calls that ended in an error.
    scf_cycles, retries, scf_seconds, gradient_seconds
        Sums of the fields of :class:`CallRecord`.
    """

    calls: int = 0
    scf_runs: int = 0
    gradients: int = 0
    failures: int = 0
    scf_cycles: int = 0
    retries: int = 0
    scf_seconds: float = 0.0
    gradient_seconds: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Totals)))
