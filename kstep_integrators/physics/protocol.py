"""The protocol of the physics: energies and forces of a state, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["Cost", "Physics"]


@dataclass(frozen=True)
class Cost:
    """The price of an evaluation.

    Attributes
    ----------
    evaluations : (B,) int64 array
        Calls of the method for each molecule, failed ones included; 0 for what was known.
    seconds : float
        Wall-clock time.
    """

    evaluations: npt.NDArray[np.int64]
    seconds: float = 0.0

    @classmethod
    def of_each(cls, molecules: int) -> Cost:
        """One call for each molecule, in no time."""
        return cls(np.ones(molecules, dtype=np.int64))


class Physics(Protocol):
    """The expensive method."""

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """Energy and, if wanted, forces at the positions of a state, on its device, and their cost.

        It does not raise if a calculation fails: ``failures`` of the evaluation says which did.

        Parameters
        ----------
        state : PhaseState
        forces : bool
        which : (B,) bool Tensor, optional
            Molecules to be evaluated; the numbers of the others are NaN, and no failures. All by
            default.
        """
        ...
