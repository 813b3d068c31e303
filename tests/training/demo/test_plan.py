"""Settings and plan of a demonstration: one length, one start, a frame at each stride."""

from __future__ import annotations

from typing import Any

import pytest

from kstep_integrators import load_model
from kstep_training.demo.plan import make_methods, warm_up_method
from kstep_training.demo.settings import DemoSettings
from tests.direct_systems import direct, untrained


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "lammps"}, "engine is 'lammps'"),
        ({"k": 0}, "k is 0, expected an integer >= 1"),
        ({"timestep_fs": -0.5}, "timestep_fs is -0.5"),
        ({"temperature_K": float("nan")}, "temperature_K is nan"),
        ({"time_fs": 4.0}, "4.0 fs hold 2 jumps of 2.0 fs"),
    ],
)
def test_settings_refuse(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DemoSettings(**wrong)


@pytest.mark.parametrize(
    ("k", "timestep_fs", "time_fs"),
    [(4, 0.5, 2000.0), (8, 0.25, 60.0), (3, 0.5, 33.0), (1, 0.3, 3)],
)
def test_all_runs_have_one_length(k: int, timestep_fs: float, time_fs: float) -> None:
    settings = DemoSettings(k=k, timestep_fs=timestep_fs, time_fs=time_fs)
    methods = make_methods(load_model("organic-gfn2"), settings)
    assert [method.role for method in methods] == ["reference", "control", "test", "control"]
    for method in methods:
        length = method.steps * method.stride_fs
        assert length == pytest.approx(settings.n_jumps * settings.stride_fs, abs=1.0)
        frames = length / method.frame_fs
        assert frames == pytest.approx(round(frames))
    assert methods[2].steps == methods[3].steps == settings.n_jumps
    assert {method.corrector for method in methods[2:]} == {"impulse", "none"}
    assert warm_up_method(methods[2], settings).steps == 2


def test_direct_jumps_have_no_potential_to_be_run_alone() -> None:
    settings = DemoSettings(k=2, time_fs=30.0)
    model = direct(untrained())
    methods = make_methods(model, settings)
    assert [method.name for method in methods] == ["Verlet 0.5 fs", "Verlet 1 fs", "direct 1 fs"]
    assert methods[2].corrector == model.correctors[0]
