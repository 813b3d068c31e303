"""Tuning: a fit that starts from a model keeps its weights, network and coverage."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch

from kstep_integrators import load_model
from kstep_integrators.ase_state import state_from_atoms
from kstep_integrators.model_file import ModelHeader, model_path, read_model, write_model
from kstep_integrators.nn.forces import energy_and_forces
from kstep_training.config import FitConfig, NetworkConfig, Recipe
from kstep_training.dataset import FrameDataset, load_folder
from kstep_training.fit import fit
from kstep_training.starting_point import starting_network
from tests.conftest import hot
from tests.direct_systems import untrained

TUNE = Recipe(
    name="tuned",
    fit=FitConfig(
        start_from="organic-gfn2",
        epochs=1,
        warmup_steps=1,
        learning_rate=1e-12,
        final_learning_rate=1e-13,
        ema_decay=0.0,
        padding=[4, 6],
        compile=False,
    ),
)


def test_a_new_network_has_no_origin(folders):
    data = load_folder(folders[0])
    network, origin = starting_network(Recipe(network=NetworkConfig(channels=8)), data)
    assert origin == {}
    assert network.config["channels"] == 8
    assert network.config["elements"] == sorted({int(z) for t in data.values() for z in t.numbers})
    assert all(p.requires_grad for p in network.parameters())


def test_weights_are_kept_and_energies_moved_to_the_labels(folders):
    data = load_folder(folders[0])
    # Labels of another method: 1000 eV lower, whatever the molecule.
    other = {
        name: dataclasses.replace(t, energies=t.energies - 1000.0 * (t.numbers == 1).sum())
        for name, t in data.items()
    }
    start, _, digest = read_model(model_path("organic-gfn2"))
    moved, origin = starting_network(TUNE, other)
    assert origin == {"name": "organic-gfn2", "sha256": digest}
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, moved.state_dict()[name])
    assert moved.config["elements"] == start.config["elements"]
    assert (np.array(moved.config["nearest"]) <= np.array(start.config["nearest"])).all()
    # Three molecules, four elements: the mean of each can be met, and is.
    elements, shifts = moved.config["elements"], moved.config["shifts"]
    for trajectory in other.values():
        batch = FrameDataset([trajectory], elements, shifts, [4, 6])[np.arange(len(trajectory))]
        energy, _ = energy_and_forces(moved, None, batch.positions, batch.graph)
        assert float((energy.sum(-1) - batch.energies).mean()) == pytest.approx(0.0, abs=1e-3)


def test_a_fit_without_learning_returns_the_forces_it_started_with(folders, tmp_path):
    path = fit(TUNE, *folders, tmp_path / "fit")
    atoms = hot("methanol")
    state = state_from_atoms(atoms)
    before, after = (
        load_model(name, device="cpu", dtype=torch.float64).bind(state)(state.positions, None)[0]
        for name in ("organic-gfn2", path)
    )
    torch.testing.assert_close(after.forces, before.forces, atol=1e-4, rtol=0.0)
    _, header, _ = read_model(path)
    digest = hashlib.sha256(model_path("organic-gfn2").read_bytes()).hexdigest()
    assert header.training["started_from"] == {"name": "organic-gfn2", "sha256": digest}
    assert header.training["recipe"]["fit"]["start_from"] == "organic-gfn2"


def test_a_model_of_increments_is_no_start(folders, tmp_path):
    path = tmp_path / "jump.safetensors"
    write_model(path, untrained(), ModelHeader("jump", {}, "none"))
    tune = dataclasses.replace(TUNE, fit=dataclasses.replace(TUNE.fit, start_from=str(path)))
    with pytest.raises(ValueError, match=r"'jump' \(fit.start_from\) is a model of increments"):
        starting_network(tune, load_folder(folders[0]))


def test_another_network_or_other_elements_are_refused(folders, tmp_path):
    data = load_folder(folders[0])
    with pytest.raises(ValueError, match="leave the network out of the recipe"):
        starting_network(dataclasses.replace(TUNE, network=NetworkConfig(channels=8)), data)
    same = dataclasses.replace(TUNE, network=NetworkConfig(channels=64, layers=3))
    starting_network(same, data)
    fluoride = {
        name: dataclasses.replace(t, numbers=np.where(t.numbers == 1, 9, t.numbers))
        for name, t in data.items()
    }
    with pytest.raises(ValueError, match=r"atomic numbers \[9\], which 'organic-gfn2'"):
        starting_network(TUNE, fluoride)
    with pytest.raises(ValueError, match="no model 'nothing'"):
        starting_network(dataclasses.replace(TUNE, fit=FitConfig(start_from="nothing")), data)
