"""The jump as a force of a System, in a group of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import openmm
from openmm import unit

from kstep_integrators.arguments import whole_numbers
from kstep_integrators.calculators.openmm import system_charge
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.jumps.source import CalculatorSource, ModelSource
from kstep_integrators.models.electrons import warn_of_charge
from kstep_integrators.openmm.context_parts import parameters_of
from kstep_integrators.openmm.force import JumpForce
from kstep_integrators.openmm.solute import Model, Solute, solute_of
from kstep_integrators.openmm.stages import PARAMETERS
from kstep_integrators.openmm.system import (
    Particles,
    Source,
    check_system,
    constraints_of,
    masses_of,
    particles_of,
)
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["add_jump", "as_model", "find_jump", "physics_parameters"]

_NAME = "kstep-jump"


def add_jump(
    system: openmm.System,
    model: Model | str | Path,
    *,
    elements: Sequence[int] | None = None,
    particles: Sequence[int] | None = None,
    inner_groups: Iterable[int] = (),
    inner_platform: str = "Reference",
) -> int:
    """Add a jump to a System, as a force in the highest force group that is free.

    :class:`~kstep_integrators.openmm.integrator.KStepIntegrator` asks the model through it.
    Everybody else sees zero energy and zero force. A System that has the jump already is left as
    it is. Add all other forces first: what is put into the group of the jump later is no physics.

    Parameters
    ----------
    system : openmm.System
        Of an isolated molecule, a cluster, or a periodic box; all forces in it but the jump are the
        physics.
    model : str, Path, NetworkPotential, DirectJump or CalculatorPotential
        A bundled name, a path, ``load_model(...)``, or the potential of a calculator, with the
        charge that its own arguments say. A total charge that a model was not fitted to is
        warned of, where a NonbondedForce says the charge. The XML of the System holds path and
        hash of a model's file, or a calculator as it was given, pickled. OpenMM restores it with
        ``pickle``: load XML only from where you would run code.
    elements : sequence of int, optional
        Atomic numbers, if masses do not tell them (isotopes, repartitioned hydrogen mass).
    particles : sequence of int, optional
        Those that the model covers, such as a solute; all by default. The others move along: in the
        flow by the forces of ``inner_groups``, at its ends by the rest of the physics. In a
        periodic System a model of all particles sees the box of the Context, and has to be one that
        may be used in a cell; those of a solute must be the particles of one molecule, which the
        model sees whole and isolated.
    inner_groups : iterable of int
        Force groups that the flow integrates itself at every base step, beside the model: those of
        a force field in QM/MM. They are copied as they are now, and belong to the physics as well,
        so that they cancel in its correction.
    inner_platform : str
        Where the flow computes them.

    Returns
    -------
    int
        The force group.

    Raises
    ------
    ValueError
        If the model does not cover the particles, or all of a periodic System and is one of
        isolated molecules; for a direct jump, if the constraints are not those it was trained with;
        for virtual sites, particles without mass, a single particle in a periodic box, and the
        barostat of path integrals; if no group is free; if there is no such ``inner_platform``; if
        the System has another jump.
    TypeError
        If the model is none of the above, ``system`` no System, or an argument of several numbers
        is none.

    Examples
    --------
    >>> import openmm
    >>> from kstep_integrators.openmm import add_jump
    >>> water = openmm.System()
    >>> for mass in (15.999, 1.008, 1.008):
    ...     _ = water.addParticle(mass)
    >>> add_jump(water, "organic-gfn2")
    31
    """
    if not isinstance(system, openmm.System):
        raise TypeError(f"system is a {type(system).__name__}, expected an openmm.System")
    loaded = as_model(model)
    source = _source_of(loaded)
    if elements is not None:
        elements = whole_numbers("elements", elements, "atomic numbers, one for each particle")
    if particles is not None:
        particles = whole_numbers("particles", particles, "indices of what the model covers")
    inner_groups = whole_numbers("inner_groups", inner_groups, "force groups, such as [0]")
    names = [openmm.Platform.getPlatform(i).getName()
             for i in range(openmm.Platform.getNumPlatforms())]  # fmt: skip
    if inner_platform not in names:
        raise ValueError(f"inner_platform is {inner_platform!r}; OpenMM has {names} here")
    present = find_jump(system)
    check_system(system)
    solute = solute_of(system, loaded, particles, inner_groups, inner_platform)
    if present is not None:
        _check_same(system, present, source, elements, solute)
        return int(system.getForce(present).getForceGroup())
    atoms = particles_of(system, elements)
    _check_covers(system, loaded, solute, atoms)
    charge = system_charge(system, solute.particles)
    if charge is not None:
        covered = "the System" if solute.particles is None else "the solute"
        warn_of_charge(loaded, charge, covered)
    taken = {force.getForceGroup() for force in system.getForces()}
    free = [group for group in range(31, -1, -1) if group not in taken]
    if not free:
        raise ValueError(
            "all 32 force groups are taken, and the jump needs one of its own: put some forces of "
            "the System into one group with force.setForceGroup(...)"
        )
    force = openmm.PythonForce(JumpForce(source, atoms, solute, loaded), PARAMETERS)
    force.setName(
        " ".join([*_labels(system, source), _label("z", atoms.numbers), _label("solute", solute)])
    )
    # The jump gets the box, and positions as the platform holds them: in whatever image.
    force.setUsesPeriodicBoundaryConditions(solute.periodic)
    force.setForceGroup(free[0])
    system.addForce(force)
    return free[0]


def as_model(model: Model | str | Path) -> Model:
    """The model itself, or the one of that name or path.

    Raises
    ------
    TypeError
        For anything else, other potentials included.
    """
    if isinstance(model, str | Path):
        model = load_model(model)
    if not isinstance(model, NetworkPotential | DirectJump | CalculatorPotential):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a bundled model name, a path, "
            "load_model(...) or CalculatorPotential(calculator). What a run has learned is written "
            "with dynamics.potential.save(path), and passed as that path; for other potentials use "
            "KStepDynamics in ASE"
        )
    return model


def _source_of(model: Model) -> Source:
    """The place from which a jump that comes out of XML has its model."""
    if isinstance(model, CalculatorPotential):
        return CalculatorSource.of(model)
    return ModelSource.of(model)


def _check_covers(
    system: openmm.System, model: Model, solute: Solute, particles: Particles
) -> None:
    """Refuse particles that the model does not cover, in the box if it is to see it."""
    box = None
    if solute.periodic:
        vectors = system.getDefaultPeriodicBoxVectors()
        box = np.array([vector.value_in_unit(unit.nanometer) for vector in vectors])
    try:
        make_jump(solute.with_surroundings(model)).bind(particles.unplaced(box))
    except ValueError as error:
        if not solute.periodic or solute.particles is not None:
            raise
        raise ValueError(
            f"{error}. The System is periodic, and the model is one of all its particles: it has "
            "to cover them in a cell. For a solute in a box call add_jump(system, model, "
            "particles=[...], inner_groups=[...]) first, with the particles of the solute and the "
            "force groups of the force field; for an isolated molecule make the System with "
            "nonbondedMethod=NoCutoff or CutoffNonPeriodic"
        ) from error


def find_jump(system: openmm.System) -> int | None:
    """Number of the force that is the jump of a System; None if it has none.

    Examples
    --------
    >>> find_jump(openmm.System()) is None
    True
    """
    for index, force in enumerate(system.getForces()):
        if isinstance(force, openmm.PythonForce) and force.getName().startswith(_NAME):
            return index
    return None


def physics_parameters(system: openmm.System) -> list[str]:
    """Parameters of the Context that the forces of a System, but the jump, depend on.

    Examples
    --------
    >>> system = openmm.System()
    >>> force = openmm.CustomExternalForce("strength*z")
    >>> _ = force.addGlobalParameter("strength", 1.0), system.addForce(force)
    >>> physics_parameters(system)
    ['strength']
    """
    jump = find_jump(system)
    forces = [force for index, force in enumerate(system.getForces()) if index != jump]
    return sorted(set[str]().union(*map(parameters_of, forces)))


def _labels(system: openmm.System, source: Source) -> list[str]:
    """The name of the force in parts: unlike a pickle, it can be read without being run."""
    bonds, lengths = constraints_of(system)
    constraints = [
        value for bond, length in zip(bonds, lengths, strict=True) for value in (*bond, length)
    ]
    return [
        _NAME,
        f"model:{source.sha256[:16]}",
        _label("masses", masses_of(system)),
        _label("constraints", constraints),
        *(["periodic"] if system.usesPeriodicBoundaryConditions() else []),
    ]


def _label(name: str, values: Sequence[float] | Solute) -> str:
    content = (
        dataclasses.asdict(values) if isinstance(values, Solute) else [float(v) for v in values]
    )
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{name}:{digest[:8]}"


def _check_same(
    system: openmm.System,
    index: int,
    source: Source,
    elements: Sequence[int] | None,
    solute: Solute,
) -> None:
    force = system.getForce(index)
    if set(dict(force.getGlobalParameters())) != set(PARAMETERS):
        raise ValueError(
            f"force {index} of the System is a jump of another version of this package: remove it "
            f"with system.removeForce({index}), and make the integrator again"
        )
    name = force.getName()
    wanted = _labels(system, source)
    if elements is not None:
        wanted.append(_label("z", elements))
    if solute.particles is not None or solute.forces:
        wanted.append(_label("solute", solute))
    missing = [label for label in wanted if label not in name.split(" ")]
    if missing:
        raise ValueError(
            "the System has a jump with another model, other masses, constraints, boundaries, "
            f"elements or inner forces already, force {index} ({name!r}, expected {missing}): "
            f"remove it with system.removeForce({index})"
        )
