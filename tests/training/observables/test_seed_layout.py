"""A spreadsheet of pairs with PDB and NPZ files, written here and read back."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from kstep_integrators import named_molecule
from kstep_training.observables.fit.coupling_target import CouplingTarget
from kstep_training.observables.fit.fit_stages import CouplingFitStage
from kstep_training.observables.labels.label_folder import ARRAYS, read_labels
from kstep_training.observables.labels.seed_layout import import_seed_layout, read_seed_layout

DEBYE = 0.20819434  # e angstrom
Rows = list[dict[str, Any]]


def pair(shift: float) -> tuple[Atoms, Atoms]:
    one, other = named_molecule("ethene"), named_molecule("furan")
    one.positions -= one.positions.mean(0)
    other.positions += [0.0, 0.0, shift] - other.positions.mean(0)
    return one, other


@pytest.fixture
def rows() -> Rows:
    common = {"angle_deg": 90.0, "participation": 1.5, "cheap_eV": 0.01, "reference_eV": -0.2}
    return [
        {"pair": f"p{frame}", "molecule_1": f"p{frame}_a", "molecule_2": f"p{frame}_b",
         "trajectory": "run", "frame": frame, "time_ps": 0.1 * frame,
         "distance_nm": 0.4 + 0.05 * frame, **common}
        for frame in (1, 0)
    ]  # fmt: skip


@pytest.fixture
def seed(tmp_path: Path, rows: Rows) -> Path:
    (tmp_path / "molecules").mkdir()
    (tmp_path / "pairs").mkdir()
    for row in rows:
        for name, atoms in zip("ab", pair(10.0 * row["distance_nm"]), strict=True):
            ase.io.write(tmp_path / "molecules" / f"{row['pair']}_{name}.pdb", atoms)
        np.savez(
            tmp_path / "pairs" / f"{row['pair']}.npz",
            populations_1=np.full((6, 3), 1.0), populations_2=np.full((9, 3), 2.0),
            dipole=np.array([1.0, 0.0, -2.0]), quadrupole=np.array([1.0, 0, 1.0, 0, 0, -2.0]),
        )  # fmt: skip
    write_table(tmp_path, rows)
    return tmp_path


def write_table(folder: Path, rows: Rows) -> None:
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_units_and_arrays(seed: Path) -> None:
    (part,) = read_seed_layout(seed)
    arrays = {name: its for name, its in ARRAYS["couplings"].items() if name in part}
    assert {*part} == {*ARRAYS["couplings"]} - {"orbital", "reference_2"}
    assert str(part["kind"]) == "C2H4+C4H4O"
    assert str(part["trajectory"]) == "run"
    assert part["frame"].tolist() == [0, 1]
    assert part["time_fs"] == pytest.approx([0.0, 100.0])
    assert part["molecule"].tolist() == [0] * 6 + [1] * 9
    assert part["separation"] == pytest.approx([4.0, 4.5], abs=1e-12)  # angstrom
    assert part["angle"] == pytest.approx([np.pi / 2] * 2, abs=1e-12)
    assert part["dipole"][0] == pytest.approx([DEBYE, 0.0, -2 * DEBYE], abs=1e-6)
    assert part["quadrupole"][0, 5] == pytest.approx(-20.0 * DEBYE, abs=1e-5)  # nm to angstrom
    assert part["populations"][0].tolist() == [[1.0] * 3] * 6 + [[2.0] * 3] * 9
    assert part["cheap"].tolist() == [0.01, 0.01]
    assert part["reference"].tolist() == [-0.2, -0.2]
    expected = np.concatenate([atoms.positions for atoms in pair(4.5)])
    assert part["positions"][1] == pytest.approx(expected, abs=6e-4)  # digits of PDB
    for name, (type_, *_) in arrays.items():
        kinds = {int: np.integer, float: np.floating, str: np.str_}
        assert np.issubdtype(part[name].dtype, kinds[type_]), name


def test_time_may_be_missing(seed: Path, rows: Rows) -> None:
    write_table(seed, [{k: v for k, v in row.items() if k != "time_ps"} for row in rows])
    assert np.isnan(read_seed_layout(seed)[0]["time_fs"]).all()


def test_one_part_for_each_trajectory(seed: Path, rows: Rows) -> None:
    rows[0]["trajectory"] = "other"
    write_table(seed, rows)
    assert [str(part["trajectory"]) for part in read_seed_layout(seed)] == ["other", "run"]


def test_a_folder_of_labels(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("labels")
    assert import_seed_layout(seed, folder, "PBE0/def2-SVP", "ZINDO") == 2
    labels = read_labels(folder)
    assert (labels.kind, labels.settings["reference"]) == ("couplings", "PBE0/def2-SVP")
    (before,) = read_seed_layout(seed)
    assert all(np.array_equal(labels.parts[0][name], before[name]) for name in before)
    with pytest.raises(FileExistsError, match="is not empty, expected a new folder"):
        import_seed_layout(seed, folder, "PBE0/def2-SVP", "ZINDO")
    methods = CouplingTarget(CouplingFitStage()).methods(labels.settings)
    assert methods == {"method": "PBE0/def2-SVP", "cheap_method": "ZINDO", "carrier": "hole"}


def test_couplings_that_say_no_cheap_method_and_have_no_orbitals(
    seed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    import_seed_layout(seed, folder, "PBE0/def2-SVP", "GFN2-xTB")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["settings"]["label"]["cheap_method"]  # as kstep label made them once
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match=r"0000\.0\.npz has no array 'orbital': an earlier version"
    ):
        read_labels(folder)


def change(name: str, value: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[0].update({name: value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("distance_nm", 4.5), r"distance_nm in row 2 .* is 4.5, but the centres of p1_a"),
        (change("angle_deg", 100.0), "angle_deg in row 2 of the spreadsheet is 100.0, expected"),
        (change("participation", 0.5), "participation in row 2 of the spreadsheet is 0.5"),
        (change("cheap_eV", "none"), "cheap_eV in row 2 of the spreadsheet is 'none', expected a"),
        (change("reference_eV", "nan"), "reference_eV in row 2 .* expected a finite number"),
        (lambda rows: [row.pop("cheap_eV") for row in rows], "has no column cheap_eV"),
        (lambda rows: rows[0].update(molecule_1="p0_b", molecule_2="p0_a",
                                     distance_nm=0.4, pair="turned"),
         "frame 1 of the trajectory 'run' has other atoms"),
    ],
)  # fmt: skip
def test_rows_that_are_refused(
    seed: Path, rows: Rows, edit: Callable[[Rows], object], message: str
) -> None:
    np.savez(
        seed / "pairs" / "turned.npz",
        populations_1=np.ones((9, 3)), populations_2=np.ones((6, 3)),
        dipole=np.zeros(3), quadrupole=np.zeros(6),
    )  # fmt: skip
    edit(rows)
    write_table(seed, rows)
    with pytest.raises(ValueError, match=message):
        read_seed_layout(seed)


def test_files_that_are_missing_or_damaged(seed: Path, rows: Rows) -> None:
    np.savez(seed / "pairs" / "p1.npz", dipole=np.zeros(3))
    with pytest.raises(ValueError, match="has no array 'populations_1'"):
        read_seed_layout(seed)
    np.savez(seed / "pairs" / "p1.npz", populations_1=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"'populations_1' in .* has the shape \(2, 3\), expected"):
        read_seed_layout(seed)
    (seed / "pairs" / "p1.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"p1\.npz, which the spreadsheet names"):
        read_seed_layout(seed)
    (seed / "molecules" / "p1_a.pdb").unlink()
    with pytest.raises(FileNotFoundError, match=r"p1_a\.pdb, which row 2"):
        read_seed_layout(seed)
    (seed / "pairs.csv").write_text(",".join(rows[0]) + "\n")
    with pytest.raises(ValueError, match="has no pairs"):
        read_seed_layout(seed)
    (seed / "pairs.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no pairs.csv or pairs.xlsx"):
        read_seed_layout(seed)


def test_workbook_without_openpyxl(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (seed / "pairs.csv").rename(seed / "pairs.xlsx")
    with pytest.raises(ImportError, match="openpyxl is needed, and it is not installed"):
        read_seed_layout(seed)


def test_workbook(seed: Path, rows: Rows) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(seed / "pairs.xlsx")
    (before,) = read_seed_layout(seed)
    (seed / "pairs.csv").unlink()
    (after,) = read_seed_layout(seed)
    assert all(np.array_equal(before[name], after[name]) for name in before)
