"""Dynamics of dimers: the restraint, starts, and trajectories of both kinds of runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces

from kstep_integrators import named_molecule
from kstep_integrators.observables.couplings import split_dimer
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.observables.dynamics.dimer_dynamics import (
    CentroidRestraint,
    DimerSettings,
    dimer_dynamics,
    place_dimer,
)

SHORT = DimerSettings(frames=3, interval_fs=20.0, equilibration_fs=10.0)


@pytest.mark.parametrize(("distance", "energy"), [(4.0, 0.0), (3.0, 0.0225), (5.5, 0.25)])
def test_restraint_by_hand(distance: float, energy: float) -> None:
    positions = np.random.default_rng(0).normal(size=(5, 3))
    positions[:2] -= positions[:2].mean(0)
    positions[2:] -= positions[2:].mean(0)
    positions[2:, 2] += distance
    atoms = Atoms("H2He3", positions)
    atoms.calc = CentroidRestraint(2, least=3.3, most=4.5, stiffness=0.5)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    assert atoms.get_forces() == pytest.approx(calculate_numerical_forces(atoms, 1e-5), abs=1e-8)
    assert atoms.get_forces().sum(0) == pytest.approx(0.0, abs=1e-12)


def test_starts_are_apart_and_differ_by_the_seed() -> None:
    ethene, furan = named_molecule("ethene"), named_molecule("furan")
    one, again, other = (
        place_dimer(ethene, furan, 3.5, 5.0, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.positions, again.positions)
    assert np.abs(one.positions - other.positions).max() > 0.5
    assert split_dimer(one).tolist() == [0] * 6 + [1] * 9
    for part, whole in ((one[:6], ethene), (one[6:], furan)):
        assert part.get_all_distances() == pytest.approx(whole.get_all_distances(), abs=1e-9)


def test_molecules_that_do_not_fit_are_refused() -> None:
    benzene = named_molecule("benzene")
    with pytest.raises(ValueError, match=r"come too near to each other at distances of 1.0 to 1.5"):
        place_dimer(benzene, benzene, 1.0, 1.5, np.random.default_rng(0))


def test_metropolized_run(tmp_path: Path) -> None:
    record = dimer_dynamics("ethene", "furan", tmp_path / "pair.traj", SHORT)
    frames = read_frames(tmp_path / "pair.traj")
    assert frames.time is not None
    assert record["length_fs"] == pytest.approx(float(frames.time[-1]) / 0.0982269, rel=1e-4)
    assert 0.0 < record["accepted"] <= 1.0
    assert len(frames.atoms) == 3
    assert (np.diff(frames.time) > 0).all()
    assert split_dimer(frames.atoms[-1]).sum() == 9
    dimer_dynamics("ethene", "furan", tmp_path / "again.traj", SHORT)
    one, again = (ase.io.read(tmp_path / name) for name in ("pair.traj", "again.traj"))
    assert np.array_equal(one.positions, again.positions)


def test_frames_are_taken_by_strides(tmp_path: Path) -> None:
    """A rejected stride takes no time and is one nevertheless, or frames were no ensemble."""
    settings = dataclasses.replace(SHORT, k=200, interval_fs=100.0, frames=8, equilibration_fs=0.0)
    record = dimer_dynamics("ethene", "furan", tmp_path / "pair.traj", settings)
    assert record["accepted"] < 1.0
    assert record["length_fs"] != 700.0
    assert record["jumps"] == 7


def test_a_run_that_learns(tmp_path: Path) -> None:
    record = dimer_dynamics("ethene", "C=S", tmp_path / "pair.traj", SHORT)
    assert record["accepted"] is None
    assert len(ase.io.read(tmp_path / "pair.traj", ":")) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature_K": 0.0}, "temperature_K is 0.0, expected a positive number"),
        ({"most": 3.0}, "most is 3.0, expected more than least, 3.3"),
        ({"equilibration_fs": -1.0}, "equilibration_fs is -1.0, expected 0 or more"),
        ({"frames": 0}, "frames is 0, expected at least 1"),
        ({"k": 0}, "k is 0, expected at least 1"),
    ],
)
def test_settings_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DimerSettings(**values)
