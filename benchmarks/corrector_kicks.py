"""Kicks for long strides that the package does not have, for `benchmarks.correctors`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ase import Atoms, units
from ase.data import covalent_radii
from torch import Tensor

from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import Corrector, Filtered, Impulse, NoCorrection
from kstep_integrators.correctors.filters import FILTERS
from kstep_integrators.correctors.modes import filtered
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.state import Correction, Evaluation, PhaseState

FS = units.fs
BASE = 0.5 * FS
SHAPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "quartic": lambda x, c: 1.0 / (1.0 + (x / c) ** 4),
    "octic": lambda x, c: 1.0 / (1.0 + (x / c) ** 8),
    "gauss": lambda x, c: torch.exp(-((x / c) ** 2)),
    "sharp": lambda x, c: 1.0 / (1.0 + (x / c) ** 32),
}
FLOWS = ("mean", "hat", "molly-mean", "molly-hat")


def window(kind: str, k: int) -> Tensor:
    """Weights of the positions after 0, 1, ... base steps."""
    if kind == "mean":
        weights = torch.ones(k + 1, dtype=torch.float64)
        weights[-1] = 0.5
    else:
        weights = 1.0 - torch.arange(2 * k, dtype=torch.float64) / (2 * k)
    weights[0] = 0.5
    return weights / weights.sum()


def without_bonds(state: PhaseState, r: Tensor) -> Tensor:
    """Take out, in mass-weighted coordinates, what changes lengths of bonds of hydrogen.

    Every hydrogen has one bond, to its nearest neighbour.
    """
    n = int((state.batch == 0).sum())
    numbers = state.numbers[:n]
    masses = state.masses[:n]
    x = state.positions.reshape(-1, n, 3)
    distances = torch.cdist(x, x)
    radii = torch.tensor(covalent_radii)[numbers]
    scaled = distances[0] / (radii + radii.unsqueeze(1)) + 9.0 * torch.eye(n)
    hydrogens = torch.nonzero(numbers == 1).flatten()
    bonds = [(int(i), int(scaled[i].argmin())) for i in hydrogens]
    rows = torch.zeros(len(x), len(bonds), n, 3, dtype=torch.float64)
    for row, (i, j) in enumerate(bonds):
        unit = (x[:, i] - x[:, j]) / (x[:, i] - x[:, j]).norm(dim=-1, keepdim=True)
        rows[:, row, i], rows[:, row, j] = unit, -unit
    weighted = (rows / masses.sqrt()).flatten(2)
    wide = (r.reshape(-1, n, 3) / masses.sqrt()).flatten(1)
    gram = weighted @ weighted.mT
    parts = torch.linalg.solve(gram, (weighted @ wide.unsqueeze(-1)))
    left = wide - (weighted.mT @ parts).squeeze(-1)
    return (left.reshape(-1, n, 3) * masses.sqrt()).reshape(-1, 3)


def residual(physics: Evaluation, inner: Evaluation | None) -> Tensor:
    """Of the forces."""
    if inner is None:
        raise ValueError("a corrector of this benchmark needs a flow")
    return physics.require_forces() - inner.require_forces()


class ByModes:
    """A filter that the package does not have."""

    needs_forces = True

    def __init__(self, shape: str) -> None:
        self.name, self.shape = "filtered", shape

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The filtered residual."""
        kind, cutoff = self.shape.split("-")

        def function(squares: Tensor) -> Tensor:
            return SHAPES[kind](stride * squares.clamp(min=0).sqrt(), float(cutoff))

        r = residual(physics, inner)
        return Correction(filtered(jump.linearized(state), state, r, function, 64), stride)


class ByFlow:
    """A_x^T R: the adjoint of an average A along the flow from rest, R at x or at A(x)."""

    needs_forces = True

    def __init__(self, method: str) -> None:
        self.name, self.kind = "filtered", method.split("-")[-1]
        # One more evaluation for each stride: energies at x are for the record alone.
        self.there = xtb_calculator("GFN2-xTB") if method.startswith("molly") else None

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """Positions forward, then the adjoint backward, one Hessian-vector product a step."""
        weights = window(self.kind, round(stride / BASE))
        forces: Any = jump.forces  # type: ignore[attr-defined]
        r, m = residual(physics, inner), state.masses
        path = [state.positions]
        with torch.no_grad():
            f = forces(path[0], None)[0].require_forces()
            path.append(path[0] + 0.5 * BASE**2 * f / m)
            while len(path) < len(weights):
                f = forces(path[-1], None)[0].require_forces()
                path.append(2 * path[-1] - path[-2] + BASE**2 * f / m)
        if self.there is not None:
            mean = sum(weight * x for weight, x in zip(weights, path, strict=True))
            atoms = Atoms(state.numbers.numpy(), positions=mean.numpy(), calculator=self.there)
            with torch.no_grad():
                f = forces(mean, None)[0].require_forces()
            r = torch.from_numpy(atoms.get_forces()) - f
        after, now = torch.zeros_like(r), weights[-1] * r
        for step in range(len(weights) - 2, -1, -1):
            at = state.replace(positions=path[step])
            bent = BASE**2 * jump.linearized(at)((now / m).unsqueeze(0))[0]
            whole = weights[step] * r
            pulled = 2 * now - after - bent if step else now - after - 0.5 * bent
            after, now = now, whole + pulled

        def products(vectors: Tensor) -> Tensor:
            return torch.zeros_like(vectors)

        if self.there is None:
            # No net torque: a filter of one takes nothing else away.
            now = filtered(products, state, now, torch.ones_like, 64)
        return Correction(now, stride)


class Bonds:
    """The residual without what changes bonds of hydrogen."""

    name = "filtered"
    needs_forces = True

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """Without a Hessian."""
        return Correction(without_bonds(state, residual(physics, inner)), stride)


def corrector(method: str) -> Corrector:
    """By the name of a method."""
    if method in ("impulse", "none"):
        return Impulse() if method == "impulse" else NoCorrection()
    if method in FILTERS:
        return Filtered(method)
    if method in FLOWS:
        return ByFlow(method)
    return Bonds() if method == "bonds" else ByModes(method)
