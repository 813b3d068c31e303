"""Strides with averaged kicks: how their runs are judged."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write

from benchmarks import mollified, mollified_nvt, tables_mollified
from kstep_training.evaluate.record import record_of

KT = 300.0 * units.kB


def test_reweighting_finds_the_bias_of_a_known_ensemble():
    """A spring 4 % too stiff: 1.3 % of kT less energy in the true one than it should have."""
    rng = np.random.default_rng(0)
    stiffer = 1.04
    x = rng.normal(0.0, np.sqrt(KT / stiffer), 200_000)
    energies = 0.5 * x**2
    atoms = Atoms("H")
    frames = [(atoms.positions, atoms.get_momenta(), energy) for energy in energies]
    above = [0.5 * (stiffer - 1.0) * one**2 for one in x]
    record = record_of(atoms, 1.0, frames, {"above": above})
    expected = 0.5 * KT / stiffer - 0.5 * KT
    assert mollified_nvt._reweighted(record) == pytest.approx(expected, rel=0.05)


def test_a_lost_run_is_above_any_other():
    runs = [("a", {"fluctuation": 0.1}), ("a", {"lost": "cold"}), ("b", {"fluctuation": 0.3})]
    other = [("a", {"fluctuation": 9.0}), ("b", {"fluctuation": 0.4})]
    assert tables_mollified._below(runs, other, "fluctuation") == "1 / 2"
    assert tables_mollified._by_molecule(runs, "fluctuation") == {"a": np.inf, "b": 0.3}


def test_starts_have_no_net_motion_and_are_independent():
    atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    first, again, other = (mollified.drawn(atoms, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.get_momenta(), again.get_momenta())
    assert not np.allclose(first.get_momenta(), other.get_momenta())
    np.testing.assert_allclose(first.get_momenta().sum(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(first.get_angular_momentum(), 0.0, atol=1e-12)


def test_more_starts_than_labels_have_room_for_are_refused(tmp_path):
    folder = tmp_path / "mollified" / "learned-water-30-no"
    folder.mkdir(parents=True)
    folder.with_suffix(".json").write_text(json.dumps({"labels": 30}))
    write(folder / "starts.traj", [Atoms("H"), Atoms("H")])
    with pytest.raises(ValueError, match=r"30 labels give 2 starts .* at least 175 labels"):
        mollified.learned("water", 30, "no", 8, tmp_path)


def test_a_run_records_what_it_cannot_see_itself(tmp_path):
    """Energies of averaged kicks are estimates; judged are true ones, and both are kept."""
    options = mollified.MollifiedNVEOptions.smoke(tmp_path)
    (row,) = mollified.mollified_nve(options)["rows"]
    jumps = row["mollified-8"]
    assert jumps["strides"] == 4
    assert 0.0 < jumps["estimate_error_meV_per_atom"] < 5.0
    assert jumps["fluctuation"] != jumps["conserved_fluctuation"]
    assert set(jumps["kelvin"]) == {"H", "O"}
    verlet = row["verlet-1"]
    assert verlet["fluctuation"] == verlet["conserved_fluctuation"]
