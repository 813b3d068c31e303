"""The particles of a System as atoms, and numbers through the door in either direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import openmm
import torch
from ase.data import atomic_masses, chemical_symbols
from openmm import unit

from kstep_integrators import units
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState

__all__ = ["Array", "Particles", "constraints_of", "masses_of", "particles_of"]

Array = npt.NDArray[np.float64]

TOLERANCE = 0.05
"""u; force fields round masses, and no two neighbours in the periodic table are as close."""


@dataclass(frozen=True)
class Particles:
    """What of a System's particles does not move.

    Attributes
    ----------
    numbers : tuple of int
        Atomic numbers.
    masses : tuple of float
        u.
    bonds : tuple of (int, int)
        Constraints: pairs of particles whose distances are fixed.
    lengths : tuple of float
        Their distances, angstrom.
    """

    numbers: tuple[int, ...]
    masses: tuple[float, ...]
    bonds: tuple[tuple[int, int], ...] = ()
    lengths: tuple[float, ...] = ()

    def state(self, positions: Array) -> PhaseState:
        """At rest at positions (N, 3), nm.

        Raises
        ------
        ValueError
            If they are not finite, or off the constraints.
        """
        return self._state(positions, *self._constraints())

    def nowhere(self) -> PhaseState:
        """All in one place, constraints or not: for what only asks which atoms they are."""
        bonds, lengths = self._constraints()
        here = self._state(np.zeros((len(self.masses), 3)))
        return here.replace(bonds=bonds, bond_lengths=lengths)

    def _constraints(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if not self.bonds:
            return None, None
        return torch.tensor(self.bonds), torch.tensor(self.lengths, dtype=torch.float64)

    def _state(
        self,
        positions: Array,
        bonds: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> PhaseState:
        x = torch.from_numpy(positions * units.NM)
        return make_state(
            torch.tensor(self.numbers),
            torch.tensor(self.masses, dtype=torch.float64),
            x,
            torch.zeros_like(x),
            bonds=bonds,
            bond_lengths=lengths,
        )


def particles_of(system: openmm.System, elements: Sequence[int] | None = None) -> Particles:
    """The atoms of a System.

    Parameters
    ----------
    system : openmm.System
    elements : sequence of int, optional
        Atomic numbers, where they cannot be told from masses: isotopes, repartitioned hydrogen
        mass. From a Topology: ``[atom.element.atomic_number for atom in topology.atoms()]``.

    Raises
    ------
    ValueError
        If a mass is that of no element, or their number is wrong.
    """
    count, masses = system.getNumParticles(), masses_of(system)
    bonds, lengths = constraints_of(system)
    if elements is None:
        numbers = tuple(_element(i, mass) for i, mass in enumerate(masses))
        return Particles(numbers, masses, bonds, lengths)
    if len(elements) != count:
        raise ValueError(
            f"elements has {len(elements)} entries, expected {count}: one atomic number for each "
            "particle"
        )
    return Particles(tuple(int(z) for z in elements), masses, bonds, lengths)


def masses_of(system: openmm.System) -> tuple[float, ...]:
    """Masses of all particles, u."""
    count = system.getNumParticles()
    return tuple(float(system.getParticleMass(i).value_in_unit(unit.dalton)) for i in range(count))


def constraints_of(
    system: openmm.System,
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Constrained pairs of particles, and their distances in angstrom."""
    found = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    bonds = tuple((int(i), int(j)) for i, j, _ in found)
    return bonds, tuple(float(length.value_in_unit(unit.angstrom)) for *_, length in found)


def _element(index: int, mass: float) -> int:
    # Index 0 stands for "no element" in ASE's table.
    nearest = 1 + int(np.abs(atomic_masses[1:] - mass).argmin())
    if abs(atomic_masses[nearest] - mass) > TOLERANCE:
        raise ValueError(
            f"particle {index} has a mass of {mass:g} u, which is that of no element (the nearest "
            f"is {chemical_symbols[nearest]}, {atomic_masses[nearest]:.3f} u): with isotopes or "
            "repartitioned masses call add_jump(system, model, elements="
            "[atom.element.atomic_number for atom in topology.atoms()]) first"
        )
    return nearest
