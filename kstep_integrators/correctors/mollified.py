"""The mollified impulse method: kicks by the physics at averaged positions, symplectic at 8 fs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import SetOnce, positive_number
from kstep_integrators.correctors.base import HalfKicks, residual_force
from kstep_integrators.jumps.base import Averaged, BoundJump
from kstep_integrators.mechanics.averaging import Window
from kstep_integrators.state import Evaluation, PhaseState, Site, inverse_masses

__all__ = ["IMPULSE", "Mollified", "estimate", "pulled_back", "triangle"]

REACH = 3.0
"""Strides to either side of a geometry that are averaged over."""
IMPULSE = 2.0 * units.FS
"""Longest stride that is made with impulses at the positions themselves, ASE time units."""
TIMESTEP = 2.0 * units.FS
"""Longest timestep of the motion that is averaged, ASE time units: 2.4 fs is where Verlet steps of
the fastest bond, that of H2, become unstable."""
GROWTH = 30.0
"""Mass-weighted length of a pulled-back residual over that of the residual, beyond which it is no
derivative of an average. A vibration keeps at most 1, and motion down from a barrier of 1000i cm^-1
grows 4-fold over the 24 fs of an average at 8 fs. A network whose vectors vanish by symmetry, at
the carbon of an exactly tetrahedral CH4 or a linear CO2, has a kink in its forces there: 1e5."""


class Mollified(SetOnce, HalfKicks):
    r"""Half-kicks by the residual at averaged positions, pulled back: the mollified impulse method.

    With A(x) the mean of positions along the potential's own motion from rest at x, and
    :math:`D = U_{physics} - U_{potential}`:

    .. math:: p \leftarrow p + \tfrac{h}{2} A_x^T [F_{physics} - F_{potential}](A(x))
              = p - \tfrac{h}{2} \nabla_x D(A(x))

    The kick is the gradient of a potential, so that the step is symplectic; stiff modes are
    averaged out of A(x), so that it cannot resonate with them. García-Archilla, Sanz-Serna & Skeel,
    SIAM J. Sci. Comput. 20, 930 (1999), doi:10.1137/S1064827596313851.

    **The physics is computed at A(x) and not at the positions of the run.** Its energy and forces
    there are estimates (:func:`estimate`), and the run says so wherever it shows them.
    The kinetic energy plus :math:`U_{potential}(x) + D(A(x))` is what the motion conserves.
    A(x) moves and turns with the molecule: the kick has no net force and no net torque unless the
    physics exerts some. Strides of at most 2 fs, as of a run that learns and has just begun, are
    those of :class:`Impulse`, with the physics at the positions themselves.

    Parameters
    ----------
    reach : float
        Strides to either side that are averaged over.

    Raises
    ------
    ValueError
        If it is not positive. Attributes cannot be changed: AttributeError.

    Notes
    -----
    n - 1 forces and n - 1 products of the potential's Hessian with a vector in each stride beside
    those of the jump, n being the reach in steps of at most 2 fs: 12 at 8 fs. A
    :class:`kstep_integrators.potentials.calculator.CalculatorPotential` makes each product by
    central differences, two force calls of the cheap calculator: 3 (n - 1) calls, 33 at 8 fs.
    """

    name = "mollified"
    averages = True

    def __init__(self, reach: float = REACH) -> None:
        self.reach = positive_number("reach", reach, "strides to either side")

    def window(self, stride: float) -> Window:
        """Weights that fall linearly to zero at the reach, for a stride in ASE time units."""
        return triangle(self.reach * stride)

    def calls(self, stride: float) -> int:
        """Force calls of a stride, ASE time units, beside those of the jump; a product is two."""
        if stride <= IMPULSE * (1.0 + 1e-9):
            return 0
        return 3 * (len(self.window(stride).weights) - 1)

    def aim(
        self, state: PhaseState, inner: Evaluation | None, stride: float, jump: BoundJump
    ) -> Averaged | None:
        """The averaged positions; None for strides that are short enough for impulses."""
        if stride <= IMPULSE * (1.0 + 1e-9):
            return None
        if inner is None:
            raise ValueError(
                "the mollified corrector needs a jump with a potential, such as a flow"
            )
        return jump.averaged(state, inner, self.window(stride))

    def force(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Tensor:
        """The residual at the positions, pulled back as if it were that at the averaged ones.

        For the first kick after a stride of another length or with another potential, which had
        its physics computed elsewhere.
        """
        residual = residual_force(self.name, physics, inner)
        aim = self.aim(state, inner, stride, jump)
        return residual if aim is None else pulled_back(aim, residual)

    def describe(self) -> dict[str, Any]:
        """Name and reach."""
        return {"corrector": self.name, "reach": self.reach}


def triangle(reach: float) -> Window:
    """A window whose weights fall linearly to zero at a time to either side, ASE time units."""
    steps = max(2, -int(-reach // TIMESTEP))  # of one alone only the start has a weight
    weights = 1.0 - torch.arange(steps, dtype=torch.float64) / steps
    weights[1:] *= 2.0  # the motion from rest is even in time
    return Window(reach / steps, weights / weights.sum())


def pulled_back(aim: Averaged, residual: Tensor) -> Tensor:
    """A residual at averaged positions, as the force on those that were averaged.

    Parameters
    ----------
    aim : Averaged
    residual : (N, 3) eV/angstrom
        NaN for molecules of which it is not known.

    Returns
    -------
    (N, 3) eV/angstrom
        NaN for molecules whose residual is not known, or whose average has no derivative to speak
        of: one by which the residual would grow more than 30-fold.
    """
    known = residual.isfinite().all(1)
    molecules = torch.ones_like(aim.state.time, dtype=torch.bool)
    unknown = aim.state.batch[~known]
    known = molecules.index_put((unknown,), torch.zeros_like(molecules[:1]))[aim.state.batch]
    residual = residual.masked_fill(~known.unsqueeze(1), 0.0)
    force = aim.pull_back(residual)
    known = known & (_size(force, aim.state) <= GROWTH * _size(residual, aim.state))
    return force.masked_fill(~known.unsqueeze(1), torch.nan)


def _size(force: Tensor, state: PhaseState) -> Tensor:
    """Mass-weighted length of the forces (N, 3) on each atom's molecule, (N,)."""
    squares = (force.square() * inverse_masses(state)).sum(1)
    return torch.zeros_like(state.time).index_add(0, state.batch, squares).sqrt()[state.batch]


def estimate(
    state: PhaseState, inner: Evaluation, aim: Averaged, computed: Evaluation
) -> tuple[Evaluation, Site]:
    r"""Energy and forces of the physics at the positions, from what they are at averaged ones.

    With :math:`D = U_{physics} - U_{potential}`, which is small and smooth:
    :math:`U_{physics}(x) \approx U_{potential}(x) + D(A) + \nabla D(A) \cdot (x - A)` and
    :math:`F_{physics}(x) \approx F_{potential}(x) - \nabla D(A)`. The error is of second order in
    x - A in the energy, and of first order in the forces.

    Parameters
    ----------
    state : PhaseState
    inner : Evaluation
        The potential at its positions.
    aim : Averaged
    computed : Evaluation
        The physics at the averaged positions, with forces.

    Returns
    -------
    Evaluation
    Site
        What has been computed, and where.
    """
    residual = computed.require_forces() - aim.inner.require_forces()
    work = (residual * (state.positions - aim.state.positions)).sum(1)
    linear = torch.zeros_like(inner.energy).index_add(0, state.batch, work)
    energy = inner.energy + (computed.energy - aim.inner.energy)
    estimated = Evaluation(energy - linear, inner.require_forces() + residual, computed.failures)
    return estimated, Site(aim.state.positions, computed, energy)
