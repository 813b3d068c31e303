"""Molecules from bundled names, files, SMILES strings, lists and prepared folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixBondLengths

from kstep_integrators import KStepWarning, named_molecule
from kstep_integrators.calculators.electrons import electrons_of
from kstep_training.inputs.molecules import read_molecule, read_molecules
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    listed = [Molecule("water", "O", 1), Molecule("hydroxide", "[OH-]", 2)]
    list(prepare(listed, tmp_path / "made", PrepSettings(conformers=1)))
    return tmp_path / "made"


def test_where_a_molecule_may_come_from(prepared: Path, tmp_path: Path) -> None:
    water = read_molecule(str(prepared / "water"))
    assert (water.name, water.forcefield) == ("water", "mmff94")
    assert water.system.getNumParticles() == 3
    assert read_molecule(prepared / "hydroxide").atoms.info["charge"] == -1
    assert read_molecule("Acetic acid").name == "acetic_acid"
    geometry = tmp_path / "mine.xyz"
    ase.io.write(geometry, named_molecule("methanol"))
    from_file = read_molecule(str(geometry), charge=1)
    assert (from_file.name, from_file.atoms.info["charge"]) == ("mine", 1)
    acetate = read_molecule("CC(=O)[O-]")
    assert (len(acetate.atoms), acetate.atoms.info["charge"]) == (7, -1)
    assert acetate.name == "CC__O__O-_"
    for result in (water, from_file, acetate):
        assert result.atoms.calc is None
        assert not result.atoms.pbc.any()
        assert result.atoms.info["multiplicity"] == 1


def test_masses_info_charge_and_multiplicity_come_along(tmp_path: Path) -> None:
    atoms = molecule("CH3")
    atoms.set_masses([12.0, 2.014, 2.014, 2.014])
    atoms.info.update(charge=1, multiplicity=3, origin="by hand")
    path = tmp_path / "cation.xyz"
    ase.io.write(path, atoms, format="extxyz")
    result = read_molecule(path).atoms
    np.testing.assert_allclose(result.get_masses(), atoms.get_masses())
    assert result.info == {"charge": 1, "multiplicity": 3, "origin": "by hand"}
    changed = read_molecule(path, charge=-1, multiplicity=1).atoms
    assert (changed.info["charge"], changed.info["multiplicity"]) == (-1, 1)


def test_the_charge_of_a_file_may_be_on_its_atoms(tmp_path: Path) -> None:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]])
    atoms.set_initial_charges([-0.8, -0.2])
    ase.io.write(tmp_path / "x.traj", atoms)
    assert read_molecule(tmp_path / "x.traj").atoms.info["charge"] == -1
    atoms.set_initial_charges([-0.8, 0.3])
    ase.io.write(tmp_path / "x.traj", atoms)
    with pytest.warns(KStepWarning, match=r"have the sum -0\.500, which is not whole: charge 0"):
        assert read_molecule(tmp_path / "x.traj").atoms.info["charge"] == 0
    assert read_molecule(tmp_path / "x.traj", charge=-1).atoms.info["charge"] == -1


def test_charge_and_spin_of_a_file_are_spelled_in_many_ways(tmp_path: Path) -> None:
    info = {"total_charge": 0, "spin": 2, "origin": "OMol25"}
    ase.io.write(tmp_path / "x.xyz", Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info=info))
    read = read_molecule(tmp_path / "x.xyz").atoms
    assert read.info == {"charge": 0, "multiplicity": 2, "origin": "OMol25"}
    anion = read_molecule(tmp_path / "x.xyz", charge=-1, multiplicity=1).atoms
    assert electrons_of(anion, None, None) == (-1, 1)


def test_a_file_of_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    ase.io.write(path, [named_molecule("water"), named_molecule("ethanol")], format="extxyz")
    assert read_molecule(path).name == "ethanol"
    assert [result.name for result in read_molecules(path)] == ["water", "ethanol"]
    nameless = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    ase.io.write(path, [nameless, nameless], format="extxyz")
    assert [result.name for result in read_molecules(path)] == ["frame0", "frame1"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nobody.xyz", "there is no file nobody.xyz"),
        ("etanol", "did you mean ethanol"),
        ("CC(", "no SMILES string"),
    ],
)
def test_no_molecule(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_molecule(source)
    with pytest.raises(ValueError, match=message):
        read_molecules(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pbc": True, "cell": [9, 9, 9]}, "is periodic"),
        ({"constraint": FixAtoms([0])}, r"has constraints \(FixAtoms\)"),
        ({"positions": [[0, 0, 0], [0, 0, np.nan]]}, "positions that are not finite"),
        ({"info": {"charge": "two"}}, r"x.traj: .*'charge'\] is 'two', expected a whole number"),
        ({"info": {"multiplicity": 1.5}}, r"x.traj: .*'multiplicity'\] is 1\.5, expected a whole"),
        ({"info": {"multiplicity": 0}}, "x.traj: .* is 0, expected a whole number of at least 1"),
    ],
)
def test_what_a_file_may_not_say(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"positions": [[0, 0, 0], [0, 0, 1.1]], **change}
    path = tmp_path / "x.traj"
    ase.io.write(path, Atoms("N2", **given))
    with pytest.raises(ValueError, match=message):
        read_molecule(path)


@pytest.mark.parametrize("name", ["POSCAR", "slab.cif", "slab.traj", "slab.extxyz"])
def test_cells_and_fixed_atoms_of_a_file(name: str, tmp_path: Path) -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    slab.info = {}
    held = [0, 1, 2, 3]
    if not name.endswith("cif"):
        slab.set_constraint(FixAtoms(held))
    if name.startswith("slab.c") or name == "POSCAR":
        slab.pbc = True  # these formats know no other
    ase.io.write(tmp_path / name, slab)
    read = read_molecule(tmp_path / name, cells=True)
    assert read.name == name.partition(".")[0]
    np.testing.assert_allclose(read.atoms.cell.cellpar(), slab.cell.cellpar(), atol=1e-4)
    assert read.atoms.pbc.tolist() == slab.pbc.tolist()
    fixed = [constraint.get_indices().tolist() for constraint in read.atoms.constraints]
    assert fixed == ([] if name.endswith("cif") else [held])
    assert read.atoms.info["charge"] == 0
    with pytest.raises(ValueError, match=r"is periodic .* kstep run and kstep evaluate take cells"):
        read_molecule(tmp_path / name)


def test_cells_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.traj"
    ase.io.write(path, Atoms("Cu", cell=[4, 4, 0], pbc=True))
    with pytest.raises(ValueError, match=r"expected a vector along each periodic direction"):
        read_molecule(path, cells=True)
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint([FixAtoms([0]), FixBondLengths([[0, 1]])])
    ase.io.write(path, crystal)
    with pytest.raises(ValueError, match=r"has constraints \(FixBondLengths\)"):
        read_molecule(path, cells=True)
    ase.io.write(path, Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], cell=[9, 9, 9]))
    assert not read_molecule(path, cells=True).atoms.cell.any()  # of no meaning without pbc


def test_several_molecules(prepared: Path, tmp_path: Path) -> None:
    assert [result.name for result in read_molecules("water, ethanol")] == ["water", "ethanol"]
    assert [result.name for result in read_molecules("water,CO")] == ["water", "CO"]
    path = tmp_path / "mine.smi"
    path.write_text("CO methanol\nO=C=O\n")
    result = read_molecules(path)
    assert [listed.name for listed in result] == ["methanol", "line2"]
    assert len(result[0].atoms) == 6
    assert len(read_molecules("qm_small")) > 2
    folder = read_molecules(prepared)
    assert [(one.name, one.forcefield) for one in folder] == [
        ("hydroxide", "mmff94"),
        ("water", "mmff94"),
    ]


def test_several_molecules_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no bundled molecule"):
        read_molecules("unobtainium")
    with pytest.raises(ValueError, match="names no molecule"):
        read_molecules(",")
    twice = tmp_path / "twice.xyz"
    ase.io.write(twice, [named_molecule("water")] * 2, format="extxyz")
    with pytest.raises(ValueError, match="two molecules of one name, water"):
        read_molecules(twice)
    crystal = tmp_path / "crystal.xyz"
    ase.io.write(crystal, bulk("Cu"), format="extxyz")
    with pytest.raises(ValueError, match="is periodic"):
        read_molecules(crystal)
    text = tmp_path / "text.xyz"
    text.write_text("not a geometry")
    with pytest.raises(ValueError, match="no file that ASE reads"):
        read_molecules(text)
    bad = tmp_path / "bad.smi"
    bad.write_text("C1CC one\n")
    with pytest.raises(ValueError, match="cannot be used as a whole"):
        read_molecules(bad)
    with pytest.raises(ValueError, match=r"no bundled molecule list 'none\.smi', nor a file"):
        read_molecules("none.smi")
