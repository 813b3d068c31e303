"""Sum of potentials, each of all atoms or of some: a network for a solute in a force field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kstep_integrators.arguments import SetOnce, positive_number, whole_numbers
from kstep_integrators.calculators.electrons import without_electrons
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.virial import potential_virial
from kstep_integrators.state import (
    BoundPotential,
    Evaluation,
    HessianProducts,
    PhaseState,
    Reasons,
)

__all__ = ["SumPotential", "some_atoms"]


@dataclass(frozen=True)
class _Part:
    """One term, bound to its atoms.

    Attributes
    ----------
    forces : BoundPotential
    atoms : (n,) int64 Tensor or None
        Which of all atoms they are; None for all.
    device : torch.device
    """

    forces: BoundPotential
    atoms: Tensor | None
    device: torch.device

    def of(self, values: Tensor, dim: int = 0) -> Tensor:
        """Rows (along ``dim``) of the atoms of this term, where it is computed."""
        mine = values if self.atoms is None else values.index_select(dim, self.atoms)
        return mine.to(self.device)

    def add(self, total: Tensor, values: Tensor, dim: int = 0) -> Tensor:
        """A sum over all atoms with the values of this term's atoms added."""
        values = values.to(total.device)
        return total + values if self.atoms is None else total.index_add(dim, self.atoms, values)


class _BoundSum:
    """A sum for one set of atoms."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.parts = parts

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        energies: list[Tensor] = []
        forces = torch.zeros_like(positions)
        failures: Reasons = {}
        workspaces = []
        for part, before in zip(self.parts, workspace or [None] * len(self.parts), strict=True):
            one, after = part.forces(part.of(positions), before)
            workspaces.append(after)
            failures = {**one.failures, **failures}
            energies.append(one.energy.to(positions.device))
            forces = part.add(forces, one.require_forces())
        return Evaluation(torch.stack(energies).sum(0), forces, failures), workspaces

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The sum of the Hessians."""
        products = [part.forces.linearized(part.of(positions)) for part in self.parts]

        def product(vectors: Tensor) -> Tensor:
            total = torch.zeros_like(vectors)
            for part, one in zip(self.parts, products, strict=True):
                total = part.add(total, one(part.of(vectors, dim=1)), dim=1)
            return total

        return product


class SumPotential(SetOnce):
    """Sum of potentials, each of all atoms or of some.

    A flow on it moves all atoms together, and is as symplectic and reversible as on one potential.
    With a network for a solute and a force field for the rest, and for what passes between them,
    the physics may be QM/MM: the force field then cancels in the correction, and what is left acts
    on the solute alone.

    Parameters
    ----------
    *parts : Potential or (Potential, sequence of int)
        Potentials, with the atoms that each is a function of; all, if none are named. Counted
        within each molecule of an ensemble. Nothing is left out of any of them: a force field
        beside a network must not hold the inner energy of the network's atoms.
        A calculator of some of the atoms has its charge and spin from its arguments or from their
        initial charges and moments: those in ``atoms.info`` are of the whole.
    timestep : float, optional
        Base step, ASE time units; the shortest of the parts' by default.

    Raises
    ------
    ValueError
        If there are no parts, or atoms are negative or named twice, or the timestep is not
        positive.
    TypeError
        If a part is no potential, atoms are no whole numbers, or the timestep is no number.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, SumPotential
    >>> base = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.1))
    >>> solute = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.01))
    >>> both = SumPotential(base, (solute, [0, 1, 2]))
    >>> [part["atoms"] for part in both.describe()["sum"]]
    [None, [0, 1, 2]]
    """

    def __init__(
        self, *parts: Potential | tuple[Potential, Sequence[int]], timestep: float | None = None
    ) -> None:
        if not parts:
            raise ValueError("SumPotential() has no parts; pass at least one potential")
        self.parts: tuple[tuple[Potential, tuple[int, ...] | None], ...] = tuple(
            map(_checked, parts)
        )
        shortest = min(potential.timestep for potential, _ in self.parts)
        self._timestep = (
            shortest
            if timestep is None
            else positive_number("timestep", timestep, "base step in ASE time units")
        )

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self._timestep

    @property
    def device(self) -> torch.device:
        """Device of the first part; positions go to the others and forces come back."""
        return self.parts[0][0].device

    def to(self, device: torch.device | str) -> SumPotential:
        """The same sum with its parts on another device, as far as they can go there."""
        moved = [
            part.to(device) if atoms is None else (part.to(device), atoms)
            for part, atoms in self.parts
        ]
        return SumPotential(*moved, timestep=self._timestep)

    def describe(self) -> dict[str, Any]:
        """Description and atoms of each part."""
        return {
            "sum": [
                {**part.describe(), "atoms": None if atoms is None else list(atoms)}
                for part, atoms in self.parts
            ]
        }

    def bind(self, state: PhaseState) -> BoundPotential:
        """Bind each part to its atoms.

        Raises
        ------
        ValueError
            If a part does not cover its atoms, or there are no such atoms.
        """
        bound = []
        for potential, mine, index in self._of(state):
            where = None if index is None else index.to(self.device)
            bound.append(_Part(potential.bind(mine), where, potential.device))
        return _BoundSum(bound)

    def virial(self, state: PhaseState) -> Tensor:
        """The sum of those of the parts, each its own where it has one, (6,) eV."""
        every = [potential_virial(potential, mine) for potential, mine, _ in self._of(state)]
        return torch.stack(every).sum(0)

    def _of(self, state: PhaseState) -> Iterator[tuple[Potential, PhaseState, Tensor | None]]:
        """Each part with the state of its atoms, and which of all they are; None for all."""
        for potential, atoms in self.parts:
            index = None if atoms is None else _index(state, atoms)
            yield potential, state if index is None else some_atoms(state, index), index


def _checked(part: object) -> tuple[Potential, tuple[int, ...] | None]:
    """A potential, and the atoms that it is a function of."""
    pair = part if isinstance(part, tuple) else (part, None)
    potential, atoms = pair if len(pair) == 2 else (pair, None)
    if isinstance(potential, type) or not isinstance(potential, Potential):
        raise TypeError(
            f"a part is {part!r}, expected a potential such as load_model(...) or "
            "CalculatorPotential(calculator), or a pair of one and the atoms that it is of"
        )
    if not isinstance(part, tuple):
        return potential, None
    chosen = whole_numbers("the atoms of a part", atoms, "at least one index, from 0 on")
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"the atoms of a part are {list(chosen)}, expected at least one index, from 0 on, and "
            "none of them twice"
        )
    return potential, chosen


def _index(state: PhaseState, atoms: tuple[int, ...]) -> Tensor:
    """The atoms of each molecule among those of all, (n,) int64."""
    sizes = torch.bincount(state.batch)
    if int(sizes.min()) <= max(atoms):
        raise ValueError(
            f"a part has atom {max(atoms)}, but a molecule of the state has {int(sizes.min())} "
            "atoms, counted from 0"
        )
    starts = sizes.cumsum(0) - sizes
    return (starts.unsqueeze(1) + torch.tensor(atoms).to(starts).unsqueeze(0)).flatten()


def some_atoms(state: PhaseState, index: Tensor) -> PhaseState:
    """Some of the atoms of a state, without constraints: they are no matter of a potential.

    Parameters
    ----------
    state : PhaseState
    index : (n,) int64
        Ascending by molecule.
    """
    return state.replace(
        numbers=state.numbers[index],
        masses=state.masses[index],
        positions=state.positions[index],
        momenta=state.momenta[index],
        batch=state.batch[index],
        mobile=None if state.mobile is None else state.mobile[index],
        bonds=None,
        bond_lengths=None,
        bond_offsets=None,
        templates=_parts(state, index),
    )


def _parts(state: PhaseState, index: Tensor) -> tuple[Any, ...] | None:
    """Some of the atoms of each template; charge and spin of the whole are not those of a part."""
    if state.templates is None:
        return None
    sizes = torch.bincount(state.batch)
    of = state.batch[index]
    local = index - (sizes.cumsum(0) - sizes)[of]
    parts = []
    for molecule, whole in enumerate(state.templates):
        mine = local[of == molecule].tolist()
        part = whole[mine]
        if len(mine) < len(whole):
            part.info = without_electrons(whole.info)
        parts.append(part)
    return tuple(parts)
