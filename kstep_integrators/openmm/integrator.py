"""KStepIntegrator: learned jumps as an OpenMM ``CustomIntegrator``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit

from kstep_integrators.models.domain import LANDINGS, warn_of_domain
from kstep_integrators.openmm.context_aware import ContextAwareIntegrator
from kstep_integrators.openmm.context_parts import context_of, number_of, variables_of, vectors_of
from kstep_integrators.openmm.integrator_arguments import PER_PS, checked_arguments
from kstep_integrators.openmm.jump import add_jump, physics_parameters
from kstep_integrators.openmm.program import StepProgram
from kstep_integrators.openmm.program_writer import PREFIX, printed_program
from kstep_integrators.openmm.solute import Model
from kstep_integrators.openmm.totals import TOTALS, stats_of
from kstep_integrators.step.stats import Stats

__all__ = ["KStepIntegrator"]

_R = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)


class KStepIntegrator(ContextAwareIntegrator):
    """Molecular dynamics in strides of k base steps, one evaluation of the physics each.

    One OpenMM step is one jump of ``k * timestep``, which is what ``getStepSize`` returns. The
    physics is every force of the System but the jump. Forces at a landing are kept for the next
    step, and found to be stale after ``setPositions``, a minimization, ``loadState``, or a change
    of a global parameter or a tabulated function. A jump that ends in nonsense is undone and its
    stride made with velocity Verlet on the physics. Everything the integrator knows is in its
    global and per-DOF variables, noise included: a State with integrator parameters continues the
    trajectory, as a checkpoint does.

    Parameters
    ----------
    system : openmm.System
        The jump is added to it, unless it is there (:func:`~.jump.add_jump`). Without virtual
        sites; in a periodic one the model has to be one that may be used in a cell, or to cover a
        solute only. A barostat needs a heat bath of its temperature.
    model : str, Path, NetworkPotential, DirectJump or CalculatorPotential
        A bundled name, a path, ``load_model(...)``, or the potential of a calculator.
    k : int
        Base steps per stride; of a direct jump, one of those it has learned.
    timestep : Quantity or float, optional
        Base step, ps if it has no unit; the model's own by default (0.25 fs for QM models), and the
        only one that a direct jump has.
    corrector : str, optional
        ``"impulse"`` (the default), ``"filtered"`` or ``"none"``; a direct jump takes one only,
        ``"delta"`` or ``"none"`` by its baseline. ``"mollified"`` is of ASE alone.
    temperature : Quantity or float, optional
        K. With a friction: Langevin, half before and half after each jump (OBABO).
    friction : Quantity or float, optional
        1/ps; infinite for velocities drawn anew at each jump.
    metropolize : bool
        Accept or reject each jump by the change of the physical energy: the canonical ensemble of
        the physics, exactly. Needs temperature and friction.
    extra_chances : int
        How often a rejected trajectory is followed on and tested again before velocities flip.
    learn : bool
        Only False: see :class:`~kstep_integrators.KStepDynamics` for runs that learn, and pass the
        model file that they leave.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense, as :class:`~kstep_integrators.step.options.RunOptions`
        and :func:`~.jump.add_jump`.

    Notes
    -----
    The time of the Context advances by one stride per step, rejected ones included, also after
    ``setStepSize``. ``updateParametersInContext`` of a force (other than by a tabulated function),
    and ``Context.reinitialize``, change the physics without moving anything: call
    :meth:`invalidateForces` after them.

    Examples
    --------
    >>> import openmm
    >>> from openmm import unit
    >>> from kstep_integrators.openmm import KStepIntegrator
    >>> system = openmm.System()
    >>> bond = openmm.HarmonicBondForce()
    >>> _ = bond.addBond(system.addParticle(1.008), system.addParticle(1.008), 0.074, 3e5)
    >>> _ = system.addForce(bond)
    >>> integrator = KStepIntegrator(system, "organic-gfn2", k=4, timestep=0.5 * unit.femtosecond)
    >>> context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    >>> context.setPositions([[0, 0, 0], [0.076, 0, 0]])
    >>> integrator.step(3)
    >>> integrator.stats.jumps, integrator.stats.physics_evaluations
    (3, 4)
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
        learn: bool = False,
    ) -> None:
        given = checked_arguments(
            system, model, k, timestep, corrector, temperature=temperature, friction=friction,
            metropolize=metropolize, extra_chances=extra_chances, learn=learn,
        )  # fmt: skip
        super().__init__(given.stride)
        group = add_jump(system, given.model)
        parameters = physics_parameters(system)
        self._system, self._parameters, self._group = system, parameters, group
        self._watched = given.model
        StepProgram(self, group, given.scheme, given.k, system, parameters).write()
        # "f" and "energy" of the program, and minimizers, see these groups.
        openmm.CustomIntegrator.setIntegrationForceGroups(self, set(range(32)) - {group})
        if given.kelvin is not None and given.friction is not None:
            self.setTemperature(given.kelvin)
            self.setFriction(given.friction)

    def step(self, steps: int) -> None:
        """Make jumps.

        After the first landings, a model that differs too much from the physics is warned of.

        Raises
        ------
        ValueError
            If a force that the program does not know of was added to the System after the
            integrator was made.
        """
        super().step(steps)
        if self._watched is not None and self._total("landings") >= LANDINGS:
            model, self._watched = self._watched, None
            count = round(self._total("coordinates"))
            warn_of_domain(model, "the System", (0.0, 0), self.stats.residual_sum, count)

    @classmethod
    def restore(cls, integrator: openmm.CustomIntegrator) -> KStepIntegrator:
        """Give an integrator that came back from XML its class and methods again.

        Parameters
        ----------
        integrator : openmm.CustomIntegrator
            From ``XmlSerializer.deserialize`` or ``Context.getIntegrator``; it may be in a Context.

        Returns
        -------
        KStepIntegrator
            The same object.

        Raises
        ------
        TypeError
            If it is no CustomIntegrator.
        ValueError
            If it is not the program of a KStepIntegrator.

        Examples
        --------
        >>> from openmm import System, XmlSerializer
        >>> from kstep_integrators.openmm import KStepIntegrator
        >>> water = System()
        >>> for mass in (15.999, 1.008, 1.008):
        ...     _ = water.addParticle(mass)
        >>> text = XmlSerializer.serialize(KStepIntegrator(water, "organic-gfn2"))
        >>> KStepIntegrator.restore(XmlSerializer.deserialize(text)).getNumBaseSteps()
        8
        """
        if isinstance(integrator, cls):
            return integrator
        if not isinstance(integrator, openmm.CustomIntegrator):
            raise TypeError(
                f"integrator is a {type(integrator).__name__}, expected the CustomIntegrator that "
                "XmlSerializer.deserialize gives back of a KStepIntegrator"
            )
        own = ("program", "base_steps", "potential", "fresh", "origin")
        wanted = {f"{PREFIX}{name}" for name in (*TOTALS, *own)}
        missing = sorted(wanted - set(variables_of(integrator)))
        if missing:
            raise ValueError(
                "this CustomIntegrator is not a KStepIntegrator of this version: it has no "
                f"variables {missing}. Make a new one, KStepIntegrator(system, model, ...)"
            )
        integrator.__class__ = cls
        restored: KStepIntegrator = integrator
        # One that nobody has given is not for every copy: a state that is loaded brings it back.
        if f"{PREFIX}seed" in variables_of(restored) and context_of(restored) is None:
            restored.setRandomNumberSeed(restored.getRandomNumberSeed())
        return restored

    def describeProgram(self) -> str:
        """The program of a step, as OpenMM executes it, one computation in a line.

        ``x``, ``v``, ``m`` are positions, velocities and masses, ``f`` and ``energy`` the physics,
        ``dt`` is the stride. Other names are variables of the integrator, ``kstep_`` left out.

        Examples
        --------
        >>> import openmm
        >>> from kstep_integrators.openmm import KStepIntegrator
        >>> hydrogen = openmm.System()
        >>> _ = hydrogen.addParticle(1.008), hydrogen.addParticle(1.008)
        >>> print(KStepIntegrator(hydrogen, "organic-gfn2").describeProgram())
           0  last_x <- x
           1  last_v <- v
           2  update the state of the Context
           3  k <- 8
           4  stride <- dt
           5  corrector <- 2
           6  guarded <- 1
           7  changed <- sum of (x - kept)^2
           8  kicked <- sum of 0.5*m*(v - kept_v)^2
           9  changed <- changed + (dt - kept_dt)^2 + 1 - fresh
          10  failed <- 1*(1 - known)
          11  if changed > 0:
          12      force <- f
          13      potential <- energy
        ...
        """
        return printed_program(self)

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
        value = number_of("temperature", temperature, unit.kelvin)
        self.setGlobalVariableByName("kstep_kT", _R * value)

    def getFriction(self) -> unit.Quantity:
        """Friction of the heat bath."""
        return self._bath_variable("friction") / unit.picosecond

    def setFriction(self, friction: Any) -> None:
        """Set the friction of the heat bath, 1/ps if it has no unit."""
        self._bath_variable("friction")
        self.setGlobalVariableByName("kstep_friction", number_of("friction", friction, PER_PS))

    def getNumBaseSteps(self) -> int:
        """Base steps per stride, k; the base step is ``getStepSize() / getNumBaseSteps()``."""
        return round(self._total("base_steps"))

    def getLandingEnergy(self) -> unit.Quantity:
        """Physical potential energy where the last step ended, as it was evaluated there.

        Unlike ``getState(energy=True)`` it costs nothing; it does not know of what you changed
        since.
        """
        return self._total("potential") * unit.kilojoule_per_mole

    def undoStep(self, context: openmm.Context) -> None:
        """Put positions and velocities back to the start of the last step, finished or not.

        And the box, where a barostat may have changed it. For a step that an error of the physics
        has cut short: it leaves a Context in the middle.

        Parameters
        ----------
        context : openmm.Context
            That of this integrator.

        Raises
        ------
        TypeError
            If it is no Context.
        ValueError
            If it is that of another integrator, or no step was begun.
        """
        if not isinstance(context, openmm.Context):
            raise TypeError(f"context is a {type(context).__name__}, expected an openmm.Context")
        whole = context.getIntegrator()
        if whole is not self and not isinstance(whole, openmm.CompoundIntegrator):
            raise ValueError(
                f"context is that of another integrator, a {type(whole).__name__}; expected the "
                "Context that this integrator advances"
            )
        if self._total("kept_dt") == 0.0 and self._total("evaluations") == 0.0:
            raise ValueError("no step was begun that could be undone")
        if f"{PREFIX}last_box" in vectors_of(self):
            # As Stage.BOX answers: a barostat may have changed it.
            numbers = np.array([[*v] for v in self.getPerDofVariableByName(f"{PREFIX}last_box")])
            box = np.zeros((3, 3))
            box[np.tril_indices(3)] = numbers[:2].ravel()
            context.setPeriodicBoxVectors(*box)
        context.setPositions(self.getPerDofVariableByName("kstep_last_x"))
        context.setVelocities(self.getPerDofVariableByName("kstep_last_v"))

    @property
    def stats(self) -> Stats:
        """Totals since the start of the run; those of a checkpoint go on.

        The time spent in the physics is not known here and is NaN. Why jumps were undone is in the
        log of ``kstep_integrators.openmm.force``.
        """
        return stats_of({name: self._total(name) for name in TOTALS})

    def _bath_variable(self, name: str) -> float:
        if f"{PREFIX}{name}" not in variables_of(self):
            raise ValueError(
                "this integrator runs at constant energy and has no heat bath; make one with "
                "temperature and friction"
            )
        return self._total(name)
