"""Diffusion coefficients of Brownian motion, and of water in a small cell as published."""

import numpy as np
import pytest

from kstep_integrators.diagnostics import Diffusion, finite_size_correction, self_diffusion
from kstep_integrators.units import FS, PS


def walk(rng, runs, frames, atoms, coefficient, interval):
    """Brownian motion; coefficient in angstrom^2 / ps, interval in ASE units."""
    width = np.sqrt(2.0 * coefficient * interval / PS)
    return np.cumsum(rng.normal(0.0, width, (runs, frames, atoms, 3)), axis=1)


def test_brownian_motion_and_its_error():
    rng = np.random.default_rng(0)
    found = [
        self_diffusion(walk(rng, 1, 2000, 10, 0.3, 50 * FS), 50 * FS, 0.1 * PS, 1.0 * PS)
        for _ in range(60)
    ]
    off = np.array([(one.coefficient - 0.3) / one.error for one in found])
    # Of Student's t with 9 degrees of freedom: standard deviation 1.134; 60 of them.
    assert abs(off.mean()) < 3 * 1.134 / np.sqrt(60)
    assert 0.75 < off.std() < 1.6
    assert {one.blocks for one in found} == {10}


def test_one_long_run_within_three_errors():
    rng = np.random.default_rng(1)
    found = self_diffusion(walk(rng, 1, 40_000, 30, 0.23, 20 * FS), 20 * FS, PS, 10 * PS)
    assert found.error < 0.01
    assert abs(found.coefficient - 0.23) < 3 * found.error
    assert found.cm2_per_s == pytest.approx(1e-4 * found.coefficient)


def test_whole_runs_as_blocks_in_the_plane_of_a_slab():
    x = walk(np.random.default_rng(2), 8, 2000, 10, 0.5, PS)
    x[..., 2] = 0.0
    found = self_diffusion(x, PS, 2 * PS, 50 * PS, blocks=1, axes=(0, 1))
    assert found.blocks == 8
    assert abs(found.coefficient - 0.5) < 3 * found.error


def test_a_steady_flow_by_hand():
    # (v t)^2 at t = 1 and 2 ps: slope 3 v^2, over 2 d.
    x = np.arange(6.0)[:, None, None] * np.array([[[2.0, 0.0, 0.0]]])
    found = self_diffusion(x, PS, PS, 2 * PS, blocks=2)
    assert found.coefficient == pytest.approx(12.0 / 6.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((5, 3))}, "positions have shape"),
        ({"blocks": 1}, "two blocks or more"),
        ({"interval": 0.0}, "interval is 0.0"),
        ({"end": 60 * PS}, "from 1 to 60 ps has 49 lags in blocks of 49 ps"),
        ({"end": PS}, "two or more, within a block"),
        ({"start": -PS}, "two or more, within a block"),
    ],
)
def test_refusals(change, message):
    arguments = {"positions": np.zeros((100, 2, 3)), "interval": PS, "start": PS,
                 "end": 5 * PS, "blocks": 2}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        self_diffusion(**{**arguments, **change})


def test_the_correction_by_hand():
    # k T xi / (6 pi eta L) in SI units, for kT at 298 K, 0.9 mPa s and 2 nm.
    meters2 = 1.380649e-23 * 298.0 * 2.837297 / (6 * np.pi * 0.9e-3 * 2e-9)
    assert finite_size_correction(298.0, 0.9e-3, 20.0) == pytest.approx(1e8 * meters2, rel=1e-5)
    assert Diffusion(1.0, 0.1, 10).cm2_per_s == 1e-4


@pytest.mark.parametrize("name", ["temperature_K", "viscosity", "length"])
def test_the_correction_refuses(name):
    arguments = {"temperature_K": 300.0, "viscosity": 1e-3, "length": 10.0}
    with pytest.raises(ValueError, match=f"{name} is -1.0"):
        finite_size_correction(**{**arguments, name: -1.0})
