"""Round trips at every door, and the two numbers that people get wrong."""

import numpy as np
import pytest
from ase import units as ase_units

from kstep_integrators import units


def test_one_ase_time_unit_is_ten_femtoseconds():
    assert pytest.approx(10.1805, rel=1e-4) == 1.0 / units.FS
    assert 1000.0 * units.FS == units.PS


def test_a_friction_of_two_per_picosecond():
    # 0.002 in inverse ASE time units would be 0.2 per picosecond, a tenth of 2/ps
    assert pytest.approx(0.02036, rel=1e-3) == 2.0 / units.PS


def test_thermal_velocity_of_hydrogen_at_300_kelvin_is_2700_metres_per_second():
    # sqrt(3 kT / m) = sqrt(3 * 1.380649e-23 * 300 / 1.6735e-27) = 2725 m/s = 2.725 nm/ps
    velocity = np.sqrt(3 * units.KB * 300 / ase_units._amu / 1.008 * ase_units._amu)
    assert velocity / units.NM_PER_PS == pytest.approx(2.725, rel=2e-3)


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        (units.KJ_PER_MOL, 0.010364269),
        (units.KJ_PER_MOL_NM, 0.0010364269),
        (units.HARTREE, 27.211386),
        (units.BOHR, 0.529177),
        (units.COULOMB, 14.399645),
        (units.KB, 8.617330e-5),
        # 1 cm^-1 is 29.979 GHz.
        (units.INVERSE_CM, 0.0299792458 / units.PS),
    ],
)
def test_constants(constant, expected):
    assert constant == pytest.approx(expected, rel=1e-6)
