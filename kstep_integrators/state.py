"""The state of a run: frozen, float64, one or many molecules in one flat set of atoms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from kstep_integrators.fields import (
    ATOM,
    ATOM_INDEX,
    GLOBAL,
    MOLECULE,
    MOLECULE_INDEX,
    OF_ATOMS,
    PARTS,
    Layout,
    derived,
    replaced,
    scoped,
    to_device,
    where,
)

__all__ = [
    "BoundPotential",
    "Correction",
    "Evaluation",
    "EvaluationFailed",
    "FlowPotential",
    "Forces",
    "HessianProducts",
    "PhasePoint",
    "PhaseState",
    "Reasons",
    "Site",
    "inverse_masses",
    "kinetic_energy",
    "mask_of",
    "no_evaluation",
    "residual_of",
    "velocities",
]


@dataclass(frozen=True)
class PhaseState:
    """Positions, momenta and what they belong to.

    Molecules or replicas are concatenated along the atom axis; ``batch`` says which molecule an
    atom is in. Fields are never written in place: a step returns a new state. Each field declares
    its scope (:mod:`kstep_integrators.fields`).

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
    cell : (B, 3, 3) float64, angstrom
        Cell vectors of each molecule as rows.
    time : (B,) float64
        ASE time units, of each molecule: strides really travelled.
    pbc : (bool, bool, bool)
        Periodic directions, of all molecules alike.
    fix_com : bool
        Whether the centre of mass of each molecule is held at rest.
    bonds : (C, 2) int64 or None
        Atoms whose distances are fixed; None if none are.
    bond_lengths : (C,) float64, angstrom, or None
        Their distances.
    bond_offsets : (C, 3) float64, angstrom, or None
        Cell vectors from the second atom of each bond to the image of it that the first is bound
        to; zero where a molecule is whole. None in open space.
    bath_kelvin : (B,) float64 or None
        Temperature of the heat bath of each molecule, where they differ; None: all have that of
        the thermostat.
    templates : tuple of ase.Atoms or None
        All else that the molecules are, for calculators: charges, moments, tags, info. Never in a
        file: a checkpoint has the atoms themselves.
    """

    numbers: Tensor = scoped(ATOM, fixed=True)
    masses: Tensor = scoped(ATOM, fixed=True)
    positions: Tensor = scoped(ATOM)
    momenta: Tensor = scoped(ATOM)
    batch: Tensor = scoped(MOLECULE_INDEX, fixed=True)
    mobile: Tensor | None = scoped(ATOM, fixed=True, missing=1.0)
    cell: Tensor = scoped(MOLECULE, fixed=True)
    time: Tensor = scoped(MOLECULE)
    pbc: tuple[bool, bool, bool] = scoped(GLOBAL, fixed=True, default=(False, False, False))
    fix_com: bool = scoped(GLOBAL, fixed=True, default=False)
    bonds: Tensor | None = scoped(ATOM_INDEX, fixed=True, optional=True, default=None)
    bond_lengths: Tensor | None = scoped(OF_ATOMS, fixed=True, default=None)
    bond_offsets: Tensor | None = scoped(OF_ATOMS, fixed=True, default=None)
    bath_kelvin: Tensor | None = scoped(MOLECULE, fixed=True, default=None)
    templates: tuple[Any, ...] | None = scoped(MOLECULE, fixed=True, default=None, in_files=False)

    @property
    def n_molecules(self) -> int:
        """Number of molecules or replicas."""
        return len(self.time)

    def replace(self, **changes: Any) -> PhaseState:
        """A copy with some fields replaced."""
        return replaced(self, **changes)

    def to(self, device: torch.device) -> PhaseState:
        """The same state on another device; itself if it is there already."""
        return self if self.positions.device == device else to_device(self, device)


class EvaluationFailed(RuntimeError):
    """A calculator raised an error or returned something that is not a number."""


Reasons = dict[int, str]
"""Problems of some of the molecules of a state: index to text."""


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

    energy: Tensor = scoped(MOLECULE)
    forces: Tensor | None = scoped(ATOM)
    failures: Reasons = scoped(MOLECULE, default=dict)

    def require_forces(self) -> Tensor:
        """The forces, or a ValueError if only the energy was computed."""
        if self.forces is None:
            raise ValueError("forces are needed here, but this evaluation computed the energy only")
        return self.forces

    def to(self, device: torch.device) -> Evaluation:
        """The same evaluation on another device."""
        return to_device(self, device)


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

    force: Tensor | None = scoped(ATOM)
    stride: float = scoped(GLOBAL)


@dataclass(frozen=True)
class Site:
    """Averaged positions near those of a point, where its physics has been computed.

    Attributes
    ----------
    positions : (N, 3) float64, angstrom
        Those of the point itself for molecules whose physics has been computed there.
    physics : Evaluation
        The physics at them.
    energy : (B,) float64, eV
        Potential energy at the point of which a corrected flow is the motion, V(x) + D(A(x)): the
        potential, and what the physics is above it at the averaged positions.
    """

    positions: Tensor = scoped(ATOM)
    physics: Evaluation = scoped(PARTS)
    energy: Tensor = scoped(MOLECULE)


@dataclass(frozen=True)
class PhasePoint:
    """A state with what is known at its positions, so that nothing is computed twice.

    Attributes
    ----------
    state : PhaseState
    physics : Evaluation
        As it has been computed there; estimated, where ``site`` says that it has been elsewhere.
    inner : Evaluation or None
        The potential of the jump; None if it has none or it is not known yet.
    correction : Correction or None
        What the corrector made of both; None if it is not known yet.
    halvings : tuple of B int, or None
        How often the stride of each molecule is halved at present, under ``on_error="shrink"``;
        None if that was never asked.
    calm : tuple of B int, or None
        Steps since then that gave no cause for it.
    site : Site or None
        Where the physics has been computed, if not at the positions of every molecule.
    """

    state: PhaseState = scoped(PARTS)
    physics: Evaluation = scoped(PARTS)
    inner: Evaluation | None = scoped(PARTS)
    correction: Correction | None = scoped(PARTS, default=None)
    halvings: tuple[int, ...] | None = scoped(MOLECULE, default=None)
    calm: tuple[int, ...] | None = scoped(MOLECULE, default=None)
    site: Site | None = scoped(PARTS, default=None)

    @property
    def computed(self) -> Evaluation:
        """The last evaluation of the physics, wherever it was made."""
        return self.physics if self.site is None else self.site.physics

    @property
    def computed_at(self) -> PhaseState:
        """The state with the positions of that evaluation."""
        return (
            self.state if self.site is None else self.state.replace(positions=self.site.positions)
        )

    @property
    def estimated(self) -> Tensor:
        """(B,) bool: molecules whose physics is an estimate from averaged positions."""
        none = torch.zeros_like(self.physics.energy, dtype=torch.bool)
        if self.site is None:
            return none
        elsewhere = (self.site.positions != self.state.positions).any(1)
        return none.index_put((self.state.batch[elsewhere],), torch.ones_like(none[:1]))

    @property
    def potential_energy(self) -> Tensor:
        """(B,) eV, which together with the kinetic energy the motion conserves."""
        return self.physics.energy if self.site is None else self.site.energy

    def to(self, device: torch.device) -> PhasePoint:
        """The same on another device."""
        return to_device(self, device)

    def where(self, molecules: Tensor, other: PhasePoint) -> PhasePoint:
        """Choose: this point for the molecules of a mask (B,) bool, another for the rest."""
        one = self
        if (one.site is None) != (other.site is None):
            one, other = one._with_site(), other._with_site()
        return where(Layout(molecules, self.state.batch), one, other)

    def _with_site(self) -> PhasePoint:
        """The same point, and that its physics has been computed at its positions."""
        if self.site is not None:
            return self
        here = Site(self.state.positions, self.physics, self.physics.energy)
        return replaced(self, site=here)


Forces = Callable[[Tensor, Any], tuple[Evaluation, Any]]
"""(positions (N, 3), workspace) -> (evaluation, workspace): forces for one fixed set of atoms.

The workspace (None at first) is what a potential keeps from one inner step to the next, such as a
neighbour list; the numbers do not depend on it."""

HessianProducts = Callable[[Tensor], Tensor]
"""Vectors (n, N, 3) angstrom -> (n, N, 3) eV/angstrom: the Hessian at one geometry times each."""


class BoundPotential(Protocol):
    """A potential for one fixed set of atoms: :data:`Forces`, and their derivatives."""

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, Any]:
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


class FlowPotential(BoundPotential, Protocol):
    """A bound potential that takes the steps of a flow itself, all of a jump in one call.

    A flow jump asks it in place of its forces where nothing is constrained but atoms that do not
    move: no fixed bonds, no centre of mass held at rest. It is known by its method ``flow``.
    """

    def flow(
        self, state: PhaseState, start: Evaluation, timestep: float, k: int
    ) -> tuple[PhaseState, Evaluation]:
        """k steps of velocity Verlet.

        The same positions, momenta, time, energy and forces as of
        :func:`~kstep_integrators.mechanics.verlet.verlet_flow` but for rounding: fixed atoms keep
        no momentum, a molecule whose positions are not finite harms no other. Nothing that is
        returned changes later.

        Parameters
        ----------
        state : PhaseState
            On the device of the potential, of the atoms it is bound to; ``bonds`` is None and
            ``fix_com`` False. Masses and fixed atoms may be other ones in each call.
        start : Evaluation
            This potential at ``state.positions``, with forces.
        timestep : float
            ASE time units.
        k : int
            At least 1.

        Returns
        -------
        state : PhaseState
            k timesteps later.
        end : Evaluation
            The potential there, with forces.
        """
        ...


def mask_of(molecules: Iterable[int], like: Tensor) -> Tensor:
    """(B,) bool, true for some of the molecules; on the device of ``like`` (B,)."""
    mask = torch.zeros(len(like), dtype=torch.bool)
    mask[list(molecules)] = True
    return mask.to(like.device)


def no_evaluation(state: PhaseState, failures: Reasons | None = None) -> Evaluation:
    """An evaluation in which nothing is known: NaN for every molecule, and why."""
    unknown = torch.full_like(state.time, math.nan)
    return Evaluation(unknown, torch.full_like(state.positions, math.nan), failures or {})


def residual_of(physics: Evaluation, potential: Evaluation | None) -> Tensor | None:
    """F_physics - F_potential at one geometry, (N, 3) eV/angstrom; None if either is unknown."""
    if potential is None or potential.forces is None or physics.forces is None:
        return None
    return physics.forces - potential.forces


def velocities(state: PhaseState) -> Tensor:
    """Velocities, (N, 3) angstrom / ASE time."""
    return state.momenta / state.masses


def inverse_masses(state: PhaseState) -> Tensor:
    """1 / mass, (N, 1) 1/u; zero for fixed atoms."""
    return 1.0 / state.masses if state.mobile is None else state.mobile / state.masses


def kinetic_energy(state: PhaseState) -> Tensor:
    """Kinetic energy of each molecule, (B,) eV."""
    energy: Tensor = derived(state, "kinetic energy", _kinetic_energy)
    return energy


def _kinetic_energy(state: PhaseState) -> Tensor:
    doubled: Tensor = derived(state, "2 m", lambda state: 2.0 * state.masses, lasting=True)
    per_atom = (state.momenta.square() / doubled).sum(1)
    total = torch.zeros(state.n_molecules, dtype=per_atom.dtype, device=per_atom.device)
    return total.index_add(0, state.batch, per_atom)
