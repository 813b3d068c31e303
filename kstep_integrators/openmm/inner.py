"""What a flow integrates in OpenMM: a model of all particles, or of some beside cheap forces."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import openmm
import torch

from kstep_integrators.calculators.openmm import OpenMMCalculator
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.openmm.source import Model
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.sum import SumPotential
from kstep_integrators.state import BoundPotential, PhaseState

__all__ = ["Inner", "Isolated", "inner_of"]


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
        """Where the forces are computed."""
        return self.potential.device

    def to(self, device: torch.device | str) -> Isolated:
        """The same on another device."""
        return Isolated(self.potential.to(device))

    def describe(self) -> dict[str, Any]:
        """That of the potential."""
        return self.potential.describe()

    def bind(self, state: PhaseState) -> BoundPotential:
        """Forces of the atoms without a box."""
        nowhere = torch.zeros_like(state.cell)
        return self.potential.bind(state.replace(cell=nowhere, pbc=(False, False, False)))


@dataclass(frozen=True)
class Inner:
    """What a flow integrates beside the model.

    Attributes
    ----------
    covered : tuple of int or None
        Particles that the model is a function of; None for all.
    forces : str
        XML of a System with the forces that the flow computes itself; empty if there are none.
    platform : str
        On which it does.
    periodic : bool
        Whether the System is; the model is of an isolated molecule in any case.
    """

    covered: tuple[int, ...] | None = None
    forces: str = ""
    platform: str = "Reference"
    periodic: bool = False

    def beside(self, model: Model) -> Model | SumPotential:
        """The model, or its sum with the forces."""
        if isinstance(model, DirectJump):
            return model
        isolated = Isolated(model) if self.periodic else model
        network = isolated if self.covered is None else (isolated, self.covered)
        if not self.forces:
            return model if self.covered is None else SumPotential(network)
        system = openmm.XmlSerializer.deserialize(self.forces)
        cheap: Potential = CalculatorPotential(OpenMMCalculator(system, self.platform))
        if self.periodic and not system.usesPeriodicBoundaryConditions():
            cheap = Isolated(cheap)
        return SumPotential(network, cheap, timestep=model.timestep)


def inner_of(
    system: openmm.System,
    model: Model,
    particles: Sequence[int] | None,
    groups: Iterable[int],
    platform: str,
) -> Inner:
    """What a flow integrates, taken from a System.

    Parameters
    ----------
    system : openmm.System
    model : NetworkPotential or DirectJump
    particles : sequence of int or None
        That the model covers; None for all.
    groups : iterable of int
        Force groups that the flow computes itself.
    platform : str

    Raises
    ------
    ValueError
        If there are no such particles or forces, a force is a Python function, or the model makes
        direct jumps.
    """
    groups = sorted({int(group) for group in groups})
    if particles is None and not groups:
        return Inner(platform=platform)
    if isinstance(model, DirectJump):
        raise ValueError(
            f"particles={particles} and inner_groups={groups}, but model {model.header.name!r} "
            "makes direct jumps: it knows where all particles land, or none. Use a potential, "
            "whose flow moves the others along"
        )
    count = system.getNumParticles()
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
    found = {force.getForceGroup() for force in copied.getForces()}
    if found != set(groups):
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
    return Inner(covered, xml, platform, bool(system.usesPeriodicBoundaryConditions()))
