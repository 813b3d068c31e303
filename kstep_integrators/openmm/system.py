"""The particles of a System as the atoms of a model, and what of a System is refused."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import openmm
import torch
from ase.data import atomic_masses, chemical_symbols
from openmm import unit

from kstep_integrators import units
from kstep_integrators.fields import derived
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.jumps.source import CalculatorSource, ModelSource
from kstep_integrators.mechanics.check_bonds import bond_offsets
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.openmm.solute import Array, Model, Solute, SpanningTree, spanning_tree
from kstep_integrators.physics.store import box_of
from kstep_integrators.potentials.sum import some_atoms
from kstep_integrators.state import PhaseState

__all__ = [
    "BAROSTATS",
    "BoundModel",
    "Particles",
    "Source",
    "check_system",
    "constraints_of",
    "masses_of",
    "particles_of",
]

Source: TypeAlias = ModelSource | CalculatorSource
"""The place that a model has when the System is written."""

_log = logging.getLogger(__name__)

TOLERANCE = 0.05
"""u; force fields round masses, and no two neighbours in the periodic table are as close."""

BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)
"""Forces that try another box before a step, and decide by the energy of the physics."""


def check_system(system: openmm.System) -> None:
    """Refuse a System that a jump cannot advance.

    Parameters
    ----------
    system : openmm.System

    Raises
    ------
    ValueError
        For an empty System, a single particle in a periodic one, virtual sites, massless particles,
        and the barostat of path integrals.
    """
    count = system.getNumParticles()
    if count == 0:
        raise ValueError("the System has no particles; add them before the jump")
    if count == 1 and system.usesPeriodicBoundaryConditions():
        raise ValueError(
            "the System is periodic and has one particle, expected two at least: the jump tells of "
            "its box by six numbers, three for each particle. Take a larger cell"
        )
    virtual = [i for i in range(count) if system.isVirtualSite(i)]
    if virtual:
        raise ValueError(
            f"particles {virtual[:10]} are virtual sites: a model is a function of atoms, and "
            "knows nothing of sites without mass. Use a force field without them"
        )
    dalton = unit.dalton
    massless = [i for i in range(count) if not system.getParticleMass(i).value_in_unit(dalton) > 0]
    if massless:
        raise ValueError(
            f"particles {massless[:10]} have no mass: OpenMM holds them in place, a jump would not "
            "know. Give them their masses, or use KStepDynamics in ASE with FixAtoms"
        )
    if any(isinstance(force, openmm.RPMDMonteCarloBarostat) for force in system.getForces()):
        raise ValueError(
            "the System has an RPMDMonteCarloBarostat, which is of path integrals and acts in "
            "their integrator alone: take a MonteCarloBarostat"
        )


@dataclass(frozen=True)
class Particles:
    """The particles of a System as atoms, without positions.

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
        """The atoms at rest at positions (N, 3), nm.

        Raises
        ------
        ValueError
            If they are not finite, or off the constraints.
        """
        return self._state(positions, *self._constraints())

    def check_whole(self, positions: Array, box: Array) -> None:
        """Refuse constrained pairs in different images of a periodic box (nm).

        Raises
        ------
        ValueError
            If there are some, or OpenMM's own constraints, which know of no images, have made
            positions of them that are not finite.
        """
        bonds, lengths = self._constraints()
        if bonds is None or lengths is None:
            return
        x, cell = (torch.from_numpy(part * units.NM) for part in (positions, box))
        lost = ~x[bonds].isfinite().all((1, 2))
        offsets = bond_offsets(bonds, lengths, x.nan_to_num(0.0), cell, (True, True, True))
        apart = lost if offsets is None else lost | (offsets != 0).any(1)
        if bool(apart.any()):
            found = "have positions that are not finite" if bool(lost.any()) else "are apart"
            raise ValueError(
                f"the constrained pairs of particles {bonds[apart][:5].tolist()} {found}: pairs in "
                "different images of the periodic box are pulled together as they stand by "
                "OpenMM's constraints. Set positions with whole molecules, such as those of "
                "getState(positions=True, enforcePeriodicBox=False), or a PDB file as OpenMM's "
                "Modeller makes it"
            )

    def unplaced(self, box: Array | None = None) -> PhaseState:
        """The atoms without positions, for what only asks which they are: all in one place.

        Parameters
        ----------
        box : (3, 3) float64, nm, optional
            Of a periodic System.
        """
        bonds, lengths = self._constraints()
        atoms = self._state(np.zeros((len(self.masses), 3)))
        return in_box(atoms.replace(bonds=bonds, bond_lengths=lengths), box)

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


def in_box(state: PhaseState, box: Array | None) -> PhaseState:
    """A state in a box (3, 3), nm; as it is where there is none."""
    if box is None:
        return state
    cell = torch.from_numpy(box * units.NM).to(state.cell).reshape(state.cell.shape)
    return state.replace(cell=cell, pbc=(True, True, True))


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

    Examples
    --------
    >>> import openmm
    >>> water = openmm.System()
    >>> for mass in (15.999, 1.008, 1.008):
    ...     _ = water.addParticle(mass)
    >>> particles_of(water).numbers
    (8, 1, 1)
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
    wrong = [z for z in elements if not 1 <= z < len(chemical_symbols)]
    if wrong:
        raise ValueError(
            f"elements has {wrong[:10]}, expected atomic numbers, 1 to {len(chemical_symbols) - 1}"
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
    fixed = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    bonds = tuple((int(i), int(j)) for i, j, _ in fixed)
    return bonds, tuple(float(length.value_in_unit(unit.angstrom)) for *_, length in fixed)


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


class BoundModel:
    """The model, bound to the particles of a System; made when it is first needed, and kept.

    Parameters
    ----------
    source : ModelSource or CalculatorSource
    particles : Particles
    solute : Solute
    model : NetworkPotential, DirectJump or CalculatorPotential, optional
        The model, if it is loaded.
    """

    def __init__(
        self, source: Source, particles: Particles, solute: Solute, model: Model | None
    ) -> None:
        self.source, self.particles, self.solute, self._model = source, particles, solute, model
        self._atoms: PhaseState | None = None
        self._bound: dict[tuple[float, bytes], BoundJump] = {}
        self._tree: SpanningTree | None = None
        self._warned = False

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = self.source.load()
        return self._model

    def state(self, positions: Array, box: Array | None) -> PhaseState:
        """The atoms at rest at positions (nm); a solute in one piece if there is a box (nm)."""
        finite = np.isfinite(positions).all()
        if box is not None:
            self.particles.check_whole(positions, box)
        if box is not None and finite:
            positions = self.unwrapped(positions, box)
        if self._atoms is None or not finite:
            # With all checks, which need not be made again at each jump.
            self._atoms = self.particles.state(positions).to(self._loaded().device)
        x = torch.from_numpy(positions * units.NM)
        state = self._atoms.replace(positions=x.to(self._atoms.positions.device))
        return in_box(state, box)

    def covered(self, state: PhaseState) -> PhaseState:
        """The atoms that the model covers: bonds of others are no matter of it."""
        if self.solute.particles is None:
            return state
        return some_atoms(state, torch.tensor(self.solute.particles, device=state.masses.device))

    def unwrapped(self, positions: Array, box: Array) -> Array:
        """Positions (N, 3), nm, with the solute in one piece; as they are if all are covered."""
        if self.solute.particles is None:
            return positions
        if self._tree is None:
            self._tree = spanning_tree(np.array(self.solute.particles), positions, box)
        unwrapped = self._tree.unwrapped(positions, box)
        if unwrapped is not positions and not self._warned:
            self._warned = True
            _log.warning(
                "the solute was given in pieces, and put together for the model. On the platforms "
                "Reference and CPU positions are as you set them: an expensive method that knows "
                "of no box sees the pieces. Set positions with whole molecules, such as those of "
                "getState(positions=True, enforcePeriodicBox=False)"
            )
        return unwrapped

    def jump(self, timestep: float, state: PhaseState) -> BoundJump:
        """The jump of this base step (ASE time units) in this box, kept for the next time."""
        key = (timestep, derived(state, "box", box_of, lasting=True))
        if key not in self._bound:
            jump = make_jump(self.solute.with_surroundings(self._loaded()), timestep)
            atoms = self.particles.unplaced().replace(cell=state.cell, pbc=state.pbc)
            self._bound = {key: jump.bind(atoms)}
        return self._bound[key]
