"""A refit: what it recovers, what it keeps, and that it is the same however often it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from lightning.pytorch.callbacks import Callback

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.files import write_text_atomically
from kstep_integrators.models.model_file import read_model, write_model
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.potentials import NetworkPotential
from kstep_training.fit.rotations import rotated
from kstep_training.refit import progress
from kstep_training.refit.refit import refit
from kstep_training.refit.settings import RefitSettings, validation_count
from kstep_training.refit.targets import TargetBatches, read_targets
from tests.direct_systems import untrained
from tests.refits import (
    ELEMENTS,
    HEADER,
    OFFSET,
    forces_of,
    labelled,
    make_folder,
    record_of,
    tiny_network,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refit in one go."""
    folder = make_folder(tmp_path_factory.mktemp("refits") / "whole")
    refit(folder, quiet=True)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def error(network: EnergyNetwork) -> float:
    """Rms error of force components of geometries that no refit has seen, eV/angstrom."""
    errors = [forces_of(network, a)[1] - a.get_forces() for a in labelled(20, seed=5)]
    return float(np.sqrt(np.mean(np.square(errors))))


def test_the_forces_of_known_weights_are_recovered(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "long", epochs=40)
    refit(folder, quiet=True)
    network, _, _ = read_model(folder / "model.safetensors")
    assert isinstance(network, EnergyNetwork)
    network.float()
    before, after = error(tiny_network(0.1)), error(network)
    assert before > 0.03
    assert after < 0.3 * before
    # The labels' energies too, which lie far from those of the start.
    atoms = labelled(1, seed=9)[0]
    shifts = dict(zip(ELEMENTS, network.config["shifts"], strict=True))
    energy = forces_of(network, atoms)[0] + sum(shifts[z] for z in atoms.numbers.tolist())
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=0.02)
    assert energy < 0.9 * OFFSET


def test_the_same_folder_gives_the_same_bits(whole: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "again")
    refit(folder, quiet=True)
    assert weights(folder) == weights(whole)
    other = make_folder(tmp_path / "other", seed=1)
    refit(other, quiet=True)
    assert weights(other) != weights(whole)


def test_the_record_and_the_header(whole: Path) -> None:
    _, header, _ = read_model(whole / "model.safetensors")
    assert (header.name, header.method, header.charge) == ("taught", "springs", (0, 1))
    assert header.training["recipe"] == "by hand"
    made = header.training["refit"]
    assert (made["labels"], made["validation_labels"]) == (22, 2)
    assert made["start"]["sha256"] == read_model(whole / "start.safetensors")[2]
    record = record_of(whole)
    assert {key: record[key] for key in made} == made
    assert len(record["curves"]) == made["settings"]["epochs"] == 6
    assert made["validation"]["val_force_rms"] < record["curves"][0]["val_force_rms"]


def test_only_the_last_labels_validate(whole: Path, tmp_path: Path) -> None:
    targets = labelled(24)
    last = targets[-1]
    forces = last.get_forces() + 5.0
    last.calc = SinglePointCalculator(last, energy=last.get_potential_energy(), forces=forces)
    folder = make_folder(tmp_path / "refit", targets)
    refit(folder, quiet=True)
    fitted, _, _ = read_model(folder / "model.safetensors")
    same, _, _ = read_model(whole / "model.safetensors")
    for one, other in zip(fitted.parameters(), same.parameters(), strict=True):
        assert one.equal(other)
    assert record_of(folder)["validation"]["val_force_rms"] > 3000.0


class InterruptWithinEpochThree(Callback):
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_refit_goes_on(whole: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "refit")
    with pytest.raises(KeyboardInterrupt):
        refit(folder, quiet=True, callbacks=[InterruptWithinEpochThree()])
    assert not (folder / "model.safetensors").exists()
    refit(folder, quiet=True)
    assert weights(folder) == weights(whole)


def test_an_epoch_is_told_of_when_it_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = make_folder(tmp_path / "refit", epochs=2), list[bool]()

    def write(path: Path, text: str) -> None:
        found.append((folder / "state" / "last.ckpt").exists())
        write_text_atomically(path, text)

    monkeypatch.setattr(progress, "write_text_atomically", write)
    refit(folder, quiet=True)
    assert found == [True, True]


KILLED = """
import os, signal, sys
from lightning.pytorch.callbacks import Callback
from kstep_training.refit.refit import refit

class Kill(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)

refit(sys.argv[1], quiet=True, callbacks=[Kill()])
"""


def test_a_killed_refit_goes_on(whole: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "refit")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    killed = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLED, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    refit(folder, quiet=True)
    assert weights(folder) == weights(whole)
    assert record_of(folder)["validation"] == record_of(whole)["validation"]


def test_a_complete_refit_is_left_as_it_is(whole: Path) -> None:
    class Forbidden(Callback):
        def on_train_start(self, *_: Any) -> None:
            pytest.fail("trained again")

    before = (whole / "model.safetensors").stat().st_mtime_ns
    refit(whole, quiet=True, callbacks=[Forbidden()])
    assert (whole / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_are_another_refit(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "refit"
    shutil.copytree(whole, folder)
    (folder / "settings.json").write_text('{"seed": 3}')
    with pytest.raises(ValueError, match=r"holds a refit with other settings.*settings.seed was 0"):
        refit(folder)


def test_molecules_of_several_sizes(tmp_path: Path) -> None:
    targets = labelled(15, ("H2O", "NH3", "OH"))
    folder = make_folder(tmp_path / "refit", targets, validation_labels=3, epochs=2)
    refit(folder, quiet=True)
    assert record_of(folder)["validation"]["val_energy_rms"] < 100.0
    read = read_targets(folder / "targets.traj", ELEMENTS)
    batches = TargetBatches(read, ELEMENTS, np.arange(15.0), 5.0)
    assert batches.offsets.tolist() == [0, 10, 15]  # padded to three atoms and to six
    batch = batches[[10, 12]]
    assert batch.energies.tolist() == [1.0, 7.0]
    assert batch.atom_mask.sum(1).tolist() == [4, 4]
    np.testing.assert_allclose(batch.forces[1, :4], targets[7].get_forces(), atol=1e-6)


def foreign(folder: Path) -> None:
    atoms = molecule("CH4")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((5, 3)))
    make_folder(folder, [atoms])


def bare(folder: Path) -> None:
    make_folder(folder, [molecule("H2O")])


def energies_alone(folder: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    make_folder(folder, [atoms, atoms])


def not_finite(folder: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.full((3, 3), np.nan))
    make_folder(folder, [atoms, atoms])


def no_trajectory(folder: Path) -> None:
    make_folder(folder)
    (folder / "targets.traj").write_text("H2O")


def no_targets(folder: Path) -> None:
    make_folder(folder)
    (folder / "targets.traj").unlink()


def no_settings(folder: Path) -> None:
    make_folder(folder)
    (folder / "settings.json").unlink()


def unknown_key(folder: Path) -> None:
    make_folder(folder, epoch=3)


def of_increments(folder: Path) -> None:
    make_folder(folder)
    write_model(folder / "start.safetensors", untrained(), HEADER)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, r"atomic numbers \[6\].*does not cover; it covers \[1, 7, 8\]"),
        (bare, "frame 0 of .* has no energy"),
        (energies_alone, "0 labels with forces and 1 of them validate"),
        (not_finite, "has forces that are not finite"),
        (no_trajectory, "targets.traj is not a trajectory of ASE"),
        (no_targets, "there is no .*targets.traj"),
        (no_settings, "there is no .*settings.json"),
        (unknown_key, "unknown key 'epoch'; did you mean 'epochs'"),
        (of_increments, "is a model of increments, and a refit is of a potential"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        refit(tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads is 0, expected at least 1"),
        ({"validation_labels": 0}, "validation_labels is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RefitSettings(**settings)


def test_how_many_validate() -> None:
    counts = [validation_count(RefitSettings(), n) for n in (2, 30, 300, 1000)]
    assert counts == [1, 3, 20, 20]
    with pytest.raises(ValueError, match="there are 4 labels with forces and 4 of them validate"):
        validation_count(RefitSettings(validation_labels=4), 4)


def test_labels_in_cells_of_any_size(tmp_path):
    """Gradients of the energy in the cells: the batch has what the network has in each of them."""
    targets = labelled(8)
    for number, frame in enumerate(targets):
        known = frame.calc.results
        frame.set_cell(np.diag([4.0, 4.5 + 0.1 * number, 9.0]))
        frame.pbc = (True, True, number % 2 == 0)
        frame.calc = SinglePointCalculator(frame, **known)
    folder = make_folder(tmp_path / "refit", targets)
    refit(folder, quiet=True)
    network, header, _ = read_model(folder / "model.safetensors")
    read = read_targets(folder / "targets.traj", ELEMENTS)
    batch = TargetBatches(read, ELEMENTS, read.energies, network.cutoff)[[0, 3, 6]]
    turned = rotated(batch, torch.Generator().manual_seed(0), "graph")
    potential = NetworkPotential(network, header, device="cpu", dtype=torch.float64).in_cells()
    for one in (batch, turned):
        energy, forces = energy_and_forces(
            network.double(), None, one.positions.double(), one.graph
        )
        for row, number in enumerate((0, 3, 6)):
            state = state_from_atoms(targets[number])
            known, _ = potential.bind(state)(state.positions, None)
            shift = potential.network.shifts[potential.network.species_of[state.numbers]].sum()
            assert float(energy[row].sum()) == pytest.approx(
                float(known.energy) - float(shift), abs=1e-4
            )
            lengths = known.forces.norm(dim=1)
            torch.testing.assert_close(forces[row].norm(dim=1), lengths, rtol=1e-4, atol=1e-4)
