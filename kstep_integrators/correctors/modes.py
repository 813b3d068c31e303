r"""Functions of the mass-weighted Hessian of a potential, applied to a force.

With :math:`A = P M^{-1/2} H M^{-1/2} P = U \omega^2 U^T` and P the projector on what is not a rigid
motion: :math:`M^{1/2} P\,U f(\omega h) U^T P\,M^{-1/2} F`. The Hessian is never needed but as what
it makes of vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.correctors.krylov import lanczos
from kstep_integrators.mechanics.padding import Padding, make_padding
from kstep_integrators.mechanics.rigid_motions import rigid_motions
from kstep_integrators.state import EvaluationFailed, HessianProducts, PhaseState

__all__ = ["MassWeighted", "filtered", "mass_weighted"]


@dataclass(frozen=True)
class MassWeighted:
    """Mass-weighted coordinates of B molecules of at most M atoms, and the Hessian in them.

    Attributes
    ----------
    products : callable
        The Hessian times vectors.
    padding : Padding
    weights : (N, 1) float64
        1 / sqrt(mass), u^-1/2; 0 for fixed atoms.
    rigid : (B, 3M, C) float64
        Rigid motions, orthonormal.
    """

    products: HessianProducts
    padding: Padding
    weights: Tensor
    rigid: Tensor

    def wide(self, values: Tensor) -> Tensor:
        """Mass-weighted (n, N, 3) as rows of molecules, (n, B, 3M)."""
        padded = self.padding.pad((self.weights * values).movedim(0, 1))
        return padded.movedim(2, 0).flatten(2)

    def narrow(self, rows: Tensor) -> Tensor:
        """(n, B, 3M) as (n, N, 3)."""
        padded = rows.unflatten(2, (-1, 3)).movedim(0, 2)
        return self.padding.flat(padded).movedim(1, 0)

    def project(self, rows: Tensor) -> Tensor:
        """Take rigid motions out of (n, B, 3M)."""
        parts = torch.einsum("bdc,nbd->nbc", self.rigid, rows)
        return rows - torch.einsum("bdc,nbc->nbd", self.rigid, parts)

    def hessian_times(self, rows: Tensor) -> Tensor:
        """M^-1/2 H M^-1/2 times each of (n, B, 3M)."""
        return self.wide(self.products(self.weights * self.narrow(rows)))

    def dense(self) -> Tensor:
        """The Hessian of every molecule without rigid motions, (B, 3M, 3M), 1 / ASE time^2.

        One product for each coordinate that moves, of all molecules at once.
        """
        molecules, width = self.rigid.shape[:2]
        moves = self.wide(self.weights.new_ones(1, len(self.weights), 3))[0] != 0
        columns = moves.any(0)
        identity = torch.eye(width, dtype=self.weights.dtype, device=self.weights.device)
        rows = self.hessian_times(identity[columns].unsqueeze(1).expand(-1, molecules, -1))
        matrix = self.weights.new_zeros(molecules, width, width)
        matrix[:, columns] = rows.transpose(0, 1)
        matrix = 0.5 * (matrix + matrix.transpose(1, 2))
        projector = identity - self.rigid @ self.rigid.transpose(1, 2)
        inner: Tensor = projector @ matrix @ projector
        return inner


def mass_weighted(products: HessianProducts, state: PhaseState) -> MassWeighted:
    """The Hessian at a state in mass-weighted coordinates, its constraints kept.

    Parameters
    ----------
    products : callable
        The Hessian of the potential at the positions of the state.
    state : PhaseState
    """
    padding = make_padding(state.batch)
    weights = state.masses.rsqrt()
    if state.mobile is not None:
        weights = weights * state.mobile
    return MassWeighted(products, padding, weights, rigid_motions(state, padding))


def filtered(
    products: HessianProducts,
    state: PhaseState,
    force: Tensor,
    function: Callable[[Tensor], Tensor],
    dense_limit: int,
) -> Tensor:
    """The force with a function of the Hessian's eigenvalues applied to its modes.

    It depends on positions only, and has no component along rigid motions: no net force, no net
    torque.

    Parameters
    ----------
    products : callable
        The Hessian of the potential at the positions of the state.
    state : PhaseState
    force : (N, 3) eV/angstrom
    function : callable
        Of the squared frequencies w^2, 1 / ASE time^2; negative for imaginary frequencies.
    dense_limit : int
        Molecules of more atoms take a Krylov space in place of all eigenvectors.

    Returns
    -------
    (N, 3) eV/angstrom
        Zero for fixed atoms; NaN for molecules whose force or Hessian is not finite.

    Raises
    ------
    EvaluationFailed
        If the Hessian cannot be computed, or is finite for none of the molecules.
    """
    space = mass_weighted(products, state)
    start = space.project(space.wide(force.unsqueeze(0)))[0]
    known = start.isfinite().all(1)  # not those that are not evaluated, for example
    start = start.masked_fill(~known.unsqueeze(1), 0.0)
    sound = torch.ones_like(known)

    def finite(values: Tensor) -> Tensor:
        """Values of (B, ...), zero for the molecules where they are not all finite."""
        nonlocal sound
        now = values.flatten(1).isfinite().all(1)
        sound = sound & now
        return torch.where(now.view(-1, *[1] * (values.dim() - 1)), values, 0.0)

    if space.padding.shape[1] <= dense_limit:
        squares, modes = torch.linalg.eigh(finite(space.dense()))
        parts = torch.einsum("bdm,bd->bm", modes, start)
        result = torch.einsum("bdm,bm->bd", modes, function(squares) * parts)
    else:

        def times(rows: Tensor) -> Tensor:
            product = space.hessian_times(space.project(rows.unsqueeze(0)))
            return finite(space.project(product)[0])

        result = lanczos(times, start, function)
    if not bool(sound.any()):
        raise EvaluationFailed("the Hessian of the potential is not finite")
    result = result.masked_fill(~(sound & known).unsqueeze(1), math.nan)
    acceleration = space.narrow(space.project(result.unsqueeze(0)))[0]
    moved = acceleration * state.masses.sqrt()
    return moved if state.mobile is None else moved * state.mobile
