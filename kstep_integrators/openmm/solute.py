"""A solute: the particles that the model covers, the forces around them, and its periodic images.

The model of a solute is one of an isolated molecule. In a periodic box its particles may be given
in any images; the shortest links between them tell which belong together. A model of all particles
sees the box, and takes each of them in the image that it has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import openmm
import torch

from kstep_integrators.calculators.openmm import OpenMMCalculator
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential
from kstep_integrators.state import BoundPotential, PhaseState

__all__ = ["Array", "Isolated", "Model", "Solute", "SpanningTree", "solute_of", "spanning_tree"]

Array: TypeAlias = npt.NDArray[np.float64]

Indices: TypeAlias = npt.NDArray[np.int64]

Model: TypeAlias = NetworkPotential | DirectJump | CalculatorPotential
"""The models that files hold, and calculators."""

REACH = 0.4
"""Longest link, as a fraction of a box vector; from a half on its image would be the nearer one."""


class Isolated:
    """A potential that knows of no periodic box.

    Parameters
    ----------
    potential : Potential
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self.potential.timestep

    @property
    def device(self) -> torch.device:
        """The device of the forces."""
        return self.potential.device

    def to(self, device: torch.device | str) -> Isolated:
        """The same on another device."""
        return Isolated(self.potential.to(device))

    def describe(self) -> dict[str, Any]:
        """Description of the potential."""
        return self.potential.describe()

    def bind(self, state: PhaseState) -> BoundPotential:
        """Forces of the atoms without a box."""
        no_cell = torch.zeros_like(state.cell)
        return self.potential.bind(state.replace(cell=no_cell, pbc=(False, False, False)))


@dataclass(frozen=True)
class Solute:
    """The particles that the model covers, and the forces that a flow computes beside it.

    Attributes
    ----------
    particles : tuple of int or None
        That the model is a function of; None for all, in the box if there is one.
    forces : str
        XML of a System with the forces that the flow computes itself; empty if there are none.
    platform : str
        On which it does.
    periodic : bool
        Whether the System is; the model of some of its particles is of an isolated molecule.
    """

    particles: tuple[int, ...] | None = None
    forces: str = ""
    platform: str = "Reference"
    periodic: bool = False

    def with_surroundings(self, model: Model) -> Model | SumPotential:
        """The model itself, or its sum with the forces that the flow computes."""
        if isinstance(model, DirectJump):
            return model
        if self.particles is None and not self.forces:
            return model
        network: Potential | tuple[Potential, tuple[int, ...]] = model
        if self.particles is not None:
            network = (Isolated(model) if self.periodic else model, self.particles)
        if not self.forces:
            return SumPotential(network)
        system = openmm.XmlSerializer.deserialize(self.forces)
        cheap: Potential = CalculatorPotential(OpenMMCalculator(system, self.platform))
        if self.periodic and not system.usesPeriodicBoundaryConditions():
            cheap = Isolated(cheap)
        return SumPotential(network, cheap, timestep=model.timestep)


def solute_of(
    system: openmm.System,
    model: Model,
    particles: Sequence[int] | None,
    groups: Iterable[int],
    platform: str,
) -> Solute:
    """The solute of a System.

    Parameters
    ----------
    system : openmm.System
    model : NetworkPotential, DirectJump or CalculatorPotential
    particles : sequence of int or None
        That the model covers; None for all, as is a sequence of all.
    groups : iterable of int
        Force groups that the flow computes itself.
    platform : str

    Raises
    ------
    ValueError
        If there are no such particles or forces, a force is a Python function, or the model makes
        direct jumps.

    Examples
    --------
    >>> import openmm
    >>> from kstep_integrators import load_model
    >>> system = openmm.System()
    >>> for mass in (15.999, 1.008, 1.008, 39.948):
    ...     _ = system.addParticle(mass)
    >>> model = load_model("organic-gfn2", device="cpu")
    >>> solute_of(system, model, range(3), [], "Reference").particles
    (0, 1, 2)
    """
    groups = sorted({int(group) for group in groups})
    count, periodic = system.getNumParticles(), bool(system.usesPeriodicBoundaryConditions())
    if particles is not None and sorted(particles) == [*range(count)]:
        particles = None
    if particles is None and not groups:
        return Solute(platform=platform, periodic=periodic)
    if isinstance(model, DirectJump):
        raise ValueError(
            f"particles={particles} and inner_groups={groups}, but model {model.header.name!r} "
            "makes direct jumps: it knows where all particles land, or none. Use a potential, "
            "whose flow moves the others along"
        )
    covered = None if particles is None else tuple(int(index) for index in particles)
    if covered is not None and not (covered and all(0 <= index < count for index in covered)):
        raise ValueError(
            f"particles are {list(covered)}, expected indices of 0 to {count - 1}, at least one"
        )
    copied = openmm.System()
    copied.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    for index in range(count):
        copied.addParticle(system.getParticleMass(index))
    for force in system.getForces():
        if force.getForceGroup() in groups and not isinstance(force, openmm.CMMotionRemover):
            copied.addForce(copy.deepcopy(force))
    if {force.getForceGroup() for force in copied.getForces()} != set(groups):
        raise ValueError(
            f"inner_groups is {groups}, but the System has forces in the groups "
            f"{sorted({force.getForceGroup() for force in system.getForces()})} only"
        )
    if any(isinstance(force, openmm.PythonForce) for force in copied.getForces()):
        raise ValueError(
            f"a group of inner_groups={groups} has a PythonForce, which the flow would compute at "
            "every base step: give an expensive method a group of its own, with "
            "force.setForceGroup(1) or createMixedSystem(..., forceGroup=1)"
        )
    xml = openmm.XmlSerializer.serialize(copied) if groups else ""
    return Solute(covered, xml, platform, periodic)


@dataclass(frozen=True)
class SpanningTree:
    """The shortest links that hold a solute together: its bonds, if it is one molecule.

    Attributes
    ----------
    atoms : (n,) int64
        Particles of the solute, each after the one that it is linked to.
    above : (n,) int64
        Where in ``atoms`` that one stands; 0 for the first, which is linked to itself.
    """

    atoms: Indices
    above: Indices

    def unwrapped(self, positions: Array, box: Array) -> Array:
        """Positions with the solute in one piece, about its first atom.

        Parameters
        ----------
        positions : (N, 3) nm
            Of all particles.
        box : (3, 3) nm
            Box vectors as rows.

        Returns
        -------
        (N, 3) nm
            The very same if it was in one piece.

        Raises
        ------
        ValueError
            If a link is longer than :data:`REACH` of the box: which image is meant is not certain.
        """
        mine = positions[self.atoms]
        links = (mine - mine[self.above]) @ np.linalg.inv(box)
        images = np.rint(links)
        stretched = np.abs(links - images).max(1)
        if stretched.max() > REACH:
            number = int(stretched.argmax())
            raise ValueError(
                f"particle {self.atoms[number]} of the solute is {stretched[number]:.2f} of a box "
                f"vector away from particle {self.atoms[self.above[number]]}, the nearest that it "
                f"could belong to, expected at most {REACH:g}: the model is of one isolated "
                "molecule, whose image could not be told. Name the particles of one molecule, or "
                "take a larger box"
            )
        if not images.any():
            return positions
        for number in range(1, len(images)):
            images[number] += images[self.above[number]]
        mended = positions.copy()
        mended[self.atoms] -= images @ box
        return mended


def spanning_tree(particles: Indices, positions: Array, box: Array) -> SpanningTree:
    """The tree of a solute: each particle linked to the nearest image of one linked before (Prim).

    Parameters
    ----------
    particles : (n,) int64
        Of the solute.
    positions : (N, 3) nm
        Of all particles.
    box : (3, 3) nm
        Box vectors as rows.

    Raises
    ------
    ValueError
        As :meth:`SpanningTree.unwrapped`, and if the solute touches its own image: nothing tells
        then where it ends.

    Examples
    --------
    >>> box = np.eye(3)
    >>> torn = np.array([[0.95, 0.5, 0.5], [0.05, 0.5, 0.5]])
    >>> spanning_tree(np.arange(2), torn, box).unwrapped(torn, box)[:, 0].round(2).tolist()
    [0.95, 1.05]
    """
    mine = positions[particles]
    inverse = np.asarray(np.linalg.inv(box), dtype=np.float64)
    order, above = [0], [0]
    nearest = np.zeros(len(mine), dtype=np.int64)
    distance = _shortest(mine - mine[0], box, inverse)
    left = np.ones(len(mine), dtype=bool)
    left[0], longest = False, 0.0
    while left.any():
        added = int(np.where(left, distance, np.inf).argmin())
        longest = max(longest, float(distance[added]))
        order.append(added)
        above.append(order.index(int(nearest[added])))
        left[added] = False
        further = _shortest(mine - mine[added], box, inverse)
        closer = left & (further < distance)
        distance[closer], nearest[closer] = further[closer], added
    tree = SpanningTree(np.asarray(particles)[order], np.array(above))
    together = tree.unwrapped(positions, box)[tree.atoms]
    for number, place in enumerate(together):
        apart = (together - place) @ inverse
        other = np.rint(apart).any(1) & (_shortest(together - place, box, inverse) <= longest)
        if other.any():
            raise ValueError(
                f"particles {tree.atoms[number]} and {tree.atoms[int(other.argmax())]} of the "
                "solute are nearer to each other across the periodic boundary than others within "
                "it: it touches its own image, and the model is of an isolated molecule. Take a "
                "larger box"
            )
    return tree


def _shortest(vectors: Array, box: Array, inverse: Array) -> Array:
    """Lengths of the nearest images, exact for those that are short beside the box."""
    parts = vectors @ inverse
    lengths: Array = np.linalg.norm((parts - np.rint(parts)) @ box, axis=1)
    return lengths
