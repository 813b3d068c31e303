"""The report of one step: errors of the model, evaluations, heat, and what was undone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kstep_integrators.state import Reasons
from kstep_integrators.step.metropolis import Verdict

T = TypeVar("T")

__all__ = ["StepInfo", "split_info"]


@dataclass(frozen=True)
class StepInfo:
    """The report of one step: errors of the model, evaluations, and what was undone.

    Attributes
    ----------
    evaluations : (B,) int64 array or None
        Physics evaluations made for each molecule; None if they have not been counted.
    fallbacks : dict of int to str
        Molecules whose jump was undone and made with physics steps, and why.
    shrinks : dict of int to int
        How often the stride of a molecule was halved in this step.
    exceeded : dict of int to str
        Molecules beyond the tolerances whose jump stands, under ``on_error="warn"``.
    failures : dict of int to str
        Molecules with a proposal under a Metropolis test that had no energy and was rejected for
        it.
    lost : dict of int to str
        Molecules that could not be advanced at all and are where they were before the step.
        **Whoever calls the step must look at it.**
    reasons : dict of int to str
        The last cause for any of these, of each molecule that has one.
    energy_error : (B,) Tensor or None
        Predicted minus physical change of the potential energy over the jump, eV.
    residual : (N, 3) Tensor or None
        F_physics - F_potential at the landing, eV/angstrom.
    estimate_error : (B,) Tensor or None
        Estimated minus computed energy of the physics, eV, in a step that computes both; NaN for
        molecules of which it does not. None otherwise.
    undone : (B,) bool Tensor or None
        Molecules whose jump was undone: error and residual say nothing of them. None for none.
    heat : (B,) Tensor or None
        What the thermostat changed the kinetic energy by in its two half-steps, eV; None without
        a thermostat. The total energy minus the sum of it over a run is conserved.
    jump_seconds, physics_seconds : float
        Wall-clock time; that of the corrector, Hessians included, counts to the jump.
    verdict : Verdict or None
        Of the Metropolis test; None without one. Error and residual are then those of the first
        proposal.
    """

    evaluations: npt.NDArray[np.int64] | None = None
    fallbacks: Reasons = field(default_factory=dict)
    shrinks: dict[int, int] = field(default_factory=dict)
    exceeded: Reasons = field(default_factory=dict)
    failures: Reasons = field(default_factory=dict)
    lost: Reasons = field(default_factory=dict)
    reasons: Reasons = field(default_factory=dict)
    energy_error: Tensor | None = None
    residual: Tensor | None = None
    estimate_error: Tensor | None = None
    undone: Tensor | None = None
    heat: Tensor | None = None
    jump_seconds: float = 0.0
    physics_seconds: float = 0.0
    verdict: Verdict | None = None

    @property
    def reason(self) -> str | None:
        """The last of the reasons."""
        return next(reversed(self.reasons.values())) if self.reasons else None


def split_info(info: StepInfo, batch: Tensor, molecules: int) -> list[StepInfo]:
    """The report of a step for each molecule, as if it had been alone.

    Parameters
    ----------
    info : StepInfo
    batch : (N,) int64
        Index of the molecule each atom belongs to.
    molecules : int
        How many there are.

    Returns
    -------
    list of StepInfo
        Wall-clock times are shared out equally.
    """
    if molecules == 1:
        return [info]
    sizes = torch.bincount(batch.cpu()).tolist()
    residuals = None if info.residual is None else info.residual.cpu().split(sizes)
    errors, heat, verdict = _rows(info.energy_error), _rows(info.heat), info.verdict
    undone, estimates = _rows(info.undone), _rows(info.estimate_error)
    accepted = _rows(verdict.accepted_at if verdict else None)
    change = _rows(verdict.first_change if verdict else None)
    return [
        StepInfo(
            evaluations=None if info.evaluations is None else info.evaluations[i : i + 1],
            fallbacks=_own(info.fallbacks, i),
            shrinks=_own(info.shrinks, i),
            exceeded=_own(info.exceeded, i),
            failures=_own(info.failures, i),
            lost=_own(info.lost, i),
            reasons=_own(info.reasons, i),
            energy_error=None if errors is None else errors[i],
            residual=None if residuals is None else residuals[i],
            estimate_error=None if estimates is None else estimates[i],
            undone=None if undone is None else undone[i],
            heat=None if heat is None else heat[i],
            jump_seconds=info.jump_seconds / molecules,
            physics_seconds=info.physics_seconds / molecules,
            verdict=(
                None
                if verdict is None or accepted is None or change is None
                else Verdict(accepted[i], change[i], verdict.tried)
            ),
        )
        for i in range(molecules)
    ]


def _rows(values: Tensor | None) -> tuple[Tensor, ...] | None:
    """(B,) values as one (1,) tensor for each molecule, on the CPU."""
    return None if values is None else values.cpu().split(1)


def _own(entries: dict[int, T], molecule: int) -> dict[int, T]:
    return {0: entries[molecule]} if molecule in entries else {}
