"""Charge and spin: one rule for what atoms say, whichever way it is spelled."""

import functools
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from kstep_integrators import KStepWarning
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.calculators.electrons import charge_of, electrons_noted, electrons_of


def methyl(**info) -> Atoms:
    atoms = molecule("CH3", info=info)
    atoms.set_initial_magnetic_moments(None)
    return atoms


@pytest.mark.parametrize(
    ("info", "noted"),
    [
        ({}, (None, None)),
        ({"charge": 1}, (1, None)),
        ({"total_charge": -1}, (-1, None)),
        ({"net_charge": np.float64(2.0)}, (2, None)),
        ({"Charge": np.array([1])}, (1, None)),
        ({"charge": "1"}, (1, None)),
        ({"charge": 0, "total_charge": 0.0}, (0, None)),
        ({"multiplicity": 2}, (None, 2)),
        ({"spin_multiplicity": 4}, (None, 4)),
        ({"spin": 2}, (None, 2)),  # as in OMol25
        ({"uhf": 1}, (None, 2)),
        ({"unpaired_electrons": 0}, (None, 1)),
        ({"charge": 0, "spin": 2, "uhf": 1}, (0, 2)),
        ({"charge": None, "spin": None}, (None, None)),
    ],
)
def test_spellings(info, noted):
    assert electrons_noted(methyl(**info)) == noted


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"charge": 0.5}, r"info\['charge'\] is 0.5, expected a whole number"),
        ({"charge": True}, "is True, expected a whole number"),
        ({"charge": float("nan")}, "is nan, expected a whole number"),
        ({"charge": "neutral"}, "is 'neutral', expected a whole number"),
        ({"charge": [1, 0]}, r"is \[1, 0\], expected a whole number"),
        ({"spin": 0}, r"info\['spin'\] is 0, expected a whole number of at least 1"),
        ({"spin": 0.5}, r"info\['spin'\] is 0.5, expected a whole number"),
        ({"uhf": -1}, r"info\['uhf'\] is -1, expected a whole number of at least 0"),
        ({"multiplicity": 0}, "expected a whole number of at least 1"),
        ({"charge": 1, "total_charge": 0}, "disagree about the charge; keep one of them"),
        ({"multiplicity": 2, "spin": 1}, "disagree about the multiplicity; keep one of them"),
    ],
)
def test_what_cannot_be_read_is_refused(info, said):
    with pytest.raises(ValueError, match=said):
        electrons_noted(methyl(**info))


@pytest.mark.parametrize("info", [{"spin": 1}, {"uhf": 0}, {"spin": 3}])
def test_spins_that_the_electrons_cannot_have_are_refused(info):
    with pytest.raises(ValueError, match="9 electrons, an odd number, which cannot have"):
        electrons_of(methyl(**info), None, None)


@pytest.mark.parametrize("info", [{"spin": 3}, {"uhf": 2}, {"spin_multiplicity": 3}])
@pytest.mark.parametrize("make", [xtb_calculator, "pyscf"])
def test_every_spelling_has_the_energy_of_the_argument(info, make):
    def calculator(**given):
        if make == "pyscf":
            return PySCFCalculator("hf", basis="sto-3g", device="cpu", **given)
        return make(**given)

    told, given = (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]]) for _ in range(2))
    given.calc = calculator(multiplicity=3)
    told.info.update(info)
    told.calc = calculator()
    expected = given.get_potential_energy()
    assert told.get_potential_energy() == pytest.approx(expected, abs=1e-5)
    told.info.clear()
    assert told.get_potential_energy() > expected + 0.5  # the singlet


def test_partial_charges_are_no_total():
    water = molecule("H2O")
    plain = molecule("H2O")
    plain.calc = xtb_calculator()
    water.set_initial_charges([-0.8, 0.41, 0.41])  # 0.02: of a force field, badly rounded
    with pytest.warns(KStepWarning, match=r"have the sum 0.020, which is not whole: charge 0"):
        assert charge_of(water, None) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever says the charge is not warned
        assert charge_of(water, 0) == 0
        water.info["charge"] = 0
        assert charge_of(water, None) == 0
        water.calc = xtb_calculator()
        assert water.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-6)
        del water.info["charge"]
        water.set_initial_charges([-0.834, 0.4172, 0.4172])  # TIP3P, to four digits
        assert charge_of(water, None) == 0
        water.set_initial_charges([0.166, 0.417, 0.417])
        assert electrons_noted(water).charge == 1
    with pytest.raises(ValueError, match="charge=0, but the initial charges of the atoms"):
        charge_of(water, 0)


def test_moments_that_are_a_guess_are_no_multiplicity():
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[0.8, 0.8])
    with pytest.warns(KStepWarning, match="which is not whole: multiplicity 1 is taken"):
        assert electrons_of(oxygen, None, None).multiplicity == 1
    assert electrons_of(oxygen, None, 3).multiplicity == 3
    oxygen.set_initial_magnetic_moments([0.9999, 0.9999])
    assert electrons_of(oxygen, None, None).multiplicity == 3
    with pytest.raises(ValueError, match="expected finite numbers"):
        electrons_of(Atoms("O", charges=[np.nan]), None, None)
    with pytest.raises(ValueError, match="there are no atoms"):
        electrons_of(Atoms(), None, None)
    oxygen.set_initial_magnetic_moments([1, -1])  # antiferromagnetic
    assert electrons_of(oxygen, None, None).multiplicity == 1
    oxygen.set_initial_magnetic_moments(None)
    oxygen.set_initial_magnetic_moments([[0, 0, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match="moments with a direction"):
        electrons_of(oxygen, None, None)


@pytest.mark.parametrize("given", [{"charge": 0.5}, {"charge": "one"}, {"multiplicity": 0}])
@pytest.mark.parametrize(
    "make", [xtb_calculator, functools.partial(PySCFCalculator, "hf", basis="sto-3g")]
)
def test_arguments_are_checked_when_they_are_given(given, make):
    name, value = next(iter(given.items()))
    with pytest.raises(ValueError, match=f"{name} is {value!r}, expected a whole number"):
        make(**given)
