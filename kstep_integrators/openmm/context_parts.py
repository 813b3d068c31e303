"""Parameters, tables and clocks of Contexts, which OpenMM does not show to an integrator.

A program sees numbers of the Context by name, so the names must be known when it is written. It
sees neither when a force is given another table nor the Context that it runs in, and OpenMM's
integrators have no way back to theirs.
"""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openmm
from openmm import unit

__all__ = [
    "context_of",
    "number_of",
    "parameters_of",
    "steady_clock",
    "tables_of",
    "variables_of",
    "vectors_of",
]

_contexts: weakref.WeakKeyDictionary[openmm.Integrator, weakref.ref[openmm.Context]] = (
    weakref.WeakKeyDictionary()
)


def parameters_of(force: openmm.Force) -> set[str]:
    """Parameters of the Context that a force depends on, through forces inside it too.

    Examples
    --------
    >>> bond = openmm.CustomBondForce("scale*r")
    >>> _ = bond.addGlobalParameter("scale", 1.0), bond.addBond(0, 1, [])
    >>> outer = openmm.CustomCVForce("length^2")
    >>> _ = outer.addCollectiveVariable("length", bond)
    >>> parameters_of(outer)
    {'scale'}
    """
    names: set[str] = set()
    if hasattr(force, "getGlobalParameters"):
        names.update(dict(force.getGlobalParameters()))
    elif hasattr(force, "getNumGlobalParameters"):
        count = force.getNumGlobalParameters()
        names.update(force.getGlobalParameterName(i) for i in range(count))
    if isinstance(force, openmm.AmoebaVdwForce):
        names.add(openmm.AmoebaVdwForce.Lambda())
    return names.union(*(parameters_of(inner) for inner in _inside(force)))


def tables_of(force: openmm.Force) -> list[openmm.TabulatedFunction]:
    """Tabulated functions of a force, and of forces inside it.

    Examples
    --------
    >>> force = openmm.CustomCVForce("bias(0)")
    >>> _ = force.addTabulatedFunction("bias", openmm.Continuous1DFunction([0, 1], 0, 1))
    >>> len(tables_of(force))
    1
    """
    tables: list[openmm.TabulatedFunction] = []
    if hasattr(force, "getNumTabulatedFunctions"):
        count = force.getNumTabulatedFunctions()
        tables += [force.getTabulatedFunction(i) for i in range(count)]
    for inner in _inside(force):
        tables += tables_of(inner)
    return tables


def _inside(force: openmm.Force) -> Iterator[openmm.Force]:
    """Forces inside a force, which OpenMM computes in Contexts of their own."""
    if isinstance(force, openmm.CustomCVForce):
        for index in range(force.getNumCollectiveVariables()):
            yield force.getCollectiveVariable(index)
    elif isinstance(force, openmm.ATMForce):
        for index in range(force.getNumForces()):
            # A Force without a class, until it is a copy.
            yield openmm.XmlSerializer.clone(force.getForce(index))


def context_of(integrator: openmm.Integrator) -> openmm.Context | None:
    """The Context of an integrator, also of one inside a CompoundIntegrator; None if it has none.

    Looked for among all objects the first time, some hundredths of a second.

    Examples
    --------
    >>> system = openmm.System()
    >>> _ = system.addParticle(1.0)
    >>> integrator = openmm.VerletIntegrator(0.001)
    >>> context_of(integrator) is None
    True
    >>> context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    >>> context_of(integrator) is context
    True
    """
    found = _contexts.get(integrator, lambda: None)()
    if found is not None:
        return found
    for one in gc.get_objects():
        # Not isinstance, which asks proxies of other libraries for their class.
        context = one if issubclass(type(one), openmm.Context) else None
        if context is not None and _advances(getattr(context, "_integrator", None), integrator):
            _contexts[integrator] = weakref.ref(context)
            return context
    return None


def _advances(whole: openmm.Integrator | None, integrator: openmm.Integrator) -> bool:
    if not isinstance(whole, openmm.CompoundIntegrator):
        return whole is integrator
    # Parts come back as other objects around the same pointer.
    parts = [whole.getIntegrator(number) for number in range(whole.getNumIntegrators())]
    return int(integrator.this) in [int(part.this) for part in parts]


@contextmanager
def steady_clock(context: openmm.Context, integrator: openmm.Integrator) -> Iterator[None]:
    """The time of a Context advances by the step size that the integrator has now.

    On the platforms Reference and CPU the clock of a CustomIntegrator goes on in steps of what was
    its step size when the Context was made.
    """
    time, steps = context.getTime(), context.getStepCount()
    try:
        yield
    finally:
        stride = integrator.getStepSize()
        due = time + (context.getStepCount() - steps) * stride
        if abs((context.getTime() - due) / stride) > 1e-9:
            context.setTime(due)


def variables_of(integrator: openmm.CustomIntegrator) -> list[str]:
    """Names of the global variables."""
    count = integrator.getNumGlobalVariables()
    return [integrator.getGlobalVariableName(index) for index in range(count)]


def vectors_of(integrator: openmm.CustomIntegrator) -> list[str]:
    """Names of the variables that each degree of freedom has."""
    count = integrator.getNumPerDofVariables()
    return [integrator.getPerDofVariableName(index) for index in range(count)]


def number_of(name: str, value: Any, wanted: unit.Unit) -> float:
    """The number of a quantity in OpenMM's units; numbers are in them already."""
    try:
        bare = value.value_in_unit(wanted) if unit.is_quantity(value) else value
        if isinstance(bare, str | bool | np.bool_):
            raise TypeError("not a number")
        number = float(bare)
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"{name} is {value!r}, expected a number or an openmm.unit.Quantity in units of "
            f"{wanted.get_name()}"
        ) from error
    infinite = name == "friction" and number == math.inf
    if not (infinite or (math.isfinite(number) and number >= 0)):
        raise ValueError(
            f"{name} is {value}, expected a finite number >= 0 ({wanted.get_name()} if it has no "
            "unit)"
        )
    return number
