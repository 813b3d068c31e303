"""Energy surfaces of many replicas at once, as physics and as potentials, with known ensembles."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState, no_evaluation

__all__ = [
    "ARGON",
    "EnergyFunction",
    "Surface",
    "double_well",
    "droplet",
    "harmonic",
    "morse",
    "one_atom",
    "polynomial",
    "quartic",
]

EnergyFunction = Callable[[Tensor], Tensor]
"""Positions (B, n, 3) angstrom -> energies (B,) eV."""

KT = units.KB * 300.0
ARGON = (0.0104, 3.4, 39.95)
"""epsilon eV, sigma angstrom, mass u."""
CHUNK = 8


class Surface:
    """A differentiable energy of replicas of one molecule: a physics, and a potential of a flow.

    Parameters
    ----------
    energy : EnergyFunction
    atoms : int
        Of one replica.
    timestep : float
        ASE time units; of a potential.

    Examples
    --------
    >>> surface = Surface(one_atom(quartic), 4)
    >>> surface.evaluate(torch.zeros(8, 3).double(), forces=False).energy
    tensor([0., 0.], dtype=torch.float64)
    """

    device = torch.device("cpu")

    def __init__(self, energy: EnergyFunction, atoms: int, timestep: float = 1.0) -> None:
        self.energy, self.atoms, self.timestep = energy, atoms, timestep
        self.evaluations = 0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        """The physics, of the replicas that need it."""
        began = time.perf_counter()
        if which is None or bool(which.all()):
            evaluation = self.evaluate(state.positions, forces)
        else:
            some = which[state.batch]
            part = self.evaluate(state.positions[some], forces)
            evaluation = no_evaluation(state)
            evaluation.energy[which] = part.energy
            if part.forces is not None:
                evaluation.require_forces()[some] = part.forces
        asked = np.ones(state.n_molecules, np.int64) if which is None else which.cpu().numpy()
        cost = Cost(asked.astype(np.int64), time.perf_counter() - began)
        self.evaluations += int(cost.evaluations.sum())
        return evaluation, cost

    def to(self, device: torch.device | str) -> Surface:
        """The surface itself, which stays on the CPU."""
        return self

    def describe(self) -> dict[str, Any]:
        """The name of the kind."""
        return {"potential": "surface"}

    def bind(self, state: PhaseState) -> _Bound:
        """The forces of any number of replicas."""
        return _Bound(self)

    def _leaf(self, positions: Tensor) -> Tensor:
        return positions.detach().reshape(-1, self.atoms, 3).requires_grad_(True)

    def evaluate(self, positions: Tensor, forces: bool) -> Evaluation:
        """Energies and, if wanted, forces; not counted."""
        if not forces:
            return Evaluation(self.energy(positions.reshape(-1, self.atoms, 3)), None)
        with torch.enable_grad():
            x = self._leaf(positions)
            energy = self.energy(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return Evaluation(energy.detach(), -gradient.reshape(positions.shape))

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian by automatic differentiation."""
        with torch.enable_grad():
            x = self._leaf(positions)
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)

        def products(vectors: Tensor) -> Tensor:
            wide = vectors.reshape(len(vectors), *x.shape)
            # A few at a time stay in the cache of the processor.
            parts = [
                torch.autograd.grad(gradient, x, part, retain_graph=True, is_grads_batched=True)[0]
                for part in wide.split(CHUNK)
            ]
            return torch.cat(parts).reshape(vectors.shape)

        return products


class _Bound:
    """A surface as the force of a flow."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, None]:
        return self.surface.evaluate(positions, True), None

    def linearized(self, positions: Tensor) -> HessianProducts:
        return self.surface.linearized(positions)


def one_atom(field: Callable[[Tensor], Tensor]) -> EnergyFunction:
    """A field (B, 3) -> (B,) eV on the first atom; the others are a frame that is held fixed."""
    return lambda x: field(x[:, 0])


def polynomial(*coefficients: float) -> Callable[[Tensor], Tensor]:
    """The sum over three coordinates of c1 x^2 + c2 x^4 + ..., in units of kT at 300 K."""

    def field(x: Tensor) -> Tensor:
        terms = [c * x ** (2 * i) for i, c in enumerate(coefficients, 1)]
        return KT * torch.stack(terms).sum(0).sum(1)

    return field


quartic = polynomial(0.5, 1.0)
double_well = polynomial(-3.0, 1.5)
"""1.5 kT (x^2 - 1)^2 but for a constant."""


def harmonic(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    """x K x / 2 with K (3, 3) in units of kT/angstrom^2 at 300 K."""
    return lambda x: 0.5 * KT * torch.einsum("bi,ij,bj->b", x, matrix, x)


def _pair_vectors(atoms: int) -> Tensor:
    """Every x_i - x_j as a matrix (pairs, n): its derivatives are faster than those of indices."""
    one = torch.eye(atoms, dtype=torch.float64)
    i, j = torch.triu_indices(atoms, atoms, 1)
    return one[i] - one[j]


def droplet(epsilon: float, sigma: float, container: float, atoms: int = 13) -> EnergyFunction:
    """Lennard-Jones atoms in a harmonic container about the origin.

    Parameters
    ----------
    epsilon, sigma : float
        eV and angstrom.
    container : float
        Force constant on every atom, eV/angstrom^2.
    atoms : int
    """
    vectors = _pair_vectors(atoms)

    def energy(x: Tensor) -> Tensor:
        inverse = sigma**6 / (vectors @ x).square().sum(2) ** 3
        pairs = 4.0 * epsilon * (inverse * (inverse - 1.0)).sum(1)
        return pairs + 0.5 * container * x.square().sum((1, 2))

    return energy


def morse(reference: Tensor, depth: float, width: float = 1.5) -> EnergyFunction:
    """Many replicas of :class:`kstep_integrators.testing.MorseNetwork`.

    Parameters
    ----------
    reference : (n, 3) angstrom
        The geometry of lowest energy.
    depth, width : float
        eV and 1/angstrom.
    """
    vectors = _pair_vectors(len(reference))
    lengths = (vectors @ reference).norm(dim=1)

    def energy(x: Tensor) -> Tensor:
        distances = (vectors @ x).norm(dim=2)
        return depth * (1.0 - torch.exp(-width * (distances - lengths))).square().sum(1)

    return energy
