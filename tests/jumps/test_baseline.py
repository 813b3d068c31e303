import pytest
import torch

from kstep_integrators.jumps.baseline import (
    center_of_mass,
    drift,
    half_kick,
    increments,
    landing,
    without_mean,
)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture
def window():
    """Two molecules, the second padded by two atoms: x0, v0, f0, x1, v1, f1, masses."""
    masses = torch.rand(2, 5, 1, generator=torch.Generator().manual_seed(4)).double() * 15 + 1
    masses[1, 3:] = 0.0
    arrays = drawn(6, 2, 5, 3)
    arrays[:, 1, 3:] = 0.0
    return *arrays, masses


def test_verlet_by_hand(window):
    x0, v0, f0, x1, v1, f1, masses = window
    h = 0.3
    dx, dv = increments("verlet", x0, v0, f0, x1, v1, f1, masses, h)
    m = masses[0]
    expected = x1[0] - x0[0] - h * v0[0] - h * h * f0[0] / (2 * m)
    torch.testing.assert_close(dx[0], expected, rtol=0, atol=1e-12)
    expected = v1[0] - v0[0] - h * (f0[0] + f1[0]) / (2 * m)
    torch.testing.assert_close(dv[0], expected, rtol=0, atol=1e-12)


def test_plain_by_hand(window):
    x0, v0, f0, x1, v1, f1, masses = window
    h = 0.3
    dx, dv = increments("plain", x0, v0, f0, x1, v1, f1, masses, h)
    whole = (masses[0] * v0[0]).sum(0) / masses[0].sum()
    torch.testing.assert_close(dx[0], x1[0] - x0[0] - h * whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(dv[0], v1[0] - v0[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_there_and_back(window, baseline):
    x0, v0, f0, x1, v1, f1, masses = window
    strides = torch.tensor([0.2, 0.8], dtype=torch.float64).reshape(2, 1, 1)
    dx, dv = increments(baseline, x0, v0, f0, x1, v1, f1, masses, strides)
    x, v = landing(baseline, x0, v0, f0, dx, dv, f1, masses, strides)
    torch.testing.assert_close(x, x1, rtol=0, atol=1e-12)
    torch.testing.assert_close(v, v1, rtol=0, atol=1e-12)
    dx_again, dv_again = increments(baseline, x0, v0, f0, x, v, f1, masses, strides)
    torch.testing.assert_close(dx_again, dx, rtol=0, atol=1e-12)
    torch.testing.assert_close(dv_again, dv, rtol=0, atol=1e-12)


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_molecules_do_not_know_of_each_other(window, baseline):
    x0, v0, f0, x1, v1, f1, masses = window
    together = increments(baseline, x0, v0, f0, x1, v1, f1, masses, 0.4)
    arrays = [a[1, :3] for a in (x0, v0, f0, x1, v1, f1, masses)]
    alone = increments(baseline, *arrays, 0.4)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1, :3], other, rtol=0, atol=1e-14)
        assert one.isfinite().all()


def test_increments_of_a_free_motion_have_no_net_momentum(window):
    x0, v0, _, x1, v1, _, masses = window
    h, zero = 0.3, torch.zeros_like(x0)
    # The same centre of mass as ballistic motion has, and the same total momentum.
    x1 = without_mean(x1, masses) + center_of_mass(x0 + h * v0, masses)
    v1 = without_mean(v1, masses) + center_of_mass(v0, masses)
    dx, dv = increments("plain", x0, v0, zero, x1, v1, zero, masses, h)
    assert (masses * dx).sum(1).abs().max() < 1e-12
    assert (masses * dv).sum(1).abs().max() < 1e-12


def test_padding_is_neither_kicked_nor_counted(window):
    x0, v0, f0, _, _, _, masses = window
    forces = f0.clone()
    forces[1, 3:] = 7.0
    kicked = half_kick("verlet", v0, forces, masses, 0.5)
    assert kicked[1, 3:].abs().max() == 0
    assert without_mean(x0 + 1.0, masses)[1, 3:].abs().max() == 0
    assert half_kick("plain", v0, forces, masses, 0.5) is v0


def test_an_unknown_baseline_is_refused(window):
    x0, v0, f0, _, _, _, masses = window
    with pytest.raises(ValueError, match=r"unknown baseline 'euler'; choose one of \['plain'"):
        drift("euler", x0, v0, masses, 0.5)
    with pytest.raises(ValueError, match="unknown baseline 'euler'"):
        half_kick("euler", v0, f0, masses, 0.5)
