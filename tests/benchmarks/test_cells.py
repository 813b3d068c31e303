"""Suites of periodic cells, in small: what their rows say, and their tables."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import argon, argon_nve, cells_cost, cells_nve, copper, results, tables_cells
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.nn.native.library import native_library


def test_the_exponent_of_known_times():
    rows = [{"atoms": n, "us": 3.0 * n**0.5} for n in (100, 400, 900, 2500)]
    fit = cells_cost.exponent(rows, "us")
    assert fit["exponent"] == pytest.approx(1.5)
    assert fit["error"] < 1e-6


@pytest.mark.skipif(native_library() is None, reason="no native kernel")
def test_the_kernel_in_a_small_cell():
    row = cells_cost.by_kernel("copper", 108)
    # Three shells of neighbours within 5 angstrom.
    assert 42.0 < row["pairs_per_atom"] < 44.0
    assert row["force_us_per_atom"] > 0.0
    assert row["vesin_us_per_atom"] > 0.0
    assert row["kB_per_atom"] > 1.0


def test_the_morse_potential_is_as_stiff_as_copper():
    atoms = copper.crystal(2, 0)
    state = state_from_atoms(atoms)
    base, _ = copper.morse(atoms).bind(state)(state.positions, None)
    away = base.require_forces().numpy() - atoms.get_forces()
    assert np.sqrt((away**2).mean()) < 0.5 * np.sqrt((atoms.get_forces() ** 2).mean())


def test_copper_in_small(tmp_path, monkeypatch):
    folder = tmp_path / "results"
    case = copper.case(2)
    learned = cells_nve.learned(case, "nothing", 4, tmp_path / "m.safetensors")
    assert learned["labels"] >= 3
    run = cells_nve.strides(case, "learned", "nothing", 16.0, 0.896, tmp_path / "m.safetensors")
    fine = cells_nve.verlet(case, 16.0, 0, 0.896)
    assert fine["evaluations"] == 57
    assert abs(fine["drift"]) < 1.0
    row = cells_nve.overlaps(run, fine)
    assert 0.5 < row["rdf_overlap"] <= 1.0
    assert 0.0 < row["vdos_overlap"] <= 1.0
    averages = copper._averages(list(np.full(64, 3.2)), 32)
    assert averages["energy_meV_per_atom"] == [pytest.approx(100.0), pytest.approx(0.0)]
    result = {
        "lessons": [learned], "nve": [row, cells_nve.overlaps(fine, fine)],
        "nvt": {"averages": averages, "langevin": averages,
                "sigma": {"energy_meV_per_atom": 0.1, "heat_capacity_k": 0.2}},
    }  # fmt: skip
    folder.mkdir()
    (folder / "copper.json").write_text(json.dumps(result))
    monkeypatch.setattr(results, "RESULTS", folder)
    assert "| learned, nothing | 16 |" in tables_cells.copper_nve()
    assert "| Verlet | 16 |" in tables_cells.copper_nve()
    assert "| nothing | " in tables_cells.copper_learning()
    assert "| potential energy, meV/atom | 100.00 ± 0.00 |" in tables_cells.copper_nvt()


def test_argon_at_constant_energy_in_small(tmp_path, monkeypatch):
    monkeypatch.setattr(argon, "MELTING", 500)
    case = dataclasses.replace(argon_nve.CASE, resolution=40.0, lags=(0.08, 0.16))
    ways = {("learned", "weak wells"): (40.0,)}
    result = cells_nve.nve(case, ways, (20.0,), 4, 1.2, tmp_path)
    verlet, learned = result["nve"]
    assert verlet["evaluations"] == 61
    assert learned["evaluations"] == 31
    for row in (verlet, learned):
        assert 0.8 < row["rdf_overlap"] <= 1.0  # two runs of the same liquid
        assert abs(row["drift"]) < 1.0
        assert row["diffusion_A2_per_ps"][0] > 0.0
    (tmp_path / "argon_nve.json").write_text(json.dumps(result))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert "| learned, weak wells | 40 |" in tables_cells.argon_nve()
    assert "diffusion, A^2/ps" in tables_cells.argon_nve()
    assert "| weak wells | " in tables_cells.argon_learning()
