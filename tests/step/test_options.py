"""The options of a run: what is refused, and that a checkpoint gives them back."""

import numpy as np
import pytest

from kstep_integrators import Guard, StrideTuning
from kstep_integrators.correctors import Filtered
from kstep_integrators.step.options import RunOptions

BATH = {"temperature_K": 300.0, "friction": 0.1}


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"k": 0}, ValueError, "k is 0, expected an integer >= 1"),
        ({"k": StrideTuning()}, ValueError, "without metropolize=True"),
        ({"timestep": "0.5"}, TypeError, "timestep is '0.5', expected a number"),
        ({"timestep": -1.0}, ValueError, "timestep is -1.0, expected a positive number"),
        ({"friction": "0.1", "temperature_K": 300}, TypeError, "friction is '0.1'"),
        ({"energy_tolerance": True}, TypeError, "energy_tolerance is True"),
        ({"metropolize": "yes"}, TypeError, "metropolize is 'yes', expected True or False"),
        ({"extra_chances": -1}, ValueError, "extra_chances is -1, expected an integer >= 0"),
        ({"extra_chances": 1.5}, ValueError, "extra_chances is 1.5"),
        ({"corrector": 3}, TypeError, "corrector is 3, expected a name"),
        ({"guard": 3}, TypeError, "guard is 3, expected a Guard"),
        ({"on_error": "panic"}, ValueError, "unknown on_error 'panic'"),
        ({"temperature_K": "300", "friction": 0.1}, TypeError, "temperature_K is '300'"),
        ({"temperature_K": [], "friction": 0.1}, TypeError, r"temperature_K is \[\]"),
        ({"temperature_K": [300, None], "friction": 0.1}, TypeError, "temperature_K is"),
        ({"temperature_K": np.ones((2, 2)), "friction": 0.1}, TypeError, "temperature_K is"),
        ({"temperature_K": True, "friction": 0.1}, TypeError, "temperature_K is True"),
        ({"temperature_K": [300, -5], "friction": 0.1}, ValueError, "temperature_K is -5"),
        ({"temperature_K": 300.0}, ValueError, "pass friction as well"),
    ],
)
def test_what_makes_no_sense_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        RunOptions(**given)


def test_temperatures_in_any_form():
    assert RunOptions(**{**BATH, "temperature_K": np.array(300.0)}).temperature_K == 300.0
    many = RunOptions(**{**BATH, "temperature_K": np.array([300, 320])})
    assert many.temperature_K == (300.0, 320.0)
    assert [bath.temperature_K for bath in many.thermostats()] == [300.0, 320.0]
    assert many.thermostat_of().temperature_K == 300.0


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(k=3, timestep=0.05, corrector="none", **BATH),
        RunOptions(k=StrideTuning((4, 8), 3), metropolize=True, **BATH),
        RunOptions(guard=Guard(max_speed=2.0), on_error="warn", force_tolerance=0.3),
        RunOptions(**{**BATH, "temperature_K": (300.0, 320.0)}),
    ],
)
def test_a_checkpoint_gives_them_back(options):
    assert RunOptions.from_json(options.to_json()) == options


def test_a_corrector_comes_back_with_its_parameters():
    kept = RunOptions(corrector=Filtered("quartic", dense_limit=7)).to_json()
    corrector = RunOptions.from_json(kept).corrector
    assert corrector.describe() == Filtered("quartic", dense_limit=7).describe()


def test_every_option_says_what_it_means():
    for name, field in RunOptions.__dataclass_fields__.items():
        assert field.metadata["meaning"], name
