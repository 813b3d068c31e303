"""A CustomIntegrator that follows what is changed around it between steps."""

from __future__ import annotations

import secrets
from collections.abc import Sequence, Set
from contextlib import nullcontext
from typing import Any
from warnings import warn

import numpy as np
import openmm
from openmm import unit

from kstep_integrators.arguments import whole_number, whole_numbers
from kstep_integrators.notices import KStepWarning
from kstep_integrators.openmm.context_parts import (
    context_of,
    number_of,
    steady_clock,
    tables_of,
    variables_of,
    vectors_of,
)
from kstep_integrators.openmm.jump import find_jump, physics_parameters
from kstep_integrators.openmm.program_writer import PREFIX
from kstep_integrators.openmm.solute import Model
from kstep_integrators.openmm.system import BAROSTATS

__all__ = ["ContextAwareIntegrator"]


class ContextAwareIntegrator(openmm.CustomIntegrator):  # type: ignore[misc]
    """The Python side of a KStepIntegrator, around the steps of its program.

    The clock, the seed, force groups and tabulated functions: what a program cannot see, or OpenMM
    would not let it.
    """

    # What only matters in this process; copies, and what XML brings back, begin without it.
    _system: openmm.System | None = None
    _parameters: Sequence[str] = ()
    _group = _forces = -1
    _watched: Model | None = None
    _stepped = _retimed = False
    _seeded: bool | None = None
    _tables: Sequence[openmm.TabulatedFunction] = ()
    _updates: tuple[int, ...] = ()
    _unread: Set[int] = frozenset()

    def step(self, steps: int) -> None:
        """Make jumps.

        Parameters
        ----------
        steps : int
            At least 1; 0 for none.

        Raises
        ------
        ValueError
            If a force that the program does not know of was added to the System after the
            integrator was made, or the energy of a ``PythonForce`` is no number.
        """
        steps = whole_number("steps", steps, "jumps to make")
        if not self._stepped or (
            self._system is not None and self._system.getNumForces() != self._forces
        ):
            self._begin()
        if self._tables:
            updates = tuple(table.getUpdateCount() for table in self._tables)
            if updates != self._updates:
                self._updates = updates
                self.invalidateForces()
        self._set_seed()
        first = min(steps, 1) if self._unread else 0
        for some in (first, steps - first):
            if some == 0:
                continue
            context = context_of(self) if self._retimed else None
            with nullcontext() if context is None else steady_clock(context, self):
                super().step(some)
            if self._unread:
                self._check_energy()

    def setStepSize(self, size: Any) -> None:
        """Set the stride, ps if it has no unit; base steps are as many as before.

        Raises
        ------
        ValueError, TypeError
            If it is no positive time. (Direct jumps refuse others than their own when they step.)
        """
        stride = number_of("size", size, unit.picosecond)
        if stride == 0.0:
            raise ValueError(f"size is {size}, expected a positive stride, ps if it has no unit")
        super().setStepSize(stride)
        self._retimed = True
        context = context_of(self) if not self.thisown else None
        if context is not None and context.getPlatform().getName() in ("Reference", "CPU"):
            warn(
                f"the stride is {stride:g} ps from now on, but this integrator is part of a "
                "CompoundIntegrator, and OpenMM's clock on the platform "
                f"{context.getPlatform().getName()} goes on in strides of when the Context was "
                "made: set it before, or call context.reinitialize(preserveState=True)",
                KStepWarning,
                stacklevel=2,
            )

    def setIntegrationForceGroups(self, groups: Any) -> None:
        """Set which force groups are the physics; that of the jump is left out.

        A Context that is there is made anew, as it stands (``Context.reinitialize``).

        Parameters
        ----------
        groups : set of int, or int
            Group numbers, or a bit field of them, as in OpenMM.

        Raises
        ------
        ValueError, TypeError
            If there are no such groups.
        """
        if isinstance(groups, int | np.integer) and not isinstance(groups, bool):
            groups = [group for group in range(32) if groups >> group & 1]
        wanted = {*whole_numbers("groups", groups, "force groups, 0 to 31")} - {self._group}
        if not wanted or max(wanted) > 31:
            raise ValueError(f"groups is {groups}, expected force groups of the physics, 0 to 31")
        super().setIntegrationForceGroups(wanted)
        self.invalidateForces()
        context = context_of(self)
        if context is not None:
            # A program goes on with the groups that it had when its Context was made.
            context.reinitialize(preserveState=True)

    def setConstraintTolerance(self, tolerance: Any) -> None:
        """Set the relative error of OpenMM's own constraint steps; jumps keep to 1e-12."""
        number = number_of("tolerance", tolerance, unit.dimensionless)
        if number == 0.0:
            raise ValueError(f"tolerance is {tolerance}, expected a small positive number")
        super().setConstraintTolerance(number)

    def setRandomNumberSeed(self, seed: int) -> None:
        """Set the seed of the noise, from the next step on; 0 for one that nobody has had.

        The noise is a function of the seed, of where positions or velocities were last set, and of
        the number of the step. States and checkpoints that are loaded bring back the last two, and
        the seed if it is 0 here: for another trajectory from one state, give another seed.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise TypeError(f"seed is {seed!r}, expected an integer; 0 stands for a fresh seed")
        if not -(2**31) <= seed < 2**31:
            raise ValueError(f"seed is {seed}, expected one of 32 bits, at most {2**31 - 1}")
        super().setRandomNumberSeed(int(seed))
        if f"{PREFIX}seed" in variables_of(self):
            self.setGlobalVariableByName(f"{PREFIX}seed", float(seed))

    def _begin(self) -> None:
        """Look at the System before the first step; what is added later has no part in a Context.

        Raises
        ------
        ValueError
            If there are forces whose changes would not be noticed.
        """
        context, pending = None, False
        if self._system is None or any(map(tables_of, self._system.getForces())):
            context = context_of(self)
        system = self._system if context is None else context.getSystem()
        if system is not None:
            jump = find_jump(system)
            forces = [force for n, force in enumerate(system.getForces()) if n != jump]
            unknown = sorted(set(physics_parameters(system)) - set(self._parameters))
            if self._stepped and unknown:
                # Until Context.reinitialize they are no part of it; ask again.
                context, pending = context_of(self), True
                known = {} if context is None else dict(context.getParameters())
                unknown = sorted({*unknown} & {*known})
            mixed = [f.getName() for f in forces if f.getForceGroup() == self._group]
            if self._system is not None and (unknown or mixed):
                raise ValueError(
                    "forces were added to the System after the integrator was made, with the "
                    f"parameters {unknown} that it does not know, or in the force group of the "
                    f"jump ({mixed}), where they are no physics: make the integrator last"
                )
            if self._system is not None and any(isinstance(force, BAROSTATS) for force in forces):
                self._check_barostat()
            self._unread = {f.getForceGroup() for f in forces if isinstance(f, openmm.PythonForce)}
            self._tables = [table for force in forces for table in tables_of(force)]
            self._updates = tuple(table.getUpdateCount() for table in self._tables)
            self._forces = -1 if pending else system.getNumForces()
        self._stepped = True

    def _check_barostat(self) -> None:
        """Refuse one that the program does not know of."""
        if f"{PREFIX}last_box" not in vectors_of(self):
            raise ValueError(
                "a barostat was added to the System after the integrator was made, which has not "
                "looked at its temperature and keeps no box: make the integrator last"
            )

    def _check_energy(self) -> None:
        """Look at the first energy of functions in Python.

        OpenMM reads an array of one element, a list or None as -1 kJ/mol, without a word.

        Raises
        ------
        ValueError
            If the energy of such a force, or of several, is that.
        """
        context, python = context_of(self), self._unread
        if context is None:
            return
        used = self.getIntegrationForceGroups()
        groups = {g for g in range(32) if used >> g & 1} - {self._group}
        energy = self._total("potential")
        if groups - python:
            state = context.getState(energy=True, groups=groups - python)
            energy -= state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        if abs(energy + 1.0) < 1e-9:
            raise ValueError(
                "the energy of a PythonForce of the System is -1 kJ/mol: so OpenMM takes what is "
                "not a number, such as an array of one element, a list or None. Let its function "
                "return float(energy), in kJ/mol"
            )
        self._unread = frozenset()

    def _set_seed(self) -> None:
        """The seed for the program: the integrator's own, or that of its state, or a fresh one."""
        if self._seeded is None:
            self._seeded = f"{PREFIX}seed" in variables_of(self)
        if not self._seeded:
            return
        given, used = float(self.getRandomNumberSeed()), self._total("seed")
        if used == 0.0 or given not in (0.0, used):
            # Fresh ones are beyond all that can be given.
            self.setGlobalVariableByName(
                f"{PREFIX}seed", given or float(2**31 + secrets.randbits(52))
            )

    def invalidateForces(self) -> None:
        """Forget the forces that are kept: the next step evaluates the physics where it starts."""
        self.setGlobalVariableByName("kstep_fresh", 0.0)

    def _total(self, name: str) -> float:
        return float(self.getGlobalVariableByName(f"{PREFIX}{name}"))
