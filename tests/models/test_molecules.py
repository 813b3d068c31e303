"""Bundled molecules and their bonds."""

from __future__ import annotations

import numpy as np
import pytest

from kstep_integrators.models.molecules import bonded_pairs, named_molecule, named_molecules

# Bonds of a molecule with one component: atoms - 1 + rings.
RINGS = {
    "aniline": 1,
    "benzene": 1,
    "cyclohexane": 1,
    "cyclopropane": 1,
    "furan": 1,
    "imidazole": 1,
    "phenol": 1,
    "pyridine": 1,
    "pyrrole": 1,
    "tetrahydrofuran": 1,
    "toluene": 1,
}


def test_all_training_molecules_are_there() -> None:
    names = named_molecules()
    assert len(names) == len(set(names)) == 48
    assert names == sorted(names)
    assert {"ethanol", "N-methylformamide", "carbon_dioxide", "alanine"} <= set(names)


@pytest.mark.parametrize("name", named_molecules())
def test_each_molecule_is_whole(name: str) -> None:
    atoms = named_molecule(name)
    assert atoms.info["name"] == name
    assert isinstance(atoms.info["smiles"], str)
    assert not atoms.pbc.any()
    assert atoms.calc is None
    assert np.allclose(atoms.get_center_of_mass(), 0.0, atol=1e-6)
    assert len(bonded_pairs(atoms)) == len(atoms) - 1 + RINGS.get(name, 0)


@pytest.mark.parametrize("name", ["water", "ethanol", "nitromethane", "glycine"])
def test_geometry_is_a_gfn2_minimum(name: str) -> None:
    tblite = pytest.importorskip("tblite.ase")
    atoms = named_molecule(name)
    atoms.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    # fmax 0.01 when made; the rest covers other builds of tblite.
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.015


def test_copies_are_independent() -> None:
    named_molecule("ethanol").positions[:] = 0.0
    assert named_molecule("ethanol").positions.any()


def test_spelling_is_forgiven() -> None:
    for spelling in ("Acetic acid", "acetic-acid", " ACETIC_ACID "):
        assert named_molecule(spelling).info["name"] == "acetic_acid"
    assert named_molecule("n-methylformamide").info["name"] == "N-methylformamide"


def test_unknown_name_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"did you mean ethanol.*--xyz FILE.*--smiles"):
        named_molecule("ethannol")
    with pytest.raises(ValueError, match=r"'zzzzzzzz'; kstep_integrators\.models\.molecules"):
        named_molecule("zzzzzzzz")


def test_bonds_of_water() -> None:
    assert bonded_pairs(named_molecule("water")).tolist() == [[0, 1], [0, 2]]
