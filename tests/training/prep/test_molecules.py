"""Molecule lists and conformers, with RDKit itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from kstep_training.prep.molecules import (
    bundled_list,
    conformers,
    hydrogenated,
    masses,
    read_smiles,
)


@pytest.mark.parametrize("name", ["qm_train", "qm_small", "mm_train"])
def test_bundled_lists_are_sound(name: str) -> None:
    molecules, problems = read_smiles(bundled_list(name))
    assert problems == []
    assert len(molecules) >= 5


def test_unknown_list_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no bundled molecule list 'nope'.*qm_train"):
        bundled_list("nope")


def test_what_a_list_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "list.smi"
    path.write_text("# a comment\n\nCCO ethanol and more\n  C#N hydrogen_cyanide\nO\n")
    molecules, problems = read_smiles(path)
    assert problems == []
    assert [(m.name, m.smiles, m.line) for m in molecules] == [
        ("ethanol", "CCO", 3),
        ("hydrogen_cyanide", "C#N", 4),
        ("line5", "O", 5),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("C1CC broken", "is not a SMILES string"),
        ("[Na+].[Cl-] salt", "several fragments"),
        ("CC water", "repeats the name 'water'"),
        ("CC ../up", "becomes a file name"),
        ("CC .hidden", "becomes a file name"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_stay(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "list.smi"
    path.write_text(f"O water\n{line}\nC methane\n")
    molecules, problems = read_smiles(path)
    assert [m.name for m in molecules] == ["water", "methane"]
    (problem,) = problems
    assert message in problem
    assert f"{path}:2:" in problem


def test_conformers_have_the_hydrogens_and_the_charge() -> None:
    (atoms,) = conformers("CC(=O)[O-]")
    assert atoms.get_chemical_formula() == "C2H3O2"
    assert atoms.info["charge"] == -1
    assert atoms.info["smiles"] == "CC(=O)[O-]"
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    assert 0.9 < distances.min() < 1.2


@pytest.mark.parametrize(("smiles", "torsion"), [("CCO", (0, 1, 2, 8)), ("CCCC", (0, 1, 2, 3))])
def test_every_minimum_is_found_once_whichever_its_hand(
    smiles: str, torsion: tuple[int, int, int, int]
) -> None:
    angles = [atoms.get_dihedral(*torsion) for atoms in conformers(smiles, 10)]
    folded = sorted(min(angle, 360.0 - angle) for angle in angles)
    assert folded == pytest.approx([62.0, 180.0], abs=8.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_conformers_are_distinct_and_repeat_with_the_seed(seed: int) -> None:
    first = conformers("OCCCO", 6, seed=seed)
    # Seed 0 is an ordinary seed too, although not to RDKit.
    assert len(first) > 1
    again = conformers("OCCCO", 6, seed=seed)
    np.testing.assert_array_equal([a.positions for a in first], [a.positions for a in again])
    spans = {round(float(a.get_distance(0, 4)), 2) for a in first}
    assert len(spans) > 1


def test_unreadable_smiles() -> None:
    with pytest.raises(ValueError, match="cannot read the SMILES string 'C1CC'"):
        conformers("C1CC")


def test_without_rdkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"kstep-integrators\[prep\]"):
        conformers("C")


def test_wildcards_are_refused() -> None:
    """An atom X of mass 1 was made of them."""
    for smiles in ("C*", "[*]CO", "[1*]C"):
        with pytest.raises(ValueError, match="has a wildcard"):
            conformers(smiles)


def test_isotopes_have_their_masses() -> None:
    heavy = conformers("[2H]O[2H]")[0]
    assert heavy.get_masses() == pytest.approx([2.0141, 15.999, 2.0141], abs=1e-3)
    assert masses(hydrogenated("[13CH4]")) == pytest.approx([13.00335] + 4 * [1.008], abs=1e-3)
    assert not conformers("O")[0].has("masses")
    with pytest.raises(ValueError, match="isotope 999C, whose mass RDKit does not know"):
        hydrogenated("[999CH4]")


@pytest.mark.parametrize("smiles", ["CC=CC", "FC=CF", "C/C=C/C", "FC(Cl)C(F)Cl", "CC=N"])
def test_conformers_are_of_one_isomer(smiles: str) -> None:
    found = conformers(smiles, 6)
    assert ("isomer" in found[0].info) == ("/" not in smiles)
    if smiles in ("CC=CC", "FC=CF", "C/C=C/C"):
        angles = [frame.get_dihedral(0, 1, 2, 3) for frame in found]
        trans = [90 < angle < 270 for angle in angles]
        assert len(set(trans)) == 1
    assert len({frame.info.get("isomer") for frame in found}) == 1


def test_radicals_have_their_multiplicity() -> None:
    assert conformers("[CH3]")[0].info["multiplicity"] == 2
    assert conformers("[O][O]")[0].info["multiplicity"] == 3
    assert "multiplicity" not in conformers("O=O")[0].info
