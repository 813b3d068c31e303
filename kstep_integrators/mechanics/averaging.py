r"""Positions averaged along a flow from rest, and the exact adjoint of the average.

With velocity Verlet from rest at x over n timesteps :math:`\tau`, and weights
:math:`\sum_j w_j = 1`:

.. math:: x_1 = x + \tfrac{\tau^2}{2} M^{-1} F(x), \quad
          x_{j+1} = 2 x_j - x_{j-1} + \tau^2 M^{-1} F(x_j), \quad A(x) = \sum_j w_j x_j

The motion from rest is even in time, so that this is an average over n timesteps to either side.
A vibration of frequency :math:`\omega` about its minimum keeps the part
:math:`\phi = \sum_j w_j \cos(j \omega \tau)` of its elongation. García-Archilla, Sanz-Serna &
Skeel, SIAM J. Sci. Comput. 20, 930 (1999), doi:10.1137/S1064827596313851.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from kstep_integrators.state import BoundPotential, Evaluation, Reasons

__all__ = ["Average", "AveragingPotential", "Window", "average", "average_adjoint"]


@dataclass(frozen=True)
class Window:
    """Weights of an average along a motion from rest, at equal intervals.

    Attributes
    ----------
    timestep : float
        ASE time units.
    weights : (n + 1,) float64 Tensor
        Of the start and of the n steps after it; their sum is 1.
    """

    timestep: float
    weights: Tensor

    def kept(self, frequency: Tensor) -> Tensor:
        r"""Part of the elongation of a vibration that the average keeps, :math:`\phi(\omega)`.

        Parameters
        ----------
        frequency : Tensor
            Angular, 1 / ASE time; below 2 / timestep, where Verlet steps are stable. Verlet's own
            is :math:`\cos\Omega\tau = 1 - (\omega\tau)^2 / 2`.
        """
        turned = torch.arccos(1.0 - 0.5 * (frequency * self.timestep) ** 2)
        steps = torch.arange(len(self.weights), dtype=torch.float64)
        return torch.cos(turned.unsqueeze(-1) * steps) @ self.weights


@dataclass(frozen=True)
class Average:
    """Averaged positions, and the path that they are the average of.

    Attributes
    ----------
    positions : (N, 3) float64, angstrom
    path : (n + 1, N, 3) float64, angstrom
        Where the motion from rest has been, from its start on.
    failures : dict of int to str
        Molecules for which the potential failed on the way; their positions are NaN.
    """

    positions: Tensor
    path: Tensor
    failures: Reasons


class AveragingPotential(BoundPotential, Protocol):
    """A bound potential that averages along its flow itself; known by its methods."""

    def average(
        self, positions: Tensor, forces: Tensor, rate: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Path (n + 1, N, 3) and average (N, 3) of positions (N, 3), as :func:`average`.

        Parameters
        ----------
        positions, forces : (N, 3)
            The forces are those of the potential at the positions.
        rate : (N, 1)
            tau^2 / mass; 0 for fixed atoms.
        weights : (n + 1,)
        """
        ...

    def average_adjoint(self, path: Tensor, rate: Tensor, weights: Tensor, force: Tensor) -> Tensor:
        """The derivative of the average, transposed, times a force (N, 3)."""
        ...


def average(
    potential: BoundPotential, positions: Tensor, start: Evaluation, rate: Tensor, window: Window
) -> Average:
    """Average positions along the flow of a potential from rest: n - 1 more forces.

    Parameters
    ----------
    potential : BoundPotential
    positions : (N, 3) float64, angstrom
    start : Evaluation
        The potential there, with forces.
    rate : (N, 1) float64
        Squared timestep over mass; 0 for fixed atoms.
    window : Window

    Raises
    ------
    EvaluationFailed
        If the potential fails as a whole.
    """
    forces, weights = start.require_forces(), window.weights.to(positions.device)
    if hasattr(potential, "average"):
        whole = cast(AveragingPotential, potential)
        path, mean = whole.average(positions, forces, rate, weights)
        return Average(mean, path, {})
    failures: Reasons = {}
    before, here = positions, positions
    mean = weights[0] * positions
    passed, workspace = [positions], cast(Any, None)
    for j in range(1, len(weights)):
        if j == 1:
            here = positions + 0.5 * rate * forces
        else:
            before, here = here, 2.0 * here - before + rate * forces
        passed.append(here)
        mean = mean + weights[j] * here
        if j < len(weights) - 1:
            evaluation, workspace = potential(here, workspace)
            failures = {**evaluation.failures, **failures}
            forces = evaluation.require_forces()
    return Average(mean, torch.stack(passed), failures)


def average_adjoint(
    potential: BoundPotential, path: Tensor, rate: Tensor, window: Window, force: Tensor
) -> Tensor:
    r"""The transposed derivative of an average times a force, :math:`A_x^T g`.

    By the chain rule backwards along the path: with :math:`\lambda_{n+1} = 0`,
    :math:`\lambda_n = w_n g`,

    .. math:: \lambda_j = w_j g + 2 \lambda_{j+1} - \lambda_{j+2}
              - \tau^2 H(x_j) M^{-1} \lambda_{j+1}

    and the last with half of what it takes from :math:`\lambda_1`:
    :math:`A_x^T g = w_0 g + \lambda_1 - \lambda_2 - \tfrac{\tau^2}{2} H(x_0) M^{-1} \lambda_1`.
    n products of the Hessian H with a vector.

    Parameters
    ----------
    potential : BoundPotential
    path : (n + 1, N, 3)
        From :func:`average`.
    rate, window
        The same.
    force : (N, 3)
        g.

    Returns
    -------
    (N, 3)

    Raises
    ------
    EvaluationFailed
        If the Hessian cannot be computed.
    """
    weights = window.weights.to(force.device)
    if hasattr(potential, "average_adjoint"):
        return cast(AveragingPotential, potential).average_adjoint(path, rate, weights, force)
    after = torch.zeros_like(force)
    here = weights[-1] * force
    for j in range(len(weights) - 2, -1, -1):
        product = potential.linearized(path[j])((rate * here).unsqueeze(0))[0]
        if j:
            here, after = weights[j] * force + 2.0 * here - after - product, here
        else:
            here = weights[0] * force + here - after - 0.5 * product
    return here
