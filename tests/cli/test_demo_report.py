"""The report of a demonstration, on runs whose numbers are known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kstep_integrators.cli.demo.break_even import BreakEven, break_even
from kstep_integrators.cli.demo.picture import bond_groups, draw
from kstep_integrators.cli.demo.records import RunRecord
from kstep_integrators.cli.demo.report import DFT_SECONDS, print_report, write_json
from kstep_integrators.cli.demo.start import DemoSettings, load_molecule
from kstep_integrators.models.molecules import bonded_pairs, named_molecule
from kstep_integrators.units import FS, KB

MILLISECOND = 1e-3


def synthetic(
    name: str,
    stride_fs: float,
    overhead: float,
    fluctuation: float,
    molecule: str = "ethanol",
    residual: float | None = None,
    femtoseconds: float = 1000.0,
) -> RunRecord:
    """Independent atoms about a minimum; physics at 2 ms, energy with a known rms (meV/atom)."""
    atoms = named_molecule(molecule)
    rng = np.random.default_rng(len(name))
    steps = round(femtoseconds / stride_fs)
    time = np.arange(steps + 1) * stride_fs * FS
    masses = atoms.get_masses()
    wave = np.sqrt(2.0) * fluctuation * 1e-3 * len(atoms) * np.sin(2 * np.pi * time / (20 * FS))
    shape = (steps + 1, len(atoms), 3)
    return RunRecord(
        name=name,
        stride_fs=stride_fs,
        masses=masses,
        numbers=atoms.numbers.astype(np.int64),
        time=time,
        total_energy=-500.0 + wave,
        evaluations=np.arange(1, steps + 2),
        positions=atoms.positions + 0.03 * rng.standard_normal(shape),
        momenta=np.sqrt(KB * 300.0 * masses)[:, None] * rng.standard_normal(shape),
        seconds=(steps + 1) * (2.0 * MILLISECOND + overhead),
        physics_seconds=(steps + 1) * 2.0 * MILLISECOND,
        jump_seconds=None if residual is None else (steps + 1) * overhead,
        residual_rms=residual,
    )


@pytest.fixture
def records() -> list[RunRecord]:
    return [
        synthetic("Verlet 0.5 fs", 0.5, 0.1 * MILLISECOND, 0.10),
        synthetic("Verlet 1 fs", 1.0, 0.1 * MILLISECOND, 0.38),
        synthetic("k-step 2 fs", 2.0, 8.0 * MILLISECOND, 0.15, residual=0.035),
        synthetic("potential only", 2.0, 8.0 * MILLISECOND, 0.9),
    ]


def test_break_even_by_hand() -> None:
    # 400 (t + 1) against 100 (t + 7): equal at t = 1, and 4 in the limit.
    balance = BreakEven(400, 100, 1.0, 7.0)
    assert balance.seconds == pytest.approx(1.0)
    assert balance.gain(1.0) == pytest.approx(1.0)
    assert balance.gain(1e9) == pytest.approx(4.0)
    assert balance.gain(0.0) == pytest.approx(4.0 / 7.0)


def test_break_even_at_the_ends() -> None:
    assert BreakEven(100, 100, 0.0, 1.0).seconds is None
    assert BreakEven(400, 100, 1.0, 1.0).seconds == 0.0


def test_break_even_of_records(records: list[RunRecord]) -> None:
    balance = break_even(records[0], records[2])
    assert (balance.evaluations_reference, balance.evaluations_jumps) == (2001, 501)
    assert balance.overhead_jumps == pytest.approx(8.0 * MILLISECOND)
    expected = (501 * 8.0 - 2001 * 0.1) / 1500 * MILLISECOND
    assert balance.seconds == pytest.approx(expected)
    wall = records[0].seconds / records[2].seconds
    assert balance.gain(records[0].evaluation_seconds) == pytest.approx(wall)


def test_json_has_the_numbers(records: list[RunRecord], tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    returned = write_json(
        path, records, break_even(records[0], records[2]), {"molecule": "ethanol"}
    )
    report = json.loads(path.read_text())
    assert report == returned
    assert report["molecule"] == "ethanol"
    reference, _, jumps, control = report["runs"]
    assert reference["evaluations"] == 2001
    assert reference["fluctuation_meV_per_atom"] == pytest.approx(0.10, rel=0.02)
    assert reference["residual_rms_meV_per_A"] is None
    assert control["residual_rms_meV_per_A"] is None
    assert jumps["residual_rms_meV_per_A"] == pytest.approx(35.0)
    assert jumps["simulated_fs"] == pytest.approx(1000.0)
    assert set(jumps["temperature_K"]) == {"H", "C", "O"}
    gains = report["break_even"]["gain"]
    assert gains["B3LYP/def2-SVP (assumed cost)"]["force_seconds"] == DFT_SECONDS
    assert gains["B3LYP/def2-SVP (assumed cost)"]["gain"] == pytest.approx(2001 / 501, rel=0.01)


def printed(records: list[RunRecord]) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_report(console, "ethanol", records, break_even(records[0], records[2]), 12.3)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return " ".join(str(text).split())


def test_table_and_sentences(records: list[RunRecord]) -> None:
    text = printed(records)
    for expected in (
        "Verlet 0.5 fs",
        "2001",
        "501",
        "35",
        "One GFN2 evaluation takes 2 ms",
        "Compiling and warming up took 12.3 s",
        "costs more than 2.5 ms",
        "DFT gradient at 5 s (ethanol",
        "at most",
        "4.0 times as fast",
    ):
        assert expected in text


def test_no_saving_is_said(records: list[RunRecord]) -> None:
    same = [records[0], records[1], records[0], records[3]]
    assert "save no evaluations" in printed(same)


def test_bonds_are_grouped_by_kind_and_length() -> None:
    acid = synthetic("Verlet 0.5 fs", 0.5, 0.0, 0.1, molecule="acetic_acid")
    groups = bond_groups(acid, bonded_pairs(named_molecule("acetic_acid")))
    labels = [label.replace("\N{EN DASH}", "-") for label, _ in groups]
    # The two C-O bonds of the acid differ by 0.15 angstrom and are not thrown together.
    assert sorted(labels) == sorted(["O-H", "C-H", "C-O", "C-O", "C-C"])
    assert sum(len(pairs) for _, pairs in groups) == 7
    assert bond_groups(acid, np.empty((0, 2), dtype=np.int64)) == []


@pytest.mark.parametrize("molecule", ["ethanol", "glycine", "carbon_dioxide"])
def test_picture_is_written(molecule: str, tmp_path: Path) -> None:
    runs = [
        synthetic("Verlet 0.5 fs", 0.5, 0.0, 0.1, molecule, femtoseconds=200.0),
        synthetic("k-step 2 fs", 2.0, 0.0, 0.1, molecule, femtoseconds=200.0),
    ]
    path = tmp_path / "demo.png"
    draw(path, molecule, runs, bonded_pairs(named_molecule(molecule)))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_molecule_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.xyz"
    ethanol = named_molecule("ethanol")
    ethanol.write(path)
    read = load_molecule(DemoSettings(source="xyz", value=str(path)))
    assert read.positions == pytest.approx(ethanol.positions, abs=1e-6)
    ethanol.set_cell([9.0, 9.0, 9.0])
    ethanol.pbc = True
    ethanol.write(path)
    with pytest.raises(ValueError, match="is periodic"):
        load_molecule(DemoSettings(source="xyz", value=str(path)))
    with pytest.raises(FileNotFoundError, match=r"no file .*missing\.xyz"):
        load_molecule(DemoSettings(source="xyz", value=str(tmp_path / "missing.xyz")))


def test_molecule_from_smiles() -> None:
    pytest.importorskip("rdkit")
    atoms = load_molecule(DemoSettings(source="smiles", value="CCO"))
    assert atoms.get_chemical_formula() == "C2H6O"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": "pdb"}, "source is 'pdb'"),
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"timestep_fs": -0.5}, "timestep_fs is -0.5"),
        ({"temperature_K": float("nan")}, "temperature_K is nan"),
        ({"time_fs": 4.0}, "4.0 fs hold 2 jumps of 2.0 fs"),
    ],
)
def test_settings_refuse(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DemoSettings(**wrong)
