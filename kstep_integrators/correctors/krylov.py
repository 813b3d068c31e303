"""Functions of a symmetric matrix times a vector, by products of the matrix with vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["lanczos"]


def _bands(diagonal: list[Tensor], off: list[Tensor]) -> Tensor:
    """Symmetric tridiagonal matrices (B, n, n)."""
    matrix = torch.diag_embed(torch.stack(diagonal, 1))
    if len(diagonal) > 1:
        beside = torch.diag_embed(torch.stack(off[: len(diagonal) - 1], 1), offset=1)
        matrix = matrix + beside + beside.transpose(1, 2)
    return matrix


def lanczos(
    times: Callable[[Tensor], Tensor],
    start: Tensor,
    function: Callable[[Tensor], Tensor],
    tolerance: float = 1e-8,
    every: int = 4,
) -> Tensor:
    r"""f(A) b of B symmetric matrices, from the Krylov space of A and b.

    With the Lanczos basis Q, fully reorthogonalized, and :math:`T = Q^T A Q`:
    :math:`f(A) b \approx |b|\, Q f(T) e_1`. This is a polynomial in A, the near-best one for the
    spectrum and the vector at hand, so that no bounds of the spectrum are needed, and it is exact
    after as many products as A has eigenvalues. Higham, Functions of Matrices, SIAM (2008),
    ch. 13.2, doi:10.1137/1.9780898717778.

    Parameters
    ----------
    times : callable
        (B, D) -> (B, D): the matrices times one vector each.
    start : (B, D)
        b.
    function : callable
        f, of eigenvalues of any shape.
    tolerance : float
        The result has converged when a few more products change it by less, relative to b.
    every : int
        Products between two looks at that change.

    Returns
    -------
    (B, D)
    """
    norm = start.norm(dim=1, keepdim=True)
    basis = [start / torch.where(norm > 0, norm, 1.0)]
    diagonal: list[Tensor] = []
    off: list[Tensor] = []
    before = torch.zeros_like(start[:, :0])
    size = torch.zeros_like(norm)
    while True:
        new = times(basis[-1])
        diagonal.append((new * basis[-1]).sum(1))
        span = torch.stack(basis)
        for _ in range(2):
            new = new - torch.einsum("nb,nbd->bd", torch.einsum("nbd,bd->nb", span, new), span)
        length = new.norm(dim=1, keepdim=True)
        size = torch.maximum(size, torch.maximum(length, diagonal[-1].abs().unsqueeze(1)))
        # What is left is rounding: the space is complete, and the basis goes on with zeros.
        goes_on = length > 1e-12 * size
        complete = len(basis) >= start.shape[1] or not bool(goes_on.any())
        if complete or len(basis) % every == 0:
            values, vectors = torch.linalg.eigh(_bands(diagonal, off))
            parts = (vectors * function(values).unsqueeze(1)) @ vectors[:, 0].unsqueeze(-1)
            now: Tensor = parts.squeeze(-1)
            change = now.clone()
            change[:, : before.shape[1]] -= before
            if complete or float(change.norm(dim=1).max()) < tolerance:
                result: Tensor = norm * torch.einsum("bn,nbd->bd", now, span)
                return result
            before = now
        off.append(torch.where(goes_on, length, 0.0).squeeze(1))
        basis.append(torch.where(goes_on, new / torch.where(goes_on, length, 1.0), 0.0))
