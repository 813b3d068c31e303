"""Arguments of an OpenMM integrator: checked, in units of the program, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import unit

from kstep_integrators import units
from kstep_integrators.openmm.context_parts import number_of
from kstep_integrators.openmm.jump import as_model
from kstep_integrators.openmm.solute import Model
from kstep_integrators.openmm.system import BAROSTATS
from kstep_integrators.step.make_scheme import make_scheme
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.step.tuning import StrideTuning

__all__ = ["PER_PS", "Arguments", "checked_arguments"]

PER_PS = unit.picosecond**-1


@dataclass(frozen=True)
class Arguments:
    """Arguments that belong together, and the scheme of a step that they ask for.

    Attributes
    ----------
    model : NetworkPotential, DirectJump or CalculatorPotential
        Loaded.
    scheme : Scheme
    k : int
        Base steps of a stride.
    stride : float
        ps.
    kelvin, friction : float or None
        Of the heat bath, K and 1/ps; both or neither.
    """

    model: Model
    scheme: Scheme
    k: int
    stride: float
    kelvin: float | None
    friction: float | None


def checked_arguments(
    system: openmm.System,
    model: Model | str | Path,
    k: int,
    timestep: Any,
    corrector: str | None,
    *,
    temperature: Any,
    friction: Any,
    metropolize: bool,
    extra_chances: int,
    learn: bool,
) -> Arguments:
    """The arguments of :class:`~kstep_integrators.openmm.KStepIntegrator`, as they are used.

    Raises
    ------
    ValueError, TypeError
        For values that make no sense, or do not go together or with the System.
    """
    if not isinstance(system, openmm.System):
        raise TypeError(f"system is a {type(system).__name__}, expected an openmm.System")
    if learn is not False:
        raise ValueError(
            f"learn is {learn!r}, expected False: a program of OpenMM holds its model by file "
            "and hash, and no Context, checkpoint or XML would say which weights it stands "
            "for. Learn with KStepDynamics or Ensemble, write what was learned with "
            "dynamics.potential.save(path), and pass that path as the model"
        )
    loaded = as_model(model)
    if corrector is not None and not isinstance(corrector, str):
        raise TypeError(f"corrector is a {type(corrector).__name__}, expected its name")
    if (temperature is None) != (friction is None):
        raise ValueError(
            f"temperature={temperature} and friction={friction}: a heat bath takes temperature "
            "and friction; pass both, or leave both out for constant energy"
        )
    base = loaded.timestep / units.PS
    if timestep is not None:
        base = number_of("timestep", timestep, unit.picosecond)
        if not (math.isfinite(base) and base > 0):
            raise ValueError(f"timestep is {timestep}, expected a positive time")
    kelvin = None if temperature is None else number_of("temperature", temperature, unit.kelvin)
    rate = None if friction is None else number_of("friction", friction, PER_PS)
    if isinstance(k, StrideTuning):
        raise ValueError(
            "k is a StrideTuning, expected an integer >= 1: a program of OpenMM "
            "has one stride; tune it in ASE, KStepDynamics(..., k=StrideTuning(...)), and take "
            "the k that it ends with"
        )
    options = RunOptions(
        k=k,
        timestep=None if timestep is None else base * units.PS,
        corrector=corrector,
        temperature_K=kelvin,
        friction=None if rate is None else rate / units.PS,
        metropolize=metropolize,
        extra_chances=extra_chances,
    )
    if corrector == "mollified":
        raise ValueError(
            "corrector='mollified': a program of OpenMM has its forces computed where the "
            "particles are, and this corrector wants them at averaged positions; use 'impulse' "
            "or 'filtered' here, or KStepDynamics(..., corrector='mollified') in ASE"
        )
    scheme = make_scheme(loaded, options, longest_impulse=math.inf)
    scheme.check_constraints(
        system.getNumConstraints(),
        "create the System with constraints=None, rigidWater=False",
    )
    _check_baths(system, kelvin)
    return Arguments(loaded, scheme, options.first_k, options.first_k * base, kelvin, rate)


def _check_baths(system: openmm.System, kelvin: float | None) -> None:
    """Refuse a System whose thermostat or barostat does not go with a temperature (K)."""
    forces = list(system.getForces())
    other = [force for force in forces if isinstance(force, openmm.AndersenThermostat)]
    if kelvin is not None and other:
        raise ValueError(
            f"the System has an AndersenThermostat, and the integrator a temperature of "
            f"{kelvin:g} K: one run has one heat bath; leave out one of them"
        )
    if other:
        kelvin = float(other[0].getDefaultTemperature().value_in_unit(unit.kelvin))
    for force in forces:
        if not isinstance(force, BAROSTATS):
            continue
        name, wanted = type(force).__name__, force.getDefaultTemperature()
        wanted = wanted.value_in_unit(unit.kelvin)
        if kelvin is None or not math.isclose(kelvin, wanted, rel_tol=1e-9):
            bath = "no temperature" if kelvin is None else f"a heat bath of {kelvin:g} K"
            raise ValueError(
                f"the System has a {name} of {wanted:g} K, and the run has {bath}: both together "
                "are an ensemble at one temperature only; pass temperature and friction, and make "
                "the barostat with that temperature"
            )
