"""Sampled geometries: bonds turned and stretched, clusters, resumption, failures, charges."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.lj import LennardJones
from ase.data import vdw_radii
from distributed import LocalCluster

from kstep_integrators import named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.cli import main
from kstep_training.prep.molecules import Molecule
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.sample.clusters import Member, compositions, placed
from kstep_training.sample.distort import bonds_of, crowded, stretched, twisted
from kstep_training.sample.sample import sample
from kstep_training.sample.settings import SampleSettings
from kstep_training.trajectory import read_npz

TINY = SampleSettings(frames=9, clusters=1, cluster_frames=5, walk_frames=4)
BUTANE = [(0, 1), (1, 2), (2, 3)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A worker that is a thread of this process, which begins at once."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    molecules = [Molecule("water", "O", 1), Molecule("chloride", "[Cl-]", 2)]
    list(prepare(molecules, folder, PrepSettings(conformers=1, forcefield=None)))
    return folder


@pytest.fixture(scope="module")
def made(prepared: Path, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    total, reports = sample(prepared, folder, TINY, scheduler=cluster)
    ended = dict(reports)
    assert total == len(ended)
    assert {one["status"] for one in ended.values()} == {"done"}
    return folder


def shards(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in (folder / "production").iterdir()}


def test_a_turned_bond_keeps_lengths_and_angles() -> None:
    x = np.array([[0.0, 1.4, 0.1], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0]])
    bond = bonds_of(4, BUTANE)[1]
    turned = twisted(x, bond, 1.0)
    for i, j in (*BUTANE, (0, 2), (1, 3)):
        assert np.linalg.norm(turned[i] - turned[j]) == pytest.approx(np.linalg.norm(x[i] - x[j]))
    np.testing.assert_allclose(twisted(turned, bond, -1.0), x, atol=1e-12)
    longer = stretched(x, bond, 1.2)
    assert np.linalg.norm(longer[2] - longer[1]) == pytest.approx(1.2 * 1.5)
    assert np.linalg.norm(longer[3] - longer[2]) == pytest.approx(np.linalg.norm(x[3] - x[2]))


def test_bonds_of_rings_part_nothing() -> None:
    assert bonds_of(4, [(0, 1), (1, 2), (2, 0), (2, 3)]) == [(2, 3, [3])]


def test_atoms_that_are_no_neighbours_and_too_close_crowd() -> None:
    carbon = np.full(3, 6)
    x = np.array([[0.0, 0, 0], [1.5, 0, 0], [0.9, 0.6, 0]])
    assert crowded(carbon, x, [(0, 1), (1, 2)])
    assert not crowded(carbon, x, [(0, 1), (1, 2), (0, 2)])


def test_clusters_have_allowed_charges_and_sizes() -> None:
    members = [Member("a", 3, 0), Member("b", 5, -1), Member("c", 8, 1), Member("d", 40, 0)]
    chosen = compositions(members, 20, 24, (-1, 1), 0)
    of = {one.name: one for one in members}
    assert len(set(chosen)) == len(chosen) > 5
    for names in chosen:
        assert len(names) > 1
        assert sum(of[name].atoms for name in names) <= 24
        assert -1 <= sum(of[name].charge for name in names) <= 1
    assert chosen == compositions(members, 20, 24, (-1, 1), 0)


def test_molecules_are_put_together_at_contact() -> None:
    water = named_molecule("water")
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = placed([water.numbers] * 2, [water.positions] * 2, (0.8, 1.2), rng)
        radii = vdw_radii[water.numbers]
        apart = np.linalg.norm(x[:3, None] - x[None, 3:], axis=-1)
        assert 0.8 - 1e-9 < (apart / (radii[:, None] + radii[None])).min() < 1.2 + 1e-9
        for part in (x[:3], x[3:]):
            np.testing.assert_allclose(
                np.linalg.norm(part[1:] - part[0], axis=1),
                np.linalg.norm(water.positions[1:] - water.positions[0], axis=1),
            )


def test_labels_are_those_of_the_physics(made: Path) -> None:
    found = shards(made)
    assert {"water", "chloride"} < set(found)
    assert any("+" in name for name in found)
    for name, path in found.items():
        shard = read_npz(path)
        assert shard.metadata["stage"] == "distorted"
        charge = name.split("+").count("chloride") * -1
        assert shard.metadata["charge"] == charge
        assert shard.charges is not None
        np.testing.assert_allclose(shard.charges.sum(1), charge, atol=1e-5)
        last = Atoms(shard.numbers, shard.positions[-1], info={"charge": charge})
        last.calc = xtb_calculator("GFN2-xTB", charge=charge)
        assert shard.energies[-1] == pytest.approx(last.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(shard.forces[-1], last.get_forces(), atol=1e-3)
        assert np.ptp(shard.energies) > 0.0 or name == "chloride"


def test_two_of_a_kind_have_their_bonds(made: Path) -> None:
    """Bonds of the second water are its own: nothing counts as rearranged for being named."""
    pairs = [path for name, path in shards(made).items() if name == "water+water"]
    for path in pairs:
        shard = read_npz(path)
        assert len(shard.metadata["rearranged"]) < len(shard)


def test_a_second_stretch_makes_what_is_missing_and_the_same(
    made: Path, prepared: Path, cluster: str
) -> None:
    before = {name: path.read_bytes() for name, path in shards(made).items()}
    times = {name: path.stat().st_mtime_ns for name, path in shards(made).items()}
    (gone,) = [path for name, path in shards(made).items() if name == "water"]
    gone.unlink()
    _, reports = sample(prepared, made, TINY, scheduler=cluster)
    assert {one["status"] for _, one in reports} == {"done"}
    for name, path in shards(made).items():
        assert (path.stat().st_mtime_ns == times[name]) == (name != "water")
    again = read_npz(shards(made)["water"])
    (made / "before.npz").write_bytes(before["water"])
    np.testing.assert_array_equal(again.positions, read_npz(made / "before.npz").positions)


def test_other_settings_are_refused(made: Path, prepared: Path) -> None:
    with pytest.raises(ValueError, match="settings"):
        sample(prepared, made, dataclasses.replace(TINY, frames=10))
    with pytest.raises(ValueError, match=r"alone has \['fluoride'\], expected names"):
        sample(prepared, made.parent / "other", dataclasses.replace(TINY, alone=["fluoride"]))


class Fails(LennardJones):
    """A physics that fails at every geometry."""

    def calculate(self, *arguments: object, **keywords: object) -> None:
        raise CalculationFailed("no convergence")


def fails(atoms: Atoms) -> Fails:
    """A physics by name."""
    return Fails()


def test_one_that_fails_is_named_and_tried_again(
    prepared: Path, cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["frames=2", "clusters=0", f"physics={__name__}:fails"]
    command = ["sample", str(prepared), *words, "--output", str(tmp_path / "out")]
    command += ["--scheduler", cluster]
    for _ in range(2):
        assert main(command) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "failed water" in said
        assert "2 failed" in said
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {one["status"] for one in manifest["shards"].values()} == {"failed"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("physics", "mm", "physics is 'mm'"),
        ("frames", 0, "frames is 0, expected at least 1"),
        ("clusters", -1, "clusters is -1, expected a whole number from 0"),
        ("timestep_fs", 0.0, "timestep_fs is 0.0, expected a positive number"),
        ("twisted_fraction", 1.5, "twisted_fraction is 1.5, expected a share"),
        ("stretches", [1.2, 0.9], r"stretches is \[1.2, 0.9\], expected two positive"),
        ("charges", [1, -1], r"charges is \[1, -1\], expected the lowest"),
        ("temperatures", [0.0], r"temperatures are \[0.0\], expected positive"),
    ],
)
def test_settings_out_of_range(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleSettings(**{key: value})
