"""The state of a run: frozen, float64, one or many molecules in one flat set of atoms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = [
    "BoundPotential",
    "Carry",
    "Correction",
    "Evaluation",
    "EvaluationFailed",
    "Forces",
    "HessianProducts",
    "PhaseState",
    "Reasons",
    "inverse_masses",
    "kinetic_energy",
    "mask_of",
    "velocities",
]


@dataclass(frozen=True)
class PhaseState:
    """Positions, momenta and what they belong to.

    Molecules or replicas are concatenated along the atom axis; ``batch`` says which molecule an
    atom is in. Fields are never written in place: a step returns a new state.

    Attributes
    ----------
    numbers : (N,) int64
        Atomic numbers.
    masses : (N, 1) float64, u
    positions : (N, 3) float64, angstrom
    momenta : (N, 3) float64, u angstrom / ASE time
    batch : (N,) int64
        Index of the molecule each atom belongs to, ascending from 0.
    mobile : (N, 1) float64 or None
        1 for atoms that move, 0 for fixed ones, which take no momentum; None if all move.
    fix_com : bool
        Whether the centre of mass of each molecule is held at rest.
    cell : (3, 3) float64, angstrom
    pbc : (bool, bool, bool)
    time : (B,) float64
        ASE time units, of each molecule: strides really travelled.
    bonds : (C, 2) int64 or None
        Atoms whose distances are fixed; None if none are.
    bond_lengths : (C,) float64, angstrom, or None
        Their distances.
    """

    numbers: Tensor
    masses: Tensor
    positions: Tensor
    momenta: Tensor
    batch: Tensor
    mobile: Tensor | None
    cell: Tensor
    time: Tensor
    pbc: tuple[bool, bool, bool] = (False, False, False)
    fix_com: bool = False
    bonds: Tensor | None = None
    bond_lengths: Tensor | None = None

    @property
    def n_molecules(self) -> int:
        """Number of molecules or replicas."""
        return int(self.batch[-1]) + 1

    def replace(self, **changes: Any) -> PhaseState:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device) -> PhaseState:
        """The same state on another device; itself if it is there already."""
        if self.positions.device == device:
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return self.replace(**{name: value.to(device) for name, value in tensors.items()})


class EvaluationFailed(RuntimeError):
    """A calculator raised an error or returned something that is not a number."""


Reasons = dict[int, str]
"""What is the matter with some of the molecules of a state: index to words."""


@dataclass(frozen=True)
class Evaluation:
    """Energies and forces at one geometry.

    Attributes
    ----------
    energy : (B,) float64, eV
        Potential energy of each molecule.
    forces : (N, 3) float64, eV/angstrom, or None
        None if only the energy was computed.
    failures : dict of int to str
        Molecules that have no energy or force, and why; their numbers are NaN.
    """

    energy: Tensor
    forces: Tensor | None
    failures: Reasons = field(default_factory=dict)

    def require_forces(self) -> Tensor:
        """The forces, or a ValueError if only the energy was computed."""
        if self.forces is None:
            raise ValueError("forces are needed here, but this evaluation computed the energy only")
        return self.forces

    def to(self, device: torch.device) -> Evaluation:
        """The same evaluation on another device."""
        forces = None if self.forces is None else self.forces.to(device)
        return Evaluation(self.energy.to(device), forces, self.failures)


@dataclass(frozen=True)
class Correction:
    """The force that corrects a jump at one geometry, for the jumps that end and begin there.

    Attributes
    ----------
    force : (N, 3) Tensor, eV/angstrom, or None
        None if nothing is corrected.
    stride : float
        That it is meant for, ASE time units.
    """

    force: Tensor | None
    stride: float

    def to(self, device: torch.device) -> Correction:
        """The same correction on another device."""
        return Correction(None if self.force is None else self.force.to(device), self.stride)


@dataclass(frozen=True)
class Carry:
    """A state with what is known at its positions, so that nothing is computed twice.

    Attributes
    ----------
    state : PhaseState
    physics : Evaluation
    inner : Evaluation or None
        The potential of the jump; None if it has none or it is not known yet.
    correction : Correction or None
        What the corrector made of both; None if it is not known yet.
    halvings : int
        How often the stride is halved at present, under ``on_error="shrink"``.
    calm : int
        Steps since then that gave no cause for it.
    """

    state: PhaseState
    physics: Evaluation
    inner: Evaluation | None
    correction: Correction | None = None
    halvings: int = 0
    calm: int = 0

    def to(self, device: torch.device) -> Carry:
        """The same on another device."""
        return dataclasses.replace(
            self,
            state=self.state.to(device),
            physics=self.physics.to(device),
            inner=None if self.inner is None else self.inner.to(device),
            correction=None if self.correction is None else self.correction.to(device),
        )


Forces = Callable[[Tensor, Any], tuple[Evaluation, Any]]
"""(positions (N, 3), carry) -> (evaluation, carry): forces for one fixed set of atoms.

The carry (None at first) is what a potential brings along from one inner step to the next, such as
a neighbour list; the numbers do not depend on it."""

HessianProducts = Callable[[Tensor], Tensor]
"""Vectors (n, N, 3) angstrom -> (n, N, 3) eV/angstrom: the Hessian at one geometry times each."""


class BoundPotential(Protocol):
    """A potential for one fixed set of atoms: :data:`Forces`, and their derivatives."""

    def __call__(self, positions: Tensor, carry: Any) -> tuple[Evaluation, Any]:
        """Energy and forces."""
        ...

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian at positions (N, 3), as what it makes of vectors.

        Raises
        ------
        EvaluationFailed
            There or when it is applied, if it cannot be computed.
        """
        ...


def mask_of(molecules: Iterable[int], like: Tensor) -> Tensor:
    """(B,) bool, true for some of the molecules; on the device of ``like`` (B,)."""
    mask = torch.zeros(len(like), dtype=torch.bool)
    mask[list(molecules)] = True
    return mask.to(like.device)


def velocities(state: PhaseState) -> Tensor:
    """Velocities, (N, 3) angstrom / ASE time."""
    return state.momenta / state.masses


def inverse_masses(state: PhaseState) -> Tensor:
    """1 / mass, (N, 1) 1/u; zero for fixed atoms."""
    return 1.0 / state.masses if state.mobile is None else state.mobile / state.masses


def kinetic_energy(state: PhaseState) -> Tensor:
    """Kinetic energy of each molecule, (B,) eV."""
    per_atom = (state.momenta.square() / (2.0 * state.masses)).sum(1)
    total = torch.zeros(state.n_molecules, dtype=per_atom.dtype, device=per_atom.device)
    return total.index_add(0, state.batch, per_atom)
