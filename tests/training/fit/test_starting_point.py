"""Transfer: a fit that starts from a model keeps its weights and learns its new data's facts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kstep_integrators import load_model
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.models.model_file import ModelHeader, model_path, read_model, write_model
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.fit.starting_point import frozen_parameters, starting_network
from tests.conftest import hot

TUNE = FitSettings(
    init_from="organic-gfn2",
    epochs=1,
    warmup_steps=1,
    learning_rate=1e-12,
    final_learning_rate=1e-13,
    ema_decay=0.0,
    padding=[4, 6],
    compile=False,
)
SIZES: dict[str, Any] = {"channels": 8, "layers": 2, "radial": 4, "heads": 4}
DIRECT = NetworkSettings(kind="direct", **SIZES)


@pytest.fixture
def increments(tmp_path: Path) -> Path:
    """The file of an increment network that knows fluorine too, of other data and another step."""
    torch.manual_seed(0)
    elements = [1, 6, 7, 8, 9]
    scales = [[[0.1 * (k + 1), 0.2]] * 5 for k in range(2)]
    network = IncrementNetwork(elements, [2, 3], 2.0, "plain", scales, [2.0] * 5, **SIZES)
    path = tmp_path / "start.safetensors"
    write_model(path, network, ModelHeader("start", {}, "MMFF94"))
    return path


def test_a_new_network_has_no_origin(spring_data: Path) -> None:
    data = open_dataset(spring_data)
    network, origin = starting_network(FitStage(network=NetworkSettings(channels=8)), data)
    assert origin == {}
    assert isinstance(network, EnergyNetwork)
    assert network.config["channels"] == 8
    assert network.config["elements"] == data.elements == [1, 6, 7, 8]
    assert network.config["shifts"] == data.statistics["shifts"]
    assert network.config["backbone"] == "painn"
    assert all(p.requires_grad for p in network.parameters())


def test_a_new_network_of_increments(spring_data: Path) -> None:
    data = open_dataset(spring_data)
    settings = dataclasses.replace(DIRECT, baseline="plain", k=[8], force_head=True)
    network, origin = starting_network(FitStage(network=settings), data)
    assert origin == {}
    assert isinstance(network, IncrementNetwork)
    config = network.config
    assert (config["backbone"], config["baseline"], config["strides"]) == (
        "egnn",
        "plain",
        [8],
    )
    assert config["scales"] == data.scales("plain", [8])
    assert config["masses"] == pytest.approx([1.008, 12.011, 14.007, 15.999])
    assert (config["timestep_fs"], config["force_head"]) == (0.5, True)


def test_weights_are_kept_and_energies_moved_to_the_labels(spring_data: Path) -> None:
    data = open_dataset(spring_data)
    start, _, digest = read_model(model_path("organic-gfn2"))
    moved, origin = starting_network(FitStage(fit=TUNE), data)
    assert isinstance(moved, EnergyNetwork)
    assert origin == {"name": "organic-gfn2", "sha256": digest}
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, moved.state_dict()[name])
    assert moved.config["elements"] == start.config["elements"]
    assert (np.array(moved.config["nearest"]) <= np.array(start.config["nearest"])).all()
    assert moved.config["shifts"] != start.config["shifts"]
    # Three molecules, four elements: the mean of each can be met, and is.
    elements, shifts = moved.config["elements"], moved.config["shifts"]
    frames = FrameDataset(spring_data, "train", [3, 4, 6], elements, shifts)
    for first, end in zip(frames.offsets[:-1], frames.offsets[1:], strict=True):
        batch = frames[range(first, end)]
        energy, _ = energy_and_forces(moved, None, batch.positions, batch.graph)
        assert float((energy.sum(-1) - batch.energies).mean()) == pytest.approx(0.0, abs=1e-3)


def test_a_fit_without_learning_returns_the_forces_it_started_with(
    spring_data: Path, tmp_path: Path
) -> None:
    path = fit(FitStage("tuned", fit=TUNE), spring_data, tmp_path / "fit")
    atoms = hot("methanol")
    state = state_from_atoms(atoms)
    before, after = (
        load_model(name, device="cpu", dtype=torch.float64).bind(state)(state.positions, None)[0]
        for name in ("organic-gfn2", path)
    )
    torch.testing.assert_close(after.forces, before.forces, atol=1e-4, rtol=0.0)
    _, header, _ = read_model(path)
    digest = hashlib.sha256(model_path("organic-gfn2").read_bytes()).hexdigest()
    assert header.training["init_from"] == {"name": "organic-gfn2", "sha256": digest}
    assert header.training["settings"]["fit"]["init_from"] == "organic-gfn2"


def test_increments_of_other_data(increments: Path, spring_data: Path) -> None:
    """Weights and what the data do not say are kept; strides, step and scales are the data's."""
    data = open_dataset(spring_data)
    start, _, _ = read_model(increments)
    fits = dataclasses.replace(TUNE, init_from=str(increments))
    moved, origin = starting_network(FitStage(network=DIRECT, fit=fits), data)
    assert origin["name"] == "start"
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, moved.state_dict()[name])
    config = moved.config
    assert (config["strides"], config["timestep_fs"]) == ([4, 8], 0.5)
    assert (config["elements"], config["baseline"]) == ([1, 6, 7, 8, 9], "plain")
    scales = data.scales("plain", [4, 8])
    for stride in range(2):
        assert config["scales"][stride][:4] == scales[stride]
        assert config["scales"][stride][4] == start.config["scales"][stride][4]
    assert config["masses"] == pytest.approx([1.008, 12.011, 14.007, 15.999, 2.0])


@pytest.mark.parametrize("kind", ["flow", "direct"])
def test_frozen_layers_stay(kind: str, increments: Path, spring_data: Path, tmp_path: Path) -> None:
    source = str(increments)
    if kind == "flow":
        source = str(tmp_path / "flow.safetensors")
        network = EnergyNetwork([1, 6, 7, 8], channels=8, layers=2, radial=4)
        write_model(source, network, ModelHeader("flow", {}, "MMFF94"))
    fits = dataclasses.replace(
        TUNE, init_from=source, freeze_layers=2, learning_rate=1e-2, final_learning_rate=0.0
    )
    stage = FitStage("tuned", NetworkSettings(kind=kind), fits)
    before = dict(read_model(source)[0].named_parameters())
    after, _, _ = read_model(fit(stage, spring_data, tmp_path / "fit"))
    frozen = frozen_parameters(after, 2)
    first = {"flow": "backbone.embedding.weight", "direct": "element.weight"}[kind]
    assert first in frozen
    layer = {"flow": "backbone.messages", "direct": "backbone.layers"}[kind]
    assert any(name.startswith(f"{layer}.0.") for name in frozen)
    assert not any(name.startswith((f"{layer}.1.", "readout.")) for name in frozen)
    changed = [n for n, p in after.named_parameters() if not torch.equal(p, before[n])]
    assert changed
    assert not set(changed) & set(frozen)
    assert any(name.startswith(f"{layer}.1.") for name in changed)


def test_more_frozen_layers_than_there_are() -> None:
    network = EnergyNetwork([1], channels=4, layers=1, radial=2)
    assert frozen_parameters(network, 0) == []
    assert "readout.out.weight" not in frozen_parameters(network, 2)
    with pytest.raises(ValueError, match="freeze_layers is 3, but the network has 2 layers"):
        frozen_parameters(network, 3)


def refused(network: NetworkSettings, source: str | Path, data: Path, message: str) -> None:
    stage = FitStage(network=network, fit=dataclasses.replace(TUNE, init_from=str(source)))
    with pytest.raises(ValueError, match=message):
        starting_network(stage, open_dataset(data))


def test_another_network_is_refused_with_both_shapes(increments: Path, spring_data: Path) -> None:
    wide = NetworkSettings(channels=8)
    refused(wide, "organic-gfn2", spring_data, "'channels': 8.*organic-gfn2.*'channels': 64")
    starting_network(
        FitStage(network=NetworkSettings(channels=64, layers=3), fit=TUNE),
        open_dataset(spring_data),
    )
    refused(DIRECT, "organic-gfn2", spring_data, "kind is 'direct', but 'organic-gfn2'.* flow")
    refused(NetworkSettings(), increments, spring_data, "'start'.* is a direct model")
    verlet = dataclasses.replace(DIRECT, channels=16)
    refused(verlet, increments, spring_data, "'channels': 16.*'start'.*'channels': 8")
    one = dataclasses.replace(DIRECT, k=[4])
    refused(one, increments, spring_data, r"windows of \[4\] base steps, but .* for 2: \[2, 3\]")
    refused(NetworkSettings(), "nothing", spring_data, "no model 'nothing'")


def edited(source: Path, folder: Path, **content: Any) -> Path:
    """A copy of a dataset that says something else about itself."""
    shutil.copytree(source, folder)
    known = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**known, **content}))
    return folder


def test_elements_that_the_model_lacks(spring_data: Path, tmp_path: Path) -> None:
    statistics = {**open_dataset(spring_data).statistics, "elements": [1, 6, 8, 9]}
    fluoride = edited(spring_data, tmp_path / "fluoride", statistics=statistics)
    refused(NetworkSettings(), "organic-gfn2", fluoride, r"atomic numbers \[9\], which 'organic-gf")


def test_data_without_windows(spring_data: Path, tmp_path: Path) -> None:
    thermal = edited(spring_data, tmp_path / "thermal", timestep_fs=None)
    with pytest.raises(ValueError, match="has no windows: direct jumps are learned from segments"):
        starting_network(FitStage(network=DIRECT), open_dataset(thermal))
    five = FitStage(network=dataclasses.replace(DIRECT, k=[5]))
    with pytest.raises(ValueError, match="no training windows of 5 base steps"):
        starting_network(five, open_dataset(spring_data))
