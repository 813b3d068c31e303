"""Runs in cells: pressure, fixed layers, resumed runs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

from kstep_integrators.cli import main
from kstep_integrators.units import G_PER_CM3, KB
from kstep_training.options import override
from kstep_training.run.run import RunSettings, dynamics_run
from kstep_training.run.start import kept_start, read_inputs
from kstep_training.trajectory import Trajectory, read_npz
from tests.periodic_systems import Crystal

COPPER = f"{__name__}:soft_copper"
SPRINGS = f"{__name__}:springs"
SHORT = ["physics=EMT", "thermostat=langevin", "k=2", "timestep_fs=2", "length_ps=0.08",
         "equilibration_ps=0.04"]  # fmt: skip
PRESSURE = ["pressure_bar=5000", "barostat=anisotropic", "barostat_scales=atoms",
            "barostat_interval=2"]  # fmt: skip


def soft_copper(atoms: Atoms) -> LennardJones:
    """A base that is wrong and cheap."""
    return LennardJones(sigma=2.27, epsilon=0.4, rc=4.5, smooth=True)


@pytest.fixture
def crystal(tmp_path: Path) -> str:
    path = tmp_path / "copper.cif"
    ase.io.write(path, bulk("Cu", cubic=True) * (2, 2, 2))
    return str(path)


def run(source: str, folder: Path, *words: str) -> tuple[dict[str, Any], Trajectory]:
    summary = dynamics_run(COPPER, source, override(RunSettings, [*SHORT, *words]), folder)
    return summary, read_npz(folder / "run.npz")


def test_a_crystal_under_pressure(crystal: str, tmp_path: Path) -> None:
    summary, frames = run(crystal, tmp_path / "run", *PRESSURE)
    assert summary["method"] == "EMT"
    assert frames.cell.shape == (21, 3, 3)
    volumes = np.linalg.det(frames.cells)
    assert len(set(volumes.round(6))) > 2
    assert summary["volume_A3"] == pytest.approx(volumes.mean(), rel=1e-12)
    density = (frames.masses.sum() / volumes).mean() / G_PER_CM3
    assert summary["density_g_per_cm3"] == pytest.approx(density, rel=1e-12)
    assert summary["volume_moves"] == 10
    assert 0.0 < summary["volume_acceptance"] < 1.0
    assert summary["volume_frozen_at_step"] is None
    assert summary["evaluations"] == 1 + 20 + 10
    written = ase.io.read(tmp_path / "run/run.traj", index=":")
    np.testing.assert_allclose([a.cell.array for a in written], frames.cells, atol=1e-12)
    assert "rho[g/cm3]" in (tmp_path / "run/run.log").read_text()


def springs(atoms: Atoms) -> Crystal:
    """A physics that remembers nothing: ASE's neighbour lists do, and so sum in another order."""
    return Crystal(atoms.get_scaled_positions(), length=float(atoms.cell.lengths()[0]))


def test_a_longer_run_is_the_same_to_the_last_bit(
    crystal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moves of the volume go on where they were, with the sizes that they had."""
    monkeypatch.setattr(f"{__name__}.COPPER", SPRINGS)
    words = [*PRESSURE, "checkpoint_interval=7", "metropolize=true", "corrector=none"]
    words += [f"physics={SPRINGS}"]
    run(crystal, tmp_path / "twice", *words, "length_ps=0.04")
    summary, frames = run(crystal, tmp_path / "twice", *words)
    expected, whole = run(crystal, tmp_path / "once", *words)
    for name in ("positions", "velocities", "energies", "time", "cell"):
        np.testing.assert_array_equal(getattr(frames, name), getattr(whole, name))
    for key, value in expected.items():
        assert key.endswith("_seconds") or summary[key] == value, key


def test_layers_of_a_slab_stay(tmp_path: Path) -> None:
    slab = fcc111("Cu", (2, 2, 4), vacuum=6.0)
    add_adsorbate(slab, "O", 1.2, "fcc")
    slab.info = {}
    slab.set_constraint(FixAtoms([0, 1, 2, 3]))
    path = tmp_path / "slab.extxyz"
    ase.io.write(path, slab)
    second = float(slab.positions[4, 2])
    summary, frames = run(
        str(path), tmp_path / "run", "thermostat=bussi", f"fix_below_A={second + 0.1}"
    )
    assert frames.pbc.tolist() == [True, True, False]
    np.testing.assert_array_equal(frames.cell, slab.cell.array)
    assert frames.metadata["fixed_atoms"] == list(range(8))
    assert frames.metadata["constraints"] is None
    assert np.ptp(frames.positions[:, :8], axis=0).max() == 0.0
    assert np.ptp(frames.positions[:, 8:], axis=0).min() > 0.0
    assert not frames.velocities[:, :8].any()
    assert np.abs(frames.forces[:, 8:]).max() > 0.0
    kinetic = 0.5 * (frames.masses[:, None] * frames.velocities**2).sum((1, 2)).mean()
    # Nine atoms move beside fixed ones, which conserve nothing.
    assert summary["temperature_K"] == pytest.approx(2 * kinetic / (27 * KB), rel=1e-9)
    assert "volume_A3" not in summary


def test_a_crystal_keeps_its_momentum_and_no_rotation(crystal: str, tmp_path: Path) -> None:
    summary, frames = run(crystal, tmp_path / "run", "thermostat=bussi")
    np.testing.assert_allclose(frames.momenta.sum(1), 0.0, atol=1e-9)
    kinetic = 0.5 * (frames.masses[:, None] * frames.velocities**2).sum((1, 2)).mean()
    assert summary["temperature_K"] == pytest.approx(2 * kinetic / (93 * KB), rel=1e-9)
    assert frames.cell.shape == (3, 3)
    assert summary["volume_A3"] == pytest.approx(np.linalg.det(frames.cell), rel=1e-12)
    assert "volume_moves" not in summary


def test_a_start_as_it_is(tmp_path: Path) -> None:
    liquid = bulk("Ar", cubic=True, a=5.6) * (2, 2, 2)
    liquid.rattle(0.3, seed=2)
    path = tmp_path / "argon.traj"
    ase.io.write(path, liquid)
    words = ["physics=LJ", "lj_epsilon_eV=0.0103", "lj_sigma_A=3.405", "temperature_K=100"]
    for relax in (True, False):
        settings = override(RunSettings, [*words, f"relax={json.dumps(relax)}"])
        inputs = read_inputs(COPPER, str(path), settings)
        start = kept_start(inputs, settings, tmp_path / f"{relax}.json")
        moved = np.abs(start.positions - liquid.positions).max()
        assert moved > 0.1 if relax else moved == 0.0
        assert start.get_momenta().any()
        assert start.pbc.all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pressure_bar=1", "thermostat=null"], "pressure_bar is 1.0 and thermostat is null"),
        (["barostat=isotropic"], "without a pressure"),
        (["fix_below_A=-1"], "fix_below_A is -1.0, but no atom of .* has a z below that"),
        (["fix_below_A=99"], "all 32 atoms of .* are fixed"),
        (["fix_below_A=1", *PRESSURE], "with FixAtoms of 8 atoms: a change of the cell"),
        (["physics=GFN-FF"], "the GFN-FF of xtb's library has no cells"),
        (["pressure_bar=5000"], "use barostat_scales='atoms'"),
    ],
)
def test_what_is_refused(words: list[str], message: str, crystal: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run(crystal, tmp_path / "run", *words)


def test_pressure_of_a_slab_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slab.traj"
    ase.io.write(path, fcc111("Cu", (2, 2, 3), vacuum=6.0))
    command = ["run", COPPER, str(path), *SHORT, *PRESSURE, "--output", str(tmp_path / "run")]
    assert main(command) == 2
    assert "scales all three cell vectors" in " ".join(capsys.readouterr().err.split())
