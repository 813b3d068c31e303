r"""Messages of PaiNN with fixed weights, made to be differentiated twice.

A message is :math:`S_i = \sum_j R^1_{ij} a_j` and
:math:`V_i = \sum_j R^2_{ij} b_j u_{ij} + R^3_{ij} c_j`, channel by channel, with filters R that are
functions of a distance. Left to automatic differentiation, a Hessian carries the derivative of
every filter along every vector: N times what the features of the atoms take. With the weights held
fixed, R, R' and R'' are tables, and what depends on the vectors is contracted with them at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["messages"]

Tables = tuple[Tensor, Tensor, Tensor]
"""R, R' and R'', each (B, N, N, 3F)."""


def messages(
    distances: Tensor, unit: Tensor, a: Tensor, b: Tensor, c: Tensor, tables: Tables
) -> tuple[Tensor, Tensor]:
    """Scalar and vector messages to each atom, differentiable twice; the tables are constants.

    Parameters
    ----------
    distances : (B, N, N) angstrom
        Receiver i, sender j. Only its derivatives matter: its values are in the tables.
    unit : (B, N, N, 3)
        Directions from i to j.
    a, b : (B, N, F)
        Of the senders.
    c : (B, N, 3, F)
        Vectors of the senders.
    tables : tuple of three (B, N, N, 3F)
        Filters of a, b and c side by side, with their first and second derivatives.

    Returns
    -------
    scalars : (B, N, F)
    vectors : (B, N, 3, F)
    """
    scalars, vectors = _Messages.apply(  # type: ignore[no-untyped-call]
        distances, unit, a, b, c, *tables
    )
    return scalars, vectors


def _leading(values: tuple[Tensor, ...], dims: tuple[int | None, ...], size: int) -> list[Tensor]:
    """The axis of the vectors in front of each of the values."""
    return [
        value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
        for value, dim in zip(values, dims, strict=True)
    ]


# In what follows n counts vectors, m molecules, i receivers, j senders, x components, f channels.


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(
        distances: Tensor,
        unit: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        filters: Tensor,
        slopes: Tensor,
        curvatures: Tensor,
    ) -> tuple[Tensor, Tensor]:
        to_a, to_b, to_c = filters.chunk(3, -1)
        vectors = torch.einsum("mijf,mijx->mixf", to_b * b.unsqueeze(1), unit)
        return (to_a * a.unsqueeze(1)).sum(2), vectors + torch.einsum("mijf,mjxf->mixf", to_c, c)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        parts = _Backward.apply(*grads, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return (*parts, None, None, None)


class _Backward(torch.autograd.Function):
    """Gradients with respect to distances, directions, a, b and c; linear in its first two."""

    @staticmethod
    def forward(s: Tensor, v: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[0] for part in _backward(s.unsqueeze(0), v.unsqueeze(0), *inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        s, v = _leading(inputs[:2], in_dims[:2], info.batch_size)
        return _backward(s, v, *inputs[2:]), (0,) * 5

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        parts = _Second.apply(*grads, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return (*parts, None, None, None)


class _Second(torch.autograd.Function):
    """Gradients of the gradients; linear in its first five."""

    @staticmethod
    def forward(
        d: Tensor, u: Tensor, a: Tensor, b: Tensor, c: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        grads = [grad.unsqueeze(0) for grad in (d, u, a, b, c)]
        return tuple(part[0] for part in _second(*grads, *inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
        """Nothing is kept: there is no third derivative."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        grads = _leading(inputs[:5], in_dims[:5], info.batch_size)
        return _second(*grads, *inputs[5:]), (0,) * 7


def _backward(
    s: Tensor,
    v: Tensor,
    distances: Tensor,
    unit: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    filters: Tensor,
    slopes: Tensor,
    curvatures: Tensor,
) -> tuple[Tensor, ...]:
    to_a, to_b, to_c = filters.chunk(3, -1)
    slope_a, slope_b, slope_c = slopes.chunk(3, -1)
    senders_b = b.unsqueeze(1)
    along = unit.unsqueeze(-1)
    change = (slope_b * senders_b).unsqueeze(3) * along + slope_c.unsqueeze(3) * c.unsqueeze(1)
    return (
        torch.einsum("mijf,nmif->nmij", slope_a * a.unsqueeze(1), s)
        + torch.einsum("mijxf,nmixf->nmij", change, v),
        torch.einsum("mijf,nmixf->nmijx", to_b * senders_b, v),
        torch.einsum("mijf,nmif->nmjf", to_a, s),
        torch.einsum("mijxf,nmixf->nmjf", to_b.unsqueeze(3) * along, v),
        torch.einsum("mijf,nmixf->nmjxf", to_c, v),
    )


def _second(
    grad_d: Tensor,
    grad_u: Tensor,
    grad_a: Tensor,
    grad_b: Tensor,
    grad_c: Tensor,
    s: Tensor,
    v: Tensor,
    distances: Tensor,
    unit: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    filters: Tensor,
    slopes: Tensor,
    curvatures: Tensor,
) -> tuple[Tensor, ...]:
    sums = torch.einsum
    to_a, to_b, to_c = filters.chunk(3, -1)
    slope_a, slope_b, slope_c = slopes.chunk(3, -1)
    curve_a, curve_b, curve_c = curvatures.chunk(3, -1)
    senders_a, senders_b, senders_c = a.unsqueeze(1), b.unsqueeze(1), c.unsqueeze(1)
    receivers_s, receivers_v = s.unsqueeze(2), v.unsqueeze(2)
    along = unit.unsqueeze(-1)
    v_along = (along * receivers_v).sum(3)
    b_change = slope_b * senders_b
    change = b_change.unsqueeze(3) * along + slope_c.unsqueeze(3) * senders_c
    to_b_v = to_b.unsqueeze(3) * receivers_v
    slope_s, slope_v = slope_a * receivers_s, slope_b * v_along
    slope_c_v = slope_c.unsqueeze(3) * receivers_v
    turning = sums("mijf,mixf->mijx", b_change, v)
    curvature = (
        curve_a * senders_a * receivers_s
        + curve_b * senders_b * v_along
        + curve_c * (senders_c * receivers_v).sum(3)
    ).sum(-1)
    return (
        sums("mijf,nmjf->nmif", to_a, grad_a)
        + sums("nmij,mijf->nmif", grad_d, slope_a * senders_a),
        sums("mijxf,nmjf->nmixf", to_b.unsqueeze(3) * along, grad_b)
        + sums("mijf,nmjxf->nmixf", to_c, grad_c)
        + sums("nmij,mijxf->nmixf", grad_d, change)
        + sums("nmijx,mijf->nmixf", grad_u, to_b * senders_b),
        sums("nmjf,mijf->nmij", grad_a, slope_s)
        + sums("nmjf,mijf->nmij", grad_b, slope_v)
        + sums("nmjxf,mijxf->nmij", grad_c, slope_c_v)
        + grad_d * curvature
        + (grad_u * turning).sum(-1),
        sums("nmjf,mijxf->nmijx", grad_b, to_b_v) + grad_d.unsqueeze(-1) * turning,
        sums("nmij,mijf->nmjf", grad_d, slope_s),
        sums("nmij,mijf->nmjf", grad_d, slope_v) + sums("nmijx,mijxf->nmjf", grad_u, to_b_v),
        sums("nmij,mijxf->nmjxf", grad_d, slope_c_v),
    )
