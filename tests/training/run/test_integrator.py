"""Keys of the integrator: the options of a run, in units of a command line."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args, get_type_hints

import ase.units
import pytest

from kstep_integrators import KStepDynamics
from kstep_integrators.step.options import RunOptions
from kstep_integrators.units import FS, PS
from kstep_training.options import override
from kstep_training.run.integrator import IntegratorSettings, integrator_arguments, option_keys
from kstep_training.run.settings import RunSettings


def test_every_option_that_a_command_line_can_say_is_a_key() -> None:
    types = get_type_hints(RunOptions)
    plain = {
        name
        for name, kind in types.items()
        if {bool, int, float, str} & {*(get_args(kind) or (kind,))}
    }
    keys = option_keys(RunOptions)
    assert set(keys) == plain
    assert set(keys) <= set(inspect.signature(KStepDynamics).parameters)
    names = {field.name for field in dataclasses.fields(RunSettings)}
    assert {name for name, _, _ in keys.values()} <= names
    assert {"timestep_fs", "friction_per_ps", "taut_fs", "temperature_K", "k"} <= names


@dataclasses.dataclass(frozen=True, kw_only=True)
class More(RunOptions):
    """Options of a run with one more."""

    relaxation: float | None = dataclasses.field(
        default=2.0 * FS, metadata={"meaning": "time of something", "unit": "time"}
    )


def test_a_new_option_is_a_key_at_once() -> None:
    name, kind, field = option_keys(More)["relaxation"]
    assert (name, kind) == ("relaxation_fs", float | None)
    assert field.default == pytest.approx(2.0)
    assert dict(field.metadata) == {"meaning": "time of something", "unit": "fs"}


def test_units_of_the_arguments() -> None:
    settings = IntegratorSettings(
        timestep_fs=0.5, thermostat="langevin", temperature_K=310.0, friction_per_ps=3.0,
        pressure_bar=20.0,
    )  # fmt: skip
    arguments = integrator_arguments(settings)
    assert arguments["timestep"] == 0.5 * FS
    assert arguments["friction"] == 3.0 / PS
    assert arguments["temperature_K"] == 310.0
    assert arguments["pressure"] == pytest.approx(20.0 * ase.units.bar, rel=1e-14)
    RunOptions(**arguments)


@pytest.mark.parametrize(
    ("thermostat", "left"),
    [
        (None, set()),
        ("langevin", {"temperature_K", "friction"}),
        ("bussi", {"temperature_K", "taut"}),
    ],
)
def test_only_what_the_heat_bath_has_is_passed_on(thermostat: str | None, left: set[str]) -> None:
    arguments = integrator_arguments(RunSettings(), thermostat=thermostat)
    assert {"temperature_K", "friction", "taut"} & set(arguments) == left
    assert RunOptions(**arguments).thermostat == thermostat


def test_what_the_options_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="on_error"):
        override(RunSettings, ["on_error=give_up"])
    with pytest.raises(ValueError, match=r"force_tolerance is -1\.0"):
        override(RunSettings, ["force_tolerance=-1"])
