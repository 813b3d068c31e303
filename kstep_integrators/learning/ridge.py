"""Bayesian ridge regression by normal equations, which grow by one update per label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import GLOBAL, scoped

__all__ = ["Equations", "Posterior", "add_rows", "no_equations", "solve"]


@dataclass(frozen=True)
class Equations:
    r"""Sums over all rows so far: :math:`X^T W X`, :math:`X^T W y`, :math:`y^T W y`.

    Attributes
    ----------
    gram : (P, P) float64
    moment : (P,) float64
    square : float
    rows : int
    """

    gram: Tensor = scoped(GLOBAL)
    moment: Tensor = scoped(GLOBAL)
    square: float = scoped(GLOBAL, default=0.0)
    rows: int = scoped(GLOBAL, default=0)


def no_equations(size: int) -> Equations:
    """Equations of no rows, for P weights."""
    return Equations(
        torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    )


def add_rows(
    equations: Equations, design: Tensor, targets: Tensor, importance: Tensor
) -> Equations:
    """The equations with more rows.

    Parameters
    ----------
    equations : Equations
    design : (n, P) float64
    targets : (n,) float64
    importance : (n,) float64
        Inverse variance of each row, relative to the noise.
    """
    scaled = design * importance.unsqueeze(1)
    return Equations(
        torch.addmm(equations.gram, scaled.T, design),
        equations.moment + scaled.T @ targets,
        equations.square + float((importance * targets.square()).sum()),
        equations.rows + len(targets),
    )


@dataclass(frozen=True)
class Posterior:
    """The weights that the rows leave likely.

    Attributes
    ----------
    mean : (P,) float64
    factor : (P, P) float64
        Lower Cholesky factor of the posterior's precision, in units of the noise.
    noise : float
        Standard deviation of a row of importance 1.
    """

    mean: Tensor
    factor: Tensor
    noise: float

    def deviation(self, design: Tensor) -> Tensor:
        """Standard deviation of what is predicted for rows (n, P), (n,), without their noise."""
        half = torch.linalg.solve_triangular(self.factor, design.T, upper=False)
        spread: Tensor = self.noise * half.square().sum(0).sqrt()
        return spread


def solve(equations: Equations, precision: Tensor) -> Posterior:
    r"""Most likely weights under a Gaussian prior of mean zero.

    :math:`\bar w = (X^T W X + \Lambda)^{-1} X^T W y`; the noise is that which the rows leave:
    MacKay, "Bayesian interpolation" (1992), doi:10.1162/neco.1992.4.3.415.

    Parameters
    ----------
    equations : Equations
    precision : (P,) float64
        Diagonal of the prior's precision, relative to that of the noise.

    Raises
    ------
    torch.linalg.LinAlgError
        If the precision is not positive.
    """
    factor = torch.linalg.cholesky(equations.gram + torch.diag(precision))
    mean = torch.cholesky_solve(equations.moment.unsqueeze(1), factor).squeeze(1)
    left = equations.square - float(mean @ equations.moment)
    noise = math.sqrt(max(left, 0.0) / max(1, equations.rows))
    return Posterior(mean, factor, noise)
