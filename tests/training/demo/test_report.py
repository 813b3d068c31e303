"""The report of a demonstration, on runs whose numbers are known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kstep_integrators.diagnostics import kinetic_energy
from kstep_integrators.models.molecules import bonded_pairs, named_molecule
from kstep_integrators.units import FS, KB
from kstep_training.demo.picture import bond_groups, draw
from kstep_training.demo.report import (
    DFT_SECONDS,
    BreakEven,
    break_even,
    print_report,
    write_json,
)
from kstep_training.demo.runs import DemoRun
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record

MILLISECOND = 1e-3


def synthetic(
    name: str,
    stride_fs: float,
    overhead: float,
    fluctuation: float,
    molecule: str = "ethanol",
    residual: float | None = None,
    femtoseconds: float = 1000.0,
) -> DemoRun:
    """Independent atoms about a minimum; physics at 2 ms, energy with a known rms (meV/atom)."""
    atoms = named_molecule(molecule)
    rng = np.random.default_rng(len(name))
    steps = round(femtoseconds / stride_fs)
    time = np.arange(steps + 1) * stride_fs * FS
    masses = atoms.get_masses()
    wave = np.sqrt(2.0) * fluctuation * 1e-3 * len(atoms) * np.sin(2 * np.pi * time / (20 * FS))
    shape = (steps + 1, len(atoms), 3)
    momenta = np.sqrt(KB * 300.0 * masses)[:, None] * rng.standard_normal(shape)
    record = Record(
        numbers=atoms.numbers.astype(np.int64),
        masses=masses,
        time=time,
        positions=atoms.positions + 0.03 * rng.standard_normal(shape),
        momenta=momenta,
        energies=-500.0 + wave - kinetic_energy(momenta, masses),
        facts={
            "counted": steps + 1,
            "seconds": (steps + 1) * (2.0 * MILLISECOND + overhead),
            "physics_seconds": (steps + 1) * 2.0 * MILLISECOND,
            "jump_seconds": None if residual is None else (steps + 1) * overhead,
            "residual_rms": residual,
        },
    )
    kind = "verlet" if name.startswith("Verlet") else "jumps"
    length_ps = femtoseconds / 1000.0
    method = Method(name, "dynamics", "test", kind, stride_fs, stride_fs, length_ps)
    return DemoRun(method, record, np.arange(1, steps + 2))


@pytest.fixture
def records() -> list[DemoRun]:
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


def test_break_even_of_records(records: list[DemoRun]) -> None:
    balance = break_even(records[0], records[2])
    assert (balance.evaluations_reference, balance.evaluations_jumps) == (2001, 501)
    assert balance.overhead_jumps == pytest.approx(8.0 * MILLISECOND)
    expected = (501 * 8.0 - 2001 * 0.1) / 1500 * MILLISECOND
    assert balance.seconds == pytest.approx(expected)
    wall = records[0].seconds / records[2].seconds
    assert balance.gain(records[0].evaluation_seconds) == pytest.approx(wall)


def test_json_has_the_numbers(records: list[DemoRun], tmp_path: Path) -> None:
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


def printed(records: list[DemoRun]) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_report(console, "ethanol", records, break_even(records[0], records[2]), 12.3)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return " ".join(str(text).split())


def test_table_and_sentences(records: list[DemoRun]) -> None:
    text = printed(records)
    for expected in (
        "Verlet 0.5 fs",
        "2001",
        "501",
        "35",
        "One GFN2 evaluation takes 2 ms",
        "Warming up took 12.3 s",
        "costs more than 2.5 ms",
        "DFT gradient at 5 s (ethanol",
        "at most",
        "4.0 times as fast",
    ):
        assert expected in text


def test_no_saving_is_said(records: list[DemoRun]) -> None:
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
