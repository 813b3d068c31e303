"""KStepIntegrator: learned jumps as an OpenMM ``CustomIntegrator``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import openmm
from openmm import unit

from kstep_integrators import units
from kstep_integrators.correctors import CORRECTORS, make_corrector
from kstep_integrators.openmm import stages
from kstep_integrators.openmm.jump import add_jump, physics_parameters
from kstep_integrators.openmm.plan import Plan
from kstep_integrators.openmm.program import write_program
from kstep_integrators.openmm.source import Model, as_model, jump_of
from kstep_integrators.openmm.words import Words
from kstep_integrators.step.make_scheme import check_k
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.stats import Stats

__all__ = ["KStepIntegrator"]

_R = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)


class KStepIntegrator(openmm.CustomIntegrator):  # type: ignore[misc]
    """Molecular dynamics in strides of k base steps, one evaluation of the physics each.

    One OpenMM step is one jump of ``k * timestep``, which is what ``getStepSize`` returns. The
    physics is every force of the System but the jump. Forces at a landing are kept for the next
    step, and found to be stale after ``setPositions``, a minimization, ``loadState``, or a change
    of a global parameter. A jump that ends in nonsense is undone and its stride made with velocity
    Verlet on the physics. Everything the integrator knows is in its global and per-DOF variables.

    Parameters
    ----------
    system : openmm.System
        The jump is added to it, unless it is there (:func:`~.jump.add_jump`). Without virtual
        sites and barostats; periodic with a jump of a solute only.
    model : str, Path, NetworkPotential or DirectJump
        A bundled name, a path, or ``load_model(...)``.
    k : int
        Base steps per stride; of a direct jump, one of those it has learned.
    timestep : Quantity or float, optional
        Base step, ps if it has no unit; the model's own by default (0.25 fs for QM models), and the
        only one that a direct jump has.
    corrector : str, optional
        ``"impulse"`` (the default), ``"filtered"`` or ``"none"``; a direct jump takes one only,
        ``"delta"`` or ``"none"`` by its baseline.
    temperature : Quantity or float, optional
        K. With a friction: Langevin, half before and half after each jump (OBABO).
    friction : Quantity or float, optional
        1/ps.
    metropolize : bool
        Accept or reject each jump by the change of the physical energy: the canonical ensemble of
        the physics, exactly. Needs temperature and friction.
    extra_chances : int
        How often a rejected trajectory is followed on and tested again before velocities flip.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense, and as :func:`~.jump.add_jump`.

    Notes
    -----
    The time of the Context advances by one stride per step, rejected ones included.
    ``updateParametersInContext`` of a force, and ``Context.reinitialize``, change the physics
    without moving anything: call :meth:`invalidateForces` after them.

    Examples
    --------
    >>> import openmm
    >>> from openmm import unit
    >>> from kstep_integrators.openmm import KStepIntegrator
    >>> water = openmm.System()
    >>> for mass in (15.999, 1.008, 1.008):
    ...     _ = water.addParticle(mass)
    >>> springs = openmm.HarmonicBondForce()
    >>> for i, j, length in ((0, 1, 0.096), (0, 2, 0.096), (1, 2, 0.151)):
    ...     _ = springs.addBond(i, j, length, 4.0e5)  # nm, kJ/(mol nm^2)
    >>> _ = water.addForce(springs)
    >>> integrator = KStepIntegrator(water, "organic-gfn2", k=4, timestep=0.5 * unit.femtosecond)
    >>> reference = openmm.Platform.getPlatformByName("Reference")
    >>> context = openmm.Context(water, integrator, reference)
    >>> context.setPositions([[0, 0, 0], [0.096, 0, 0], [-0.02, 0.094, 0]])
    >>> integrator.step(2)
    >>> round(context.getTime().value_in_unit(unit.femtosecond), 9)
    4.0
    """

    def __init__(
        self,
        system: openmm.System,
        model: Model | str | Path,
        k: int = 8,
        timestep: Any = None,
        corrector: str | None = None,
        *,
        temperature: Any = None,
        friction: Any = None,
        metropolize: bool = False,
        extra_chances: int = 3,
    ) -> None:
        made = as_model(model)
        if isinstance(k, bool) or k != int(k) or k < 1:
            raise ValueError(f"k is {k!r}, expected an integer >= 1: base steps per jump")
        base = made.timestep / units.PS if timestep is None else _in(timestep, unit.picosecond)
        if not (math.isfinite(base) and base > 0):
            raise ValueError(f"timestep is {timestep}, expected a positive time")
        jump = jump_of(made, base * units.PS)
        corrector = jump.correctors[0] if corrector is None else corrector
        if not isinstance(corrector, str):
            raise TypeError(
                f"corrector is a {type(corrector).__name__}, expected one of "
                f"{list(jump.correctors)}"
            )
        make_corrector(corrector, jump.correctors)
        check_k(int(k), jump, "fallback")
        if metropolize and not jump.reversible:
            raise ValueError(
                "metropolize=True with a jump that is neither time-reversible nor "
                "volume-preserving: the test would sample a wrong ensemble. Use a potential, "
                "which is followed by a flow, or leave metropolize out"
            )
        bath = _bath(temperature, friction, metropolize)
        _check_constraints(system, corrector, metropolize)
        _check_thermostats(system, temperature)
        chances = Metropolis(bath[0], extra_chances).extra_chances if metropolize and bath else None
        super().__init__(k * base)
        group = add_jump(system, made)
        plan = Plan(
            group=group,
            k=int(k),
            corrector=stages.CORRECTOR_CODES[corrector],
            corrects=corrector != "none",
            kicks_before=corrector != "none" and CORRECTORS[corrector].kicks_before,
            extra_chances=chances,
            thermostat=bath is not None,
            parameters=physics_parameters(system),
            n_particles=system.getNumParticles(),
            told_forces=jump.needs_forces,
            predicts_energy="energy" in jump.predicts,
            constrained=system.getNumConstraints() > 0,
            periodic=system.usesPeriodicBoundaryConditions(),
        )
        # "f" and "energy" of the program, and minimizers, see these groups.
        self.setIntegrationForceGroups(set(range(32)) - {group})
        write_program(Words(self, plan.aliases), plan)
        if bath is not None:
            self.setTemperature(bath[0])
            self.setFriction(bath[1])

    def getTemperature(self) -> unit.Quantity:
        """Temperature of the heat bath.

        Raises
        ------
        ValueError
            At constant energy; so do the other three.
        """
        return self._bath_variable("kT") / _R * unit.kelvin

    def setTemperature(self, temperature: Any) -> None:
        """Set the temperature of the heat bath, K if it has no unit."""
        self._bath_variable("kT")
        value = _not_negative("temperature", _in(temperature, unit.kelvin))
        self.setGlobalVariableByName("kstep_kT", _R * value)

    def getFriction(self) -> unit.Quantity:
        """Friction of the heat bath."""
        return self._bath_variable("friction") / unit.picosecond

    def setFriction(self, friction: Any) -> None:
        """Set the friction of the heat bath, 1/ps if it has no unit."""
        self._bath_variable("friction")
        value = _not_negative("friction", _in(friction, unit.picosecond**-1))
        self.setGlobalVariableByName("kstep_friction", value)

    def getNumBaseSteps(self) -> int:
        """Base steps per stride, k; the base step is ``getStepSize() / getNumBaseSteps()``."""
        return round(float(self.getGlobalVariableByName("kstep_base_steps")))

    def getLandingEnergy(self) -> unit.Quantity:
        """Physical potential energy where the last step ended, as it was evaluated there.

        Unlike ``getState(energy=True)`` it costs nothing; it does not know of what you changed
        since.
        """
        return float(self.getGlobalVariableByName("kstep_potential")) * unit.kilojoule_per_mole

    def undoStep(self, context: openmm.Context) -> None:
        """Put positions and velocities back to the start of the last step, finished or not.

        For a step that an error of the physics has cut short: it leaves a Context in the middle.

        Parameters
        ----------
        context : openmm.Context
            That of this integrator.
        """
        context.setPositions(self.getPerDofVariableByName("kstep_last_x"))
        context.setVelocities(self.getPerDofVariableByName("kstep_last_v"))

    def invalidateForces(self) -> None:
        """Forget the forces that are kept: the next step evaluates the physics where it starts."""
        self.setGlobalVariableByName("kstep_fresh", 0.0)

    @property
    def stats(self) -> Stats:
        """Totals since the start of the run; those of a checkpoint go on.

        The time spent in the physics is not known here and is NaN. Why jumps were undone is in the
        log of ``kstep_integrators.openmm.force``.
        """

        def total(name: str) -> float:
            return float(self.getGlobalVariableByName(f"kstep_{name}"))

        landings, watched = round(total("landings")), total("residual_squares") > 0.0
        return Stats(
            jumps=round(total("jumps")),
            physics_evaluations=round(total("evaluations")),
            fallbacks=round(total("fallbacks")),
            accepted=round(total("accepted")),
            flips=round(total("flips")),
            failures=round(total("failures")),
            bond_changes=round(total("bond_changes")),
            jump_seconds=total("seconds"),
            physics_seconds=math.nan,
            _residual_squares=total("residual_squares"),
            _residual_count=round(total("coordinates")) * landings if watched else 0,
            _energy_squares=total("error_squares") * units.KJ_PER_MOL**2,
            _energy_count=landings if total("predicts") > 0.0 else 0,
        )

    def _bath_variable(self, name: str) -> float:
        names = [self.getGlobalVariableName(i) for i in range(self.getNumGlobalVariables())]
        if f"kstep_{name}" not in names:
            raise ValueError(
                "this integrator runs at constant energy and has no heat bath; make one with "
                "temperature and friction"
            )
        return float(self.getGlobalVariableByName(f"kstep_{name}"))


def _in(value: Any, wanted: unit.Unit) -> float:
    """The number of a quantity in OpenMM's units; numbers are in them already."""
    return float(value.value_in_unit(wanted) if unit.is_quantity(value) else value)


def _not_negative(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{name} is {value}, expected a finite number >= 0; for velocities drawn anew at every "
            "jump take a friction such as 1e6/picosecond"
        )
    return value


def _bath(temperature: Any, friction: Any, metropolize: bool) -> tuple[float, float] | None:
    """Temperature in K and friction in 1/ps, or None at constant energy."""
    if temperature is None and friction is None and not metropolize:
        return None
    if temperature is None or friction is None:
        raise ValueError(
            f"temperature={temperature} and friction={friction} with metropolize={metropolize}: "
            "a heat bath and a Metropolis test need temperature and friction; leave all out for "
            "constant energy"
        )
    return (
        _not_negative("temperature", _in(temperature, unit.kelvin)),
        _not_negative("friction", _in(friction, unit.picosecond**-1)),
    )


def _check_constraints(system: openmm.System, corrector: str, metropolize: bool) -> None:
    count = system.getNumConstraints()
    if count and corrector == "filtered":
        raise ValueError(
            f"the corrector 'filtered' with {count} constraints: its modes are those of free "
            "atoms, and it has not been validated with constraints; use 'impulse' or 'none', or "
            "create the System with constraints=None, rigidWater=False"
        )
    if count and metropolize:
        raise ValueError(
            f"metropolize=True with {count} constraints: that the test is exact with constraints "
            "has not been validated; leave metropolize out, or create the System with "
            "constraints=None, rigidWater=False"
        )


def _check_thermostats(system: openmm.System, temperature: Any) -> None:
    if temperature is not None and any(
        isinstance(force, openmm.AndersenThermostat) for force in system.getForces()
    ):
        raise ValueError(
            f"the System has an AndersenThermostat, and the integrator a temperature of "
            f"{temperature}: one run has one heat bath; leave out one of them"
        )
