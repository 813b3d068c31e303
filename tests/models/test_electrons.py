"""Charge and spin of a run beside those of its model."""

import warnings

import pytest
from ase.build import molecule

from kstep_integrators import KStepDynamics, KStepWarning, load_model, run_ensemble
from kstep_integrators.calculators import xtb_calculator


def hydroxide():
    atoms = molecule("OH")
    atoms.set_initial_magnetic_moments(None)
    return atoms


@pytest.mark.parametrize("source", ["info", "arrays", "calculator"])
def test_a_charge_that_a_model_has_not_learned_is_warned_of(source):
    atoms = hydroxide()
    atoms.calc = xtb_calculator(charge=-1 if source == "calculator" else None)
    if source == "info":
        atoms.info["charge"] = -1
    if source == "arrays":
        atoms.set_initial_charges([-1, 0])
    with pytest.warns(KStepWarning, match=r"HO has charge -1 \(fitted to: 0\).*'organic-gfn2'"):
        KStepDynamics(atoms, load_model("organic-gfn2"))


def test_a_radical_is_warned_of_and_a_plain_molecule_is_not():
    radical = molecule("CH3")
    radical.calc = xtb_calculator()
    with pytest.warns(KStepWarning, match=r"multiplicity 2 \(fitted to: 1\)"):
        KStepDynamics(radical, load_model("organic-gfn2"))
    water = molecule("H2O")
    water.info.update(charge=0, multiplicity=1)
    water.set_initial_charges([-0.834, 0.417, 0.4171])  # of a force field
    water.calc = xtb_calculator(charge=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KStepDynamics(water, load_model("organic-gfn2"))


def test_ensembles_ask_too():
    atoms = hydroxide()
    atoms.info["charge"] = -1
    with pytest.warns(KStepWarning, match="HO has charge -1"):
        run_ensemble([atoms], load_model("organic-gfn2"), lambda _: xtb_calculator(), steps=1)
