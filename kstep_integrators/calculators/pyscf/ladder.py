"""Converging an SCF: first cheaply, then by what usually helps, never half."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kstep_integrators.calculators.pyscf.density import Array
from kstep_integrators.calculators.pyscf.device import is_on_gpu, to_device_of

__all__ = ["LADDER", "Converged", "NotConverged", "Rung", "converge"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rung:
    """One attempt.

    Attributes
    ----------
    name : str
    settings : mapping
        Attributes of the mean-field object for this attempt.
    cycles : int
        Multiple of the iterations allowed.
    second_order : bool
        Whether to use the co-iterative augmented Hessian solver
        (doi:10.1016/j.cplett.2017.05.028).
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    cycles: int = 1
    second_order: bool = False


LADDER = (
    Rung("atomic guess"),
    Rung("damping and level shift", {"damp": 0.3, "level_shift": 0.3, "diis_start_cycle": 6}, 3),
    Rung("second-order solver", second_order=True),
)
"""What is tried after the extrapolated density, or at once if there is none."""


class NotConverged(RuntimeError):
    """No attempt converged.

    Attributes
    ----------
    cycles, attempts : int
    """

    def __init__(self, message: str, cycles: int, attempts: int) -> None:
        super().__init__(message)
        self.cycles = cycles
        self.attempts = attempts


@dataclass(frozen=True)
class Converged:
    """How an SCF converged.

    Attributes
    ----------
    cycles, attempts : int
        Sums over all attempts.
    name : str
        The attempt that converged.
    """

    cycles: int
    attempts: int
    name: str


def converge(mean_field: Any, guess: Array | None) -> Converged:
    """Converge an SCF at the geometry that a mean-field object stands at.

    Parameters
    ----------
    mean_field : mean-field object
        Its settings are those it had, afterwards.
    guess : (..., n, n) or None
        Density to start from.

    Raises
    ------
    NotConverged
        If all attempts fail; the message says how each did.
    """
    rungs = LADDER if guess is None else (Rung("extrapolated density"), *LADDER)
    total = 0
    reports: list[str] = []
    for rung in rungs:
        start = guess if rung.name == "extrapolated density" else None
        cycles, trouble = _attempt(mean_field, rung, start)
        total += cycles
        if not trouble:
            if reports:
                _log.warning("SCF converged by %s after %s", rung.name, "; ".join(reports))
            return Converged(total, len(reports) + 1, rung.name)
        reports.append(f"{rung.name}: {trouble}")
        _log.warning("SCF attempt failed: %s", reports[-1])
    raise NotConverged(f"the SCF did not converge ({'; '.join(reports)})", total, len(reports))


def _attempt(mean_field: Any, rung: Rung, guess: Array | None) -> tuple[int, str]:
    """Iterations made, and what went wrong (empty if nothing did)."""
    changes = {**rung.settings, "max_cycle": rung.cycles * mean_field.max_cycle}
    before = {name: getattr(mean_field, name) for name in changes}
    listener = mean_field.callback
    count = 0

    def counted(local: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if callable(listener):
            listener(local)

    solver = mean_field
    try:
        for name, value in changes.items():
            setattr(mean_field, name, value)
        mean_field.callback = counted
        mean_field.converged = False
        if rung.second_order:
            solver = _second_order(mean_field)
        solver.kernel(dm0=None if guess is None else to_device_of(mean_field, guess))
        trouble = _trouble(solver, count)
    except Exception as error:  # noqa: BLE001 - any error of a solver is a failed attempt
        trouble = f"{type(error).__name__}: {error}"
    finally:
        for name, value in before.items():
            setattr(mean_field, name, value)
        mean_field.callback = listener
    if not trouble and solver is not mean_field:
        _take_over(mean_field, solver)
    return count, trouble


def _trouble(solver: Any, cycles: int) -> str:
    if not bool(solver.converged):
        return f"not converged in {cycles} cycles"
    if not math.isfinite(float(solver.e_tot)):
        return f"converged to the energy {solver.e_tot}"
    return ""


def _second_order(mean_field: Any) -> Any:
    newton: Callable[[], Any] | None = getattr(mean_field, "newton", None)
    if newton is None:
        where = "GPU4PySCF" if is_on_gpu(mean_field) else "PySCF"
        raise NotImplementedError(f"{where} has no such solver for {type(mean_field).__name__}")
    return newton()


def _take_over(mean_field: Any, solver: Any) -> None:
    """Put the orbitals of a second-order solver into the object whose gradients are known."""
    for name in ("converged", "e_tot", "mo_coeff", "mo_occ", "mo_energy", "scf_summary"):
        setattr(mean_field, name, getattr(solver, name))
