"""Averages along a motion from rest: weights by hand, harmonic systems exactly, and the adjoint."""

from __future__ import annotations

import math

import pytest
import torch

from kstep_integrators import units
from kstep_integrators.correctors.mollified import triangle
from kstep_integrators.mechanics.averaging import Window, average, average_adjoint
from kstep_integrators.state import PhaseState, inverse_masses
from kstep_integrators.testing.surfaces import Surface, morse
from tests.correctors.test_filtered import Harmonic

FS = units.FS


def vibrations(state: PhaseState) -> tuple[Harmonic, torch.Tensor, torch.Tensor]:
    """Springs with six modes at rest and the others up to 4000 cm^-1; modes as columns."""
    size = 3 * len(state.numbers)
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))[0]
    wavenumbers = torch.cat([torch.zeros(6), torch.linspace(50.0, 4000.0, size - 6)]).double()
    frequencies = 2.0 * math.pi * 2.99792458e-5 / FS * wavenumbers  # 1 / ASE time
    root = state.masses.expand(-1, 3).reshape(-1).sqrt()
    weighted = basis * frequencies.square() @ basis.T
    rest = state.positions - 0.1 * torch.randn(9, 3, dtype=torch.float64, generator=generator)
    return Harmonic(rest, root[:, None] * weighted * root), frequencies, basis / root[:, None]


def the_average(potential, state: PhaseState, window: Window):
    rate = window.timestep**2 * inverse_masses(state)
    start, _ = potential(state.positions, None)
    return average(potential, state.positions, start, rate, window), rate


@pytest.mark.parametrize("reach", [4.0, 12.0, 24.0, 36.0])
def test_a_mode_keeps_what_the_window_says(reach, state):
    potential, frequencies, modes = vibrations(state)
    window = triangle(reach * FS)
    mean, _ = the_average(potential, state, window)
    assert not mean.failures
    weighted = (modes * state.masses.expand(-1, 3).reshape(-1)[:, None]).T
    before = weighted @ (state.positions - potential.rest).reshape(-1)
    after = weighted @ (mean.positions - potential.rest).reshape(-1)
    torch.testing.assert_close(after, window.kept(frequencies) * before, rtol=0, atol=1e-12)
    torch.testing.assert_close(after[:6], before[:6], rtol=0, atol=1e-12)  # nothing pulls there
    assert before.abs().min() > 1e-3
    assert window.kept(frequencies)[-1] < 0.7


def test_the_triangle_by_hand():
    """8 fs reach: four steps of 2 fs, (1, 3/4 to either side, 1/2, 1/4, 0) over 4."""
    window = triangle(8.0 * FS)
    assert window.timestep == pytest.approx(2.0 * FS)
    by_hand = torch.tensor([0.25, 0.375, 0.25, 0.125], dtype=torch.float64)
    torch.testing.assert_close(window.weights, by_hand, rtol=0, atol=1e-15)


def test_a_reach_of_one_step_is_made_in_two():
    """Of a single step the end has no weight: (1, 1/2 to either side, 0) over 2."""
    window = triangle(1.5 * FS)
    assert window.timestep == pytest.approx(0.75 * FS)
    assert window.weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("reach", [1.0, 5.0, 24.0])
def test_steps_are_at_most_2_fs_and_a_triangle_is_fejers_kernel(reach):
    window = triangle(reach * FS)
    steps = len(window.weights)
    assert window.timestep <= 2.0 * FS * (1.0 + 1e-12)
    assert window.timestep * steps == pytest.approx(reach * FS)
    assert float(window.weights.sum()) == pytest.approx(1.0, abs=1e-15)
    turned = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
    frequency = 2.0 * torch.sin(turned / 2.0) / window.timestep
    kernel = (torch.sin(steps * turned / 2.0) / torch.sin(turned / 2.0) / steps).square()
    torch.testing.assert_close(window.kept(frequency), kernel, rtol=0, atol=1e-12)


def test_the_path_is_velocity_verlet_from_rest(state):
    """Half a step of the force at the start, and the same after as before it."""
    potential, *_ = vibrations(state)
    window = triangle(12.0 * FS)
    mean, _ = the_average(potential, state, window)
    x, v = state.positions, torch.zeros_like(state.positions)
    h = window.timestep
    force = potential(x, None)[0].require_forces()
    for at in mean.path:
        torch.testing.assert_close(at, x, rtol=0, atol=1e-11)
        v = v + 0.5 * h * force / state.masses
        x = x + h * v
        force = potential(x, None)[0].require_forces()
        v = v + 0.5 * h * force / state.masses


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_adjoint_is_the_transposed_derivative(steps, state):
    """Column by column, by fourth-order differences of the average of an anharmonic system."""
    surface = Surface(morse(state.positions + 0.02, 2.0), 9).bind(state)
    weights = 1.2 ** -torch.arange(steps + 1, dtype=torch.float64)
    window = Window(2.0 * FS, weights / weights.sum())
    mean, rate = the_average(surface, state, window)
    force = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = average_adjoint(surface, mean.path, rate, window, force)
    wanted = torch.zeros(27, dtype=torch.float64)
    step = 1e-3
    for i in range(27):
        for far, share in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            moved = state.positions.clone().reshape(-1)
            moved[i] += far * step
            there, _ = the_average(surface, state.replace(positions=moved.reshape(9, 3)), window)
            wanted[i] += share / step * (there.positions * force).sum()
    torch.testing.assert_close(found.reshape(-1), wanted, rtol=0, atol=1e-8)
    assert (found - force).abs().max() > 0.01


def test_fixed_atoms_stay_where_they_are(state):
    mobile = torch.ones_like(state.masses)
    mobile[[0, 5]] = 0.0
    state = state.replace(mobile=mobile)
    potential, *_ = vibrations(state)
    mean, _ = the_average(potential, state, triangle(12.0 * FS))
    assert torch.equal(mean.path[:, [0, 5]], state.positions[[0, 5]].expand(len(mean.path), 2, 3))
    torch.testing.assert_close(mean.positions[[0, 5]], state.positions[[0, 5]], rtol=0, atol=1e-14)
    assert (mean.positions[1] - state.positions[1]).abs().max() > 1e-3
