import math

import numpy as np
import pytest
import torch

from kstep_integrators import units
from kstep_integrators.state import kinetic_energy
from kstep_integrators.thermostats import Bussi, Langevin, NoThermostat, make_thermostat

KT = units.KB * 300.0


def test_full_refresh_is_maxwell_boltzmann(state):
    # friction * stride >> 1 draws new momenta; kinetic energy is Gamma(27/2) kT
    rng = np.random.default_rng(1)
    bath = Langevin(300.0, 100.0)
    draws = 2000
    energies = [float(kinetic_energy(bath.half_step(state, 10.0, rng))) for _ in range(draws)]
    mean, spread = np.mean(energies), math.sqrt(13.5) * KT
    assert abs(mean - 13.5 * KT) < 3 * spread / math.sqrt(draws)
    # variance of a sample variance: kurtosis of Gamma(k) is 3 + 6/k
    error = spread**2 * math.sqrt((2 + 6 / 13.5) / draws)
    assert abs(np.var(energies) - spread**2) < 3 * error


def test_with_the_centre_of_mass_at_rest_there_are_three_degrees_less(state):
    rng = np.random.default_rng(2)
    state, bath, draws = state.replace(fix_com=True), Langevin(300.0, 100.0), 2000
    energies = [float(kinetic_energy(bath.half_step(state, 10.0, rng))) for _ in range(draws)]
    assert abs(np.mean(energies) - 12 * KT) < 3 * math.sqrt(12) * KT / math.sqrt(draws)


def test_half_step_by_hand(state):
    friction, stride = 0.02 / units.FS, 2.0 * units.FS
    # c = exp(-0.02 * 2 / 2)
    c = math.exp(-0.02)
    after = Langevin(300.0, friction).half_step(state, stride, np.random.default_rng(7))
    noise = torch.from_numpy(np.random.default_rng(7).standard_normal((9, 3)))
    expected = c * state.momenta + torch.sqrt((1 - c * c) * KT * state.masses) * noise
    torch.testing.assert_close(after.momenta, expected, atol=1e-14, rtol=0)


def test_no_thermostat_draws_no_random_numbers(state):
    rng = np.random.default_rng(0)
    assert NoThermostat().half_step(state, 1.0, rng) is state
    assert rng.integers(1 << 30) == np.random.default_rng(0).integers(1 << 30)


def test_arguments_that_belong_together():
    assert isinstance(make_thermostat(None, None, None), NoThermostat)
    assert make_thermostat(None, 300, 0.1) == Langevin(300.0, 0.1)
    assert make_thermostat("langevin", 300, 0.1) == Langevin(300.0, 0.1)
    assert make_thermostat("bussi", 300, None, 5) == Bussi(300.0, 5.0)
    assert make_thermostat("bussi", 300, None, math.inf) == Bussi(300.0, math.inf)
    for arguments, message in (
        (("nose", 300, 0.1), r"unknown thermostat 'nose'; choose one of \['bussi', 'langevin'\]"),
        ((None, 300, None, 5.0), "taut=5.0 belongs to the bussi thermostat: pass thermostat"),
        (("langevin", 300, 0.1, 5.0), "takes friction and not taut, but taut=5.0 was given"),
        (("bussi", 300, 0.1, 5.0), "takes taut and not friction, but friction=0.1 was given"),
        (("bussi", None, None, 5.0), "'bussi' with taut=5.0 needs a temperature"),
        (("bussi", 300, None, None), r"pass taut as well \(such as 100 \* ase.units.fs\)"),
        (("bussi", math.inf, None, 5.0), "temperature_K is inf, expected"),
        (("bussi", 300, None, 0.0), "taut is 0.0, expected a number > 0"),
        (("bussi", 300, None, math.nan), "taut is nan, expected a number > 0"),
        ((None, None, 0.1), "friction=0.1 needs a temperature"),
        (("langevin", None, None), "needs a temperature"),
        ((None, 300, None), "temperature_K=300 is used by a thermostat only"),
        ((None, -1.0, 0.1), "temperature_K is -1.0, expected"),
        ((None, 300, float("nan")), "friction is nan, expected"),
    ):
        with pytest.raises(ValueError, match=message):
            make_thermostat(*arguments)
