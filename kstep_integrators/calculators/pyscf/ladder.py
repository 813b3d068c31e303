"""Ladder of solvers for an SCF, from cheap to stubborn; no result that has not converged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kstep_integrators.calculators.pyscf.density import Array
from kstep_integrators.calculators.pyscf.device import is_on_gpu, to_device_of, to_host

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
"""Attempts after the extrapolated density, or at once if there is none."""


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
    """Record of an SCF that converged.

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


class _Watch:
    """Callback of an SCF: counts cycles and remembers the orbitals nearest to convergence."""

    def __init__(self, listener: Callable[[dict[str, Any]], None] | None) -> None:
        self.listener = listener
        self.cycles = 0
        self.residual = math.inf
        self.orbitals: tuple[Any, Any] | None = None

    def __call__(self, local: dict[str, Any]) -> None:
        self.cycles += 1
        residual = float(local.get("norm_gorb", math.inf))
        if residual < self.residual:
            self.residual = residual
            self.orbitals = (local["mo_coeff"], local["mo_occ"])
        if self.listener is not None:
            self.listener(local)


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
    orbitals: tuple[Any, Any] | None = None
    for rung in rungs:
        watch = _Watch(mean_field.callback)
        start = guess if rung.name == "extrapolated density" else None
        trouble = _attempt(mean_field, rung, watch, start, orbitals)
        orbitals = watch.orbitals or orbitals
        total += watch.cycles
        if not trouble:
            if reports:
                _log.warning("SCF converged by %s", rung.name)
            return Converged(total, len(reports) + 1, rung.name)
        reports.append(f"{rung.name}: {trouble}")
        _log.warning("SCF attempt failed: %s", reports[-1])
    raise NotConverged(f"the SCF did not converge ({'; '.join(reports)})", total, len(reports))


def _attempt(
    mean_field: Any,
    rung: Rung,
    watch: _Watch,
    guess: Array | None,
    orbitals: tuple[Any, Any] | None,
) -> str:
    """Make one attempt; return what went wrong, empty if nothing did."""
    changes = {
        **rung.settings,
        "max_cycle": rung.cycles * mean_field.max_cycle,
        "callback": watch,
    }
    before = {name: getattr(mean_field, name) for name in changes}
    # Orbitals left from before, even those of another geometry, would be PySCF's guess.
    _take_over(mean_field, None)
    try:
        for name, value in changes.items():
            setattr(mean_field, name, value)
        if rung.second_order:
            # From where the attempt before got stuck: from an atomic guess this solver is prone
            # to stationary points of high energy.
            solver = _second_order(mean_field)
            solver.kernel(*(orbitals or ()))
        else:
            solver = mean_field
            solver.kernel(dm0=None if guess is None else to_device_of(mean_field, guess))
        trouble = _trouble(solver, watch.cycles, changes["max_cycle"])
    except Exception as error:  # noqa: BLE001 - any error of a solver is a failed attempt
        return f"{type(error).__name__}: {error}"
    finally:
        for name, value in before.items():
            setattr(mean_field, name, value)
    if not trouble and solver is not mean_field:
        _take_over(mean_field, solver)
        _look_at_occupations(mean_field)
    return trouble


def _trouble(solver: Any, cycles: int, limit: int) -> str:
    if not bool(solver.converged):
        if cycles < limit:
            return f"converged in {cycles} cycles, but not in the check without level shift"
        return f"not converged in {cycles} cycles"
    if not math.isfinite(float(solver.e_tot)):
        return f"converged to the energy {solver.e_tot}"
    return ""


def _second_order(mean_field: Any) -> Any:
    newton = getattr(mean_field, "newton", None)
    if not callable(newton):  # GPU4PySCF has NotImplemented in such places
        where = "GPU4PySCF" if is_on_gpu(mean_field) else "PySCF"
        raise NotImplementedError(f"{where} has no such solver for {type(mean_field).__name__}")
    return newton()


def _take_over(mean_field: Any, solver: Any | None) -> None:
    """Give an object the orbitals of a second-order solver, or none."""
    for name, nothing in (
        ("converged", False),
        ("e_tot", 0.0),
        ("mo_coeff", None),
        ("mo_occ", None),
        ("mo_energy", None),
        ("scf_summary", {}),
    ):
        setattr(mean_field, name, nothing if solver is None else getattr(solver, name))


def _look_at_occupations(mean_field: Any) -> None:
    """Say so if the second-order solver, which keeps occupations, left a hole below an electron."""
    energies, filled = to_host(mean_field.mo_energy), to_host(mean_field.mo_occ)
    highest = np.where(filled > 0.0, energies, -np.inf).max(-1)
    lowest = np.where(filled > 0.0, np.inf, energies).min(-1)
    if bool((highest > lowest).any()):
        _log.warning(
            "the SCF is converged, but to a state with an occupied orbital above an empty one: "
            "the method may not suit this geometry (try an open shell, or smearing)"
        )
