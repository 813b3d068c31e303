"""The physics by name and settings, with the programs themselves."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential

from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.physics.identity import settings_of
from kstep_training.inputs.models import read_model
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import METHODS, PhysicsSettings, is_physics, make_physics
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare

OWN = f"{__name__}:morse"


def morse(atoms: Atoms) -> MorsePotential:
    """A physics of one's own, which gets the molecule."""
    return MorsePotential(epsilon=1.0 + atoms.info["charge"])


@pytest.mark.parametrize("name", ["GFN2-xTB", "GFN1-xTB", "GFN-FF"])
def test_charge_and_multiplicity_are_those_of_the_molecule(name: str) -> None:
    hydroxide = read_molecule("[OH-]").atoms
    physics = make_physics(name)
    energy = physics(hydroxide).get_potential_energy(hydroxide)
    expected = xtb_calculator(name, charge=-1).get_potential_energy(hydroxide.copy())
    assert energy == pytest.approx(expected, abs=1e-8)
    assert physics.method == name
    package = "xtb" if name == "GFN-FF" else "tblite"
    assert set(physics.versions) == {package}
    assert physics.identity == f"{name} {package} {physics.versions[package]}"
    if name == "GFN2-xTB":
        triplet = read_molecule("O", multiplicity=3).atoms
        made = physics(triplet).get_potential_energy(triplet)
        by_hand = xtb_calculator(name, multiplicity=3).get_potential_energy(triplet.copy())
        assert made == pytest.approx(by_hand, abs=1e-8)


def test_gfnff_takes_its_bonds_from_the_molecule() -> None:
    """At one geometry, two atoms that were bonded and two that were not."""
    hydrogen = read_molecule("[H][H]").atoms
    far = hydrogen.copy()
    far.positions[1] = far.positions[0] + [3.0, 0.0, 0.0]
    bound, free = (make_physics("GFN-FF")(start) for start in (hydrogen, far))
    assert bound.get_potential_energy(hydrogen) < free.get_potential_energy(hydrogen) - 1.0


def test_pyscf_takes_its_settings() -> None:
    settings = PhysicsSettings("pyscf", xc="lda", basis="6-31g", density_fit=True)
    physics = make_physics(settings)
    hydrogen = read_molecule("[H][H]").atoms
    calculator = PySCFCalculator(xc="lda", basis="6-31g", density_fit=True, charge=0)
    assert physics(hydrogen).get_potential_energy(hydrogen) == pytest.approx(
        calculator.get_potential_energy(hydrogen), abs=1e-7
    )
    assert physics.method == "lda/6-31g"
    assert "xc=lda basis=6-31g density_fit=True pyscf" in physics.identity
    assert make_physics("pyscf").method == "hf/sto-3g"
    for xc in (None, "hf", "HF"):
        assert make_physics(PhysicsSettings("pyscf", xc=xc)).method == "hf/sto-3g"
    dispersion = PhysicsSettings("pyscf", xc="pbe", dispersion="d4", basis="def2-svp")
    assert make_physics(dispersion).method == "pbe-d4/def2-svp"


def test_a_force_field_is_that_of_the_molecule(tmp_path: Path) -> None:
    list(prepare([Molecule("water", "O", 1)], tmp_path, PrepSettings(conformers=1)))
    water = read_molecule(tmp_path / "water")
    physics = make_physics("mm", water)
    assert physics.method == "mmff94"
    assert physics(water.atoms).get_potential_energy(water.atoms) == pytest.approx(0.0, abs=0.1)
    for molecule in (None, read_molecule("ethanol")):
        with pytest.raises(ValueError, match="physics=mm needs the force field of a molecule"):
            make_physics("mm", molecule)


def test_emt_and_lennard_jones() -> None:
    copper = bulk("Cu", cubic=True)
    physics = make_physics("EMT")
    expected = EMT().get_potential_energy(copper.copy())
    assert physics(copper).get_potential_energy(copper) == pytest.approx(expected, abs=1e-12)
    assert physics.method == "EMT"
    with pytest.raises(ValueError, match="EMT has no parameters for Ar, expected elements of Al"):
        physics(Atoms("Ar"))
    physics = make_physics(PhysicsSettings("LJ", lj_epsilon_eV=0.01, lj_sigma_A=3.4))
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.4 * 2 ** (1 / 6)]])
    assert physics(pair).get_potential_energy(pair) == pytest.approx(-0.01, abs=1e-12)
    cut = make_physics(PhysicsSettings("LJ", lj_epsilon_eV=0.01, lj_sigma_A=3.4, lj_cutoff_A=3.6))
    assert cut(pair).get_potential_energy(Atoms("Ar2", [[0, 0, 0], [0, 0, 3.7]])) == 0.0
    with pytest.raises(ValueError, match="one well for all atoms, and there are Ar, Kr"):
        physics(Atoms("ArKr"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "'lj_epsilon_eV': None, 'lj_sigma_A': None"),
        (
            {"lj_epsilon_eV": -1.0, "lj_sigma_A": 3.4},
            r"'lj_epsilon_eV': -1.0\}: expected pos",
        ),
        ({"lj_epsilon_eV": 1.0, "lj_sigma_A": 3.4, "lj_cutoff_A": 3.0}, "lj_cutoff_A is 3.0, exp"),
    ],
)
def test_wells_that_are_none(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PhysicsSettings("LJ", **given)


def test_a_function_of_ones_own() -> None:
    physics = make_physics(OWN)
    assert (physics.method, physics.versions) == (OWN, {})
    assert physics.identity == f"{OWN} {settings_of(morse)['function']}"
    nitrogen = Atoms("N2", [[0, 0, 0], [0, 0, 1.0]], info={"charge": 2})
    assert physics(nitrogen).get_potential_energy(nitrogen) == pytest.approx(-3.0)


def test_a_function_of_ones_own_is_known_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "from ase.calculators.lj import LennardJones\n\n\ndef make(atoms):\n    {}\n"
    identities = []
    for body in ("return LennardJones(sigma=1.0)", "return LennardJones(sigma=2.0)"):
        (tmp_path / "own_physics.py").write_text(text.format(body))
        importlib.invalidate_caches()
        sys.modules.pop("own_physics", None)
        identities.append(make_physics("own_physics:make").identity)
    sys.modules.pop("own_physics")
    assert identities[0].startswith("own_physics:make make ")
    assert identities[0] != identities[1]


@pytest.mark.parametrize("name", ["GFN2-xTB", "pyscf", OWN])
def test_it_can_be_sent_to_other_processes(name: str) -> None:
    physics = make_physics(name)
    assert pickle.loads(pickle.dumps(physics)) == physics  # noqa: S301


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GFN3", r"physics is 'GFN3', expected one of GFN2-xTB, .*, mm, or module:function"),
        ("gfn2", r"did you mean GFN2-xTB\?"),
        ("no_such_module:f", "cannot be loaded"),
        ("math:no_such_function", "cannot be loaded"),
        ("os:getcwd", "cannot be called with one Atoms object"),
        ("math:pi", "is a float, expected a function"),
    ],
)
def test_no_physics(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_physics(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("xc", "pbe"), ("basis", "def2-svp"), ("dispersion", "d4"), ("density_fit", True)],
)
@pytest.mark.parametrize("physics", ["GFN2-xTB", "mm", OWN])
def test_settings_of_another_method_are_refused(physics: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r} and physics is .*physics=pyscf"):
        dataclasses.replace(PhysicsSettings(physics), **{name: value})


def test_models_by_name() -> None:
    water = read_molecule("water").atoms
    assert read_model("organic-gfn2", water).describe()["model"] == "organic-gfn2"
    for name in ("GFN1-xTB", OWN):
        assert "calculator" in read_model(name, water).describe()
    assert all(is_physics(name) for name in (*METHODS, OWN))
    assert not any(is_physics(name) for name in ("organic-gfn2", "a/model.safetensors"))
    with pytest.raises(ValueError, match="no-such-model"):
        read_model("no-such-model", water)


def test_a_potential_of_an_ion_has_its_charge() -> None:
    hydroxide = read_molecule("[OH-]").atoms
    from kstep_integrators.ase.atoms import state_from_atoms

    bound = read_model("GFN1-xTB", hydroxide).bind(state_from_atoms(hydroxide))
    energy = bound(state_from_atoms(hydroxide).positions, None)[0].energy
    expected = xtb_calculator("GFN1-xTB", -1).get_potential_energy(hydroxide.copy())
    np.testing.assert_allclose(float(energy), expected, atol=1e-6)
