"""The benchmark of MM runs in OpenMM: its methods, their evaluations, and what becomes of them."""

import argparse

import numpy as np
import openmm
import pytest

from benchmarks import openmm_mm
from benchmarks.direct_runs_report import Job, keep, row_of, summary
from benchmarks.openmm_mm import able, methods, run, verlet
from benchmarks.references import Reference
from kstep_training.dataset.internal_coordinates import internal_coordinates
from kstep_training.dataset.segments import row_type
from tests.conftest import hot
from tests.openmm.systems import make_context, moving, place, springs, where


def reference():
    atoms = hot(temperature=300.0)
    rows = np.zeros(2, row_type(9))
    rows["positions"] = atoms.positions
    coordinates = internal_coordinates(atoms.numbers, atoms.positions)
    return Reference("ethanol", False, atoms, "springs", 0.5, coordinates, springs(hot()), [rows])


def test_controls():
    molecule = hot(temperature=300.0)
    fly = verlet(0.001, 300.0, 0.0, kicks=False)
    found = place(make_context(springs(hot()), fly), molecule)
    x, v = where(found), moving(found)
    fly.step(3)
    assert np.allclose(where(found), x + 0.003 * v, atol=1e-12)
    there = verlet(0.0005, 300.0, 0.0)
    found = place(make_context(springs(hot()), there), molecule)
    there.step(20)
    found.setVelocities(-moving(found))
    there.step(20)
    assert np.abs(where(found) - x).max() < 1e-10
    bath = verlet(0.0005, 300.0, 1e6)
    found = place(make_context(springs(hot()), bath), molecule)
    kinetic = []
    for _ in range(100):
        bath.step(1)
        kinetic.append(float((molecule.get_masses()[:, None] * moving(found) ** 2).sum()))
    kt = 300.0 * 0.00831446
    assert abs(np.mean(kinetic) / kt - 27) < 3 * np.sqrt(2 * 27 / 100)


def test_runs_and_their_table(tmp_path, monkeypatch):
    monkeypatch.setattr(openmm_mm, "BURN_IN_PS", 0.01)
    monkeypatch.setattr(openmm_mm, "FRAME_FS", 2.0)
    arguments = argparse.Namespace(
        kind="flow", cache=tmp_path, model="organic-gfn2", compile=False, picoseconds=0.008,
        starts=2, friction=2.0, temperature=300.0,
    )  # fmt: skip
    one, names = reference(), ("reference", "flow impulse-4", "verlet-4")
    rows = []
    for ensemble in ("nve", "langevin"):
        for method in names:
            for start in range(2):
                job = Job("ethanol", method, ensemble, start)
                facts = keep(job, tmp_path, run(job, one, arguments))
                assert facts["error"] == ""
                strides = 16 if method == "reference" else 4
                assert (facts["strides"], facts["evaluations"]) == (strides, strides + 1)
                assert facts["picoseconds"] == pytest.approx(0.008)
        rows += [row_of(one, method, ensemble, arguments) for method in names]
    assert [row["evaluations"] for row in rows] == [34, 10, 10] * 2
    assert np.isfinite(rows[1]["drift_meV_per_atom_per_ps"]).all()
    assert rows[4]["distributions"]["bonds"]["distance"] > 0
    assert len(summary(rows)) == 6


def test_methods():
    assert methods("direct") == ["reference"] + [
        f"{name}-{k}" for k in (4, 8, 12) for name in ("direct", "verlet", "ballistic")
    ]
    assert "flow metropolized-100" in methods("flow")
    assert not able("flow metropolized-100", "nve")
    assert able("flow impulse-4", "nve")
    assert isinstance(verlet(0.001, 300.0, 0.0), openmm.CustomIntegrator)
