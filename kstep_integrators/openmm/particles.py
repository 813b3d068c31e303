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
from kstep_integrators.state import PhaseState, make_state

__all__ = ["Array", "Particles", "masses_of", "particles_of"]

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
    """

    numbers: tuple[int, ...]
    masses: tuple[float, ...]

    def state(self, positions: Array) -> PhaseState:
        """At rest at positions (N, 3), nm.

        Raises
        ------
        ValueError
            If they are not finite.
        """
        x = torch.from_numpy(positions * units.NM)
        return make_state(
            torch.tensor(self.numbers),
            torch.tensor(self.masses, dtype=torch.float64),
            x,
            torch.zeros_like(x),
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
    if elements is None:
        return Particles(tuple(_element(i, mass) for i, mass in enumerate(masses)), masses)
    if len(elements) != count:
        raise ValueError(
            f"elements has {len(elements)} entries, expected {count}: one atomic number for each "
            "particle"
        )
    return Particles(tuple(int(z) for z in elements), masses)


def masses_of(system: openmm.System) -> tuple[float, ...]:
    """Masses of all particles, u."""
    count = system.getNumParticles()
    return tuple(float(system.getParticleMass(i).value_in_unit(unit.dalton)) for i in range(count))


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
