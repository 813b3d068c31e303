"""The stage prep from list to files, with RDKit and OpenMM themselves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import openmm
import pytest
from ase.build import molecule
from openmm import app, unit

from kstep_integrators.cli import main
from kstep_training.options import override
from kstep_training.prep import prepare as module
from kstep_training.prep.molecules import Molecule, conformers, read_smiles
from kstep_training.prep.prepare import PrepSettings, prepare, run_prep
from kstep_training.prep.prepared import prepared_folders, read_prepared

SETTINGS = PrepSettings(conformers=3)
WATER = Molecule("water", "O", 1)
PYRROLE = Molecule("pyrrole", "c1cc[nH]c1", 2)
FLUORIDE = Molecule("hydrogen_fluoride", "F", 3)


def tree(folder: Path) -> dict[str, int]:
    """Time stamps of all files."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    reports = dict(prepare([WATER, PYRROLE], tmp_path, SETTINGS))
    assert reports["pyrrole"] == {
        "line": 2,
        "smiles": "c1cc[nH]c1",
        "status": "done",
        "atoms": 10,
        "charge": 0,
        "conformers": 1,
    }
    pyrrole, water = map(read_prepared, prepared_folders(tmp_path))
    assert (pyrrole.name, water.name) == ("pyrrole", "water")
    expected = conformers("c1cc[nH]c1", 3)
    for result, wanted in zip(pyrrole.conformers, expected, strict=True):
        np.testing.assert_allclose(result.positions, wanted.positions, atol=1e-8)
        assert result.info["smiles"] == "c1cc[nH]c1"
        assert result.info["charge"] == 0
    assert pyrrole.system.getNumParticles() == 10
    assert {(a.name, a.element.atomic_number) for a in water.topology.atoms()} == {
        ("O1", 8),
        ("H1", 1),
        ("H2", 1),
    }


@pytest.mark.parametrize("smiles", ["F", "C\\C=C/C", "[C-]#[O+]", "C=O"])
def test_smiles_read_back_letter_by_letter(tmp_path: Path, smiles: str) -> None:
    """ASE reads F as false in extended XYZ, and takes backslashes away."""
    settings = PrepSettings(conformers=2, forcefield=None)
    list(prepare([Molecule("molecule", smiles, 1)], tmp_path, settings))
    read = read_prepared(tmp_path / "molecule").conformers
    assert [atoms.info["smiles"] for atoms in read] == [smiles] * len(read)


def test_the_pdb_file_has_every_bond_and_the_first_conformer(tmp_path: Path) -> None:
    list(prepare([Molecule("acetate", "CC(=O)[O-]", 1)], tmp_path, SETTINGS))
    pdb = app.PDBFile(str(tmp_path / "acetate" / "topology.pdb"))
    bonds = {frozenset((a.index, b.index)) for a, b in pdb.topology.bonds()}
    assert bonds == {frozenset(p) for p in [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (0, 6)]}
    x = pdb.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    np.testing.assert_allclose(x, conformers("CC(=O)[O-]", 3)[0].positions, atol=6e-4)
    text = (tmp_path / "acetate" / "topology.pdb").read_text()
    assert text.count("O1-") == 1
    assert "0+" not in text


def test_conformers_lie_at_minima_of_the_system(tmp_path: Path) -> None:
    list(prepare([Molecule("glycol", "OCCO", 1)], tmp_path, PrepSettings(conformers=6)))
    glycol = read_prepared(tmp_path / "glycol")
    assert len(glycol.conformers) > 1
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(glycol.system, openmm.VerletIntegrator(0.001), platform)
    energies = []
    for atoms in glycol.conformers:
        context.setPositions(atoms.positions / 10.0)
        state = context.getState(energy=True, forces=True)
        energies.append(state.getPotentialEnergy()._value)
        assert abs(state.getForces(asNumpy=True)._value).max() < 1.0  # kJ/(mol nm)
    assert energies == sorted(energies)


def test_a_failure_is_reported_and_finished_molecules_are_kept(tmp_path: Path) -> None:
    first = dict(prepare([WATER, FLUORIDE, PYRROLE], tmp_path, SETTINGS))
    assert [first[name]["status"] for name in first] == ["done", "failed", "done"]
    assert first["hydrogen_fluoride"]["line"] == 3
    assert "ValueError: MMFF94 has no atom types" in first["hydrogen_fluoride"]["reason"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["molecules"] == first
    assert {path.name for path in tmp_path.iterdir()} == {"water", "pyrrole", "manifest.json"}

    before = tree(tmp_path / "water")
    second = dict(prepare([WATER, Molecule("methane", "C", 2)], tmp_path, SETTINGS))
    assert second["water"] == first["water"]
    assert second["methane"]["status"] == "done"
    assert tree(tmp_path / "water") == before


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_an_interrupted_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr("kstep_training.prep.prepared.ase.io.write", interrupt)
        else:
            rename = os.replace

            def once(source: Path, target: Path) -> None:
                if Path(target).name == "pyrrole":
                    raise KeyboardInterrupt
                rename(source, target)

            patch.setattr("kstep_training.prep.prepared.os.replace", once)
        with pytest.raises(KeyboardInterrupt):
            list(prepare([PYRROLE], tmp_path, SETTINGS))
    assert not (tmp_path / "pyrrole").exists()
    with pytest.raises(FileNotFoundError, match="run kstep prep first"):
        prepared_folders(tmp_path)
    list(prepare([PYRROLE], tmp_path, SETTINGS))
    assert prepared_folders(tmp_path) == [tmp_path / "pyrrole"]
    assert read_prepared(tmp_path / "pyrrole").name == "pyrrole"
    assert {path.name for path in tmp_path.iterdir()} == {"pyrrole", "manifest.json"}


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "water").mkdir()
    (tmp_path / "water" / "thesis.txt").write_text("")
    with pytest.raises(FileExistsError, match="water is there already"):
        list(prepare([WATER], tmp_path, SETTINGS))
    assert (tmp_path / "water" / "thesis.txt").exists()


def test_other_settings_and_other_molecules_are_refused(tmp_path: Path) -> None:
    list(prepare([WATER], tmp_path, SETTINGS))
    with pytest.raises(ValueError, match=r"other settings: seed was 0, now 3\. Choose"):
        prepare([WATER], tmp_path, PrepSettings(conformers=3, seed=3))
    with pytest.raises(ValueError, match=r"prepared from 'O', but line 7 of the list says 'OO'"):
        prepare([Molecule("water", "OO", 7)], tmp_path, SETTINGS)


def test_a_damaged_folder_is_found(tmp_path: Path) -> None:
    list(prepare([WATER, PYRROLE], tmp_path, SETTINGS))
    os.replace(tmp_path / "water" / "system.xml", tmp_path / "pyrrole" / "system.xml")
    with pytest.raises(ValueError, match="3 particles and the conformers 10 atoms"):
        read_prepared(tmp_path / "pyrrole")
    (tmp_path / "water" / "topology.pdb").unlink()
    with pytest.raises(FileNotFoundError, match=r"topology\.pdb"):
        read_prepared(tmp_path / "water")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("conformers=0", "conformers is 0, expected at least 1"),
        ("seed=-1", "seed is -1, expected a whole number from 0"),
        ("constraints=AllBonds", "constraints is 'AllBonds', expected HBonds or null"),
        ("forcefield=amber", "forcefield is 'amber', expected one of mmff94"),
        ("forcefield=null constraints=HBonds", "without a force field"),
        ("conformer=3", "unknown key 'conformer'; did you mean 'conformers'"),
        ("seed=one", "seed"),
    ],
)
def test_settings_are_checked(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(PrepSettings, word.split())


def test_settings_from_the_command_line() -> None:
    result = override(PrepSettings, ["conformers=2", "forcefield=mmff94s", "constraints=HBonds"])
    assert result == PrepSettings(2, 0, "mmff94s", "HBonds")
    assert override(PrepSettings, ["constraints=null"]) == PrepSettings()
    assert override(PrepSettings, ["forcefield=null"]).forcefield is None


def test_molecules_that_no_force_field_covers(tmp_path: Path) -> None:
    settings = PrepSettings(conformers=1, forcefield=None)
    ended = dict(prepare([WATER, FLUORIDE], tmp_path, settings))
    assert [report["status"] for report in ended.values()] == ["done", "done"]
    names = {path.name for path in (tmp_path / "hydrogen_fluoride").iterdir()}
    assert names == {"topology.pdb", "conformers.xyz"}
    fluoride, _ = map(read_prepared, prepared_folders(tmp_path))
    assert fluoride.system is None
    assert list(fluoride.conformers[0].numbers) == [9, 1]


def test_command_reports_bad_lines_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.smi"
    path.write_text("O water\n[nH]1cccc broken\n[Na+].[Cl-] salt\nF hydrogen_fluoride\nC methane\n")
    output = tmp_path / "out"
    command = ["prep", str(path), "--output", str(output), "conformers=1"]
    assert main(command) == 0
    written = capsys.readouterr().out
    assert f"{path}:2: '[nH]1cccc' is not a SMILES string" in written
    assert f"{path}:3: '[Na+].[Cl-]' has several fragments" in written
    assert "failed line 4, hydrogen_fluoride: ValueError: MMFF94 has no atom types" in written
    assert f"Prepared 2 molecules in {output}; 1 failed, 2 lines skipped" in written
    stamps = tree(output / "water")
    assert main(command) == 0
    assert tree(output / "water") == stamps


@pytest.mark.parametrize("name", ["box.extxyz", "box.vasp", "box.traj", "box.cif", "alone.xyz"])
def test_geometries_are_no_lists(tmp_path: Path, name: str) -> None:
    atoms = molecule("CH3OH", vacuum=2.0)  # 'C 3.04 ...' would be methane by the name of 3.04
    atoms.pbc = not name.startswith("alone")
    ase.io.write(tmp_path / name, atoms)
    with pytest.raises(ValueError, match=r"is a file of geometries.*kstep run"):
        run_prep(str(tmp_path / name), [], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotADirectoryError, match="the folder that kstep prep has written"):
        prepared_folders(tmp_path / name)


@pytest.mark.parametrize("name", ["list", "list.smi", "list.txt", "list.dat", "list.csv"])
def test_lists_by_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("C C\nO water\n")
    molecules, problems = read_smiles(tmp_path / name)
    assert [(one.name, one.smiles) for one in molecules] == [("C", "C"), ("water", "O")]
    assert not problems


def test_lists_that_give_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.smi"
    path.write_text("C1CC broken\n")
    with pytest.raises(ValueError, match="holds no usable molecule"):
        run_prep(str(path), [], tmp_path / "out")
    path.write_text("F hydrogen_fluoride\n")
    with pytest.raises(ValueError, match="none of the 1 molecules"):
        run_prep(str(path), [], tmp_path / "out")
    with pytest.raises(ValueError, match=r"no bundled molecule list 'no\.smi', nor a file"):
        run_prep("no.smi", [], tmp_path / "out")


def test_openff_that_is_missing_stops_the_command_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openff", None)
    command = ["prep", "qm_small", "forcefield=openff", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "conda install -c conda-forge openff-toolkit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_write_that_fails_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "write_prepared", full)
    with pytest.raises(OSError, match="no space left"):
        list(prepare([WATER], tmp_path, SETTINGS))


def test_what_was_chosen_where_stereochemistry_is_open_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.smi").write_text("CC=CC butene\nC/C=C/C trans\nCCO ethanol\n")
    command = ["prep", str(tmp_path / "list.smi"), "conformers=4", "forcefield=null"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    written = capsys.readouterr().out
    (line,) = [line for line in written.splitlines() if line.startswith("chosen")]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    isomer = manifest["molecules"]["butene"]["isomer"]
    assert isomer in (r"C/C=C/C", r"C/C=C\C")
    assert line == (
        "chosen line 1, butene: CC=CC leaves stereochemistry open; all conformers are "
        f"{isomer} or its mirror image"
    )
    frames = ase.io.read(tmp_path / "out/butene/conformers.xyz", ":")
    assert {frame.info["isomer"] for frame in frames} == {isomer}
    # Its double bond is what the line says, in every conformer.
    dihedrals = np.array([abs(frame.get_dihedral(0, 1, 2, 3) - 180.0) for frame in frames])
    assert np.all((dihedrals < 20) == (isomer == r"C/C=C/C"))
    for other in ("trans", "ethanol"):
        assert "isomer" not in manifest["molecules"][other]
