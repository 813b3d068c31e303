"""Real fits of a tiny network: exact resume, the model file, and that fitting helps."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from kstep_integrators.model_file import read_model
from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_integrators.nn.forces import compiled_forces, energy_and_forces, have_compiler
from kstep_training.config import FitConfig, NetworkConfig, Recipe
from kstep_training.dataset import FrameDataset, content_hash, load_folder
from kstep_training.fit import fit
from kstep_training.lightning_module import EnergyFit
from kstep_training.trajectory import write_npz

ELEMENTS = [1, 6, 7, 8]
PADDING = [4, 6]
RECIPE = Recipe(
    name="tiny",
    network=NetworkConfig(channels=8, layers=1, radial=8),
    fit=FitConfig(
        batch_size=8,
        epochs=4,
        learning_rate=1e-2,
        warmup_steps=5,
        ema_decay=0.9,
        padding=PADDING,
        compile=False,
    ),
)
STEPS_PER_EPOCH = 5 + 3  # water and ammonia, padded to 4: 40 frames; methanol: 20


def checkpoint(output: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(output / "last.ckpt", weights_only=True)
    return state


def assert_identical(a: Any, b: Any) -> None:
    """Nested containers of tensors and numbers, bit for bit."""
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_identical(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    else:
        assert a == b


@pytest.fixture(scope="module")
def straight(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The model file and the output folder of four epochs in one go."""
    output = tmp_path_factory.mktemp("straight") / "fit"
    return fit(RECIPE, *folders, output), output


class StopAfterEpochTwo(Callback):
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.should_stop = True


class InterruptWithinEpochThree(Callback):
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 2 and batch_idx == 3:
            raise KeyboardInterrupt


class InterruptWithinValidation(Callback):
    """At this moment the averaged weights stand in the module, and the others in the average."""

    def on_validation_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "stop", [StopAfterEpochTwo, InterruptWithinEpochThree, InterruptWithinValidation]
)
def test_resume_is_exact(
    stop: Callable[[], Callback],
    straight: tuple[Path, Path],
    folders: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    output = tmp_path / "fit"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="run again with the same output folder"):
        fit(RECIPE, *folders, output, callbacks=[stop()])
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (output / "tiny.safetensors").exists()
    assert checkpoint(output)["global_step"] == 2 * STEPS_PER_EPOCH

    model = fit(RECIPE, *folders, output)
    assert model.read_bytes() == straight[0].read_bytes()
    resumed, whole = checkpoint(output), checkpoint(straight[1])
    assert whole["global_step"] == 4 * STEPS_PER_EPOCH
    for key in (
        "state_dict",  # the average
        "current_model_state",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
        "global_step",
        "epoch",
        "validation",
    ):
        assert_identical(resumed[key], whole[key])
    average, current = whole["state_dict"], whole["current_model_state"]
    assert any(not torch.equal(average[name], current[name]) for name in average)


def test_interrupt_within_the_first_epoch(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="within the first epoch"):
        fit(RECIPE, *folders, tmp_path, callbacks=[Interrupt()])


def test_a_complete_fit_is_not_repeated(
    straight: tuple[Path, Path], folders: tuple[Path, Path]
) -> None:
    """Also when the model file itself was lost: it comes from the checkpoint, averaged."""
    model, output = straight
    before = model.read_bytes()
    model.unlink()
    steps = checkpoint(output)["global_step"]

    class Forbidden(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            pytest.fail("trained again")

    assert fit(RECIPE, *folders, output, callbacks=[Forbidden()]) == model
    assert model.read_bytes() == before
    assert checkpoint(output)["global_step"] == steps


def test_model_file(straight: tuple[Path, Path], folders: tuple[Path, Path]) -> None:
    model, output = straight
    network, header, _ = read_model(model)
    assert model == output / "tiny.safetensors"
    assert header.name == "tiny"
    assert header.method == RECIPE.data.method
    assert header.elements == ELEMENTS
    assert header.training["recipe"] == dataclasses.asdict(RECIPE)
    assert header.training["data_sha256"] == content_hash(load_folder(folders[0]))
    assert header.training["molecules"] == ["CH3OH", "H2O", "NH3"]
    assert (header.training["frames"], header.training["validation_frames"]) == (60, 24)
    assert header.training["epochs"] == 4
    record = json.loads((output / "tiny.json").read_text())
    curves = record.pop("curves")
    assert record == header.training
    assert [row["epoch"] for row in curves] == [0, 1, 2, 3]
    assert curves[-1]["val_force_rms"] == pytest.approx(
        header.training["validation"]["val_force_rms"], rel=1e-5
    )
    assert all("train_loss" in row for row in curves)
    averaged = checkpoint(output)["state_dict"]
    for name, tensor in network.named_parameters():
        assert torch.equal(tensor, averaged[f"network.{name}"])


def force_rms(network: EnergyNetwork, folder: Path) -> float:
    """Over all real components of a folder, in meV/angstrom, one molecule at a time."""
    total, count = 0.0, 0
    module = EnergyFit(network, RECIPE.fit, 1)
    for trajectory in load_folder(folder).values():
        data = FrameDataset(
            [trajectory], network.config["elements"], network.shifts.tolist(), PADDING
        )
        batch = data[range(len(data))]
        _, forces = module.forces(batch)
        n = len(trajectory.numbers)
        error = (forces - batch.forces)[:, :n].detach().double()
        total, count = total + float(error.square().sum()), count + error.numel()
    return 1e3 * float((total / count) ** 0.5)


def test_recorded_errors_are_those_of_the_averaged_network(
    straight: tuple[Path, Path], folders: tuple[Path, Path]
) -> None:
    network, header, _ = read_model(straight[0])
    network.float()  # the constants of the radial basis too
    recorded = header.training["validation"]
    assert recorded.keys() == {"val_force_rms", "val_energy_rms"}
    assert recorded["val_force_rms"] == pytest.approx(force_rms(network, folders[1]), rel=1e-4)


def test_fitting_reduces_the_force_error(springs: Any, tmp_path: Path) -> None:
    for part, frames, seed in (("train", 24, 0), ("validation", 8, 1)):
        (tmp_path / part).mkdir()
        write_npz(tmp_path / part / "H2O.npz", springs("H2O", frames, seed))
    recipe = dataclasses.replace(RECIPE, fit=dataclasses.replace(RECIPE.fit, epochs=40))
    folders = tmp_path / "train", tmp_path / "validation"
    network, header, _ = read_model(fit(recipe, *folders, tmp_path / "fit"))
    torch.manual_seed(0)
    untrained = EnergyNetwork(**network.config).float()
    after = header.training["validation"]["val_force_rms"]
    assert after < 0.3 * force_rms(untrained, folders[1])


def test_another_recipe_is_refused(straight: tuple[Path, Path], folders: tuple[Path, Path]) -> None:
    other = dataclasses.replace(RECIPE, fit=dataclasses.replace(RECIPE.fit, learning_rate=1e-3))
    before = checkpoint(straight[1])["global_step"]
    with pytest.raises(ValueError, match="a fit of another recipe"):
        fit(other, *folders, straight[1])
    assert checkpoint(straight[1])["global_step"] == before
    assert fit(RECIPE, *folders, straight[1]) == straight[0]


def test_other_data_are_refused(
    straight: tuple[Path, Path], folders: tuple[Path, Path], springs: Any, tmp_path: Path
) -> None:
    shutil.copytree(folders[0], tmp_path / "train")
    write_npz(tmp_path / "train" / "CH4.npz", springs("CH4", 2))
    with pytest.raises(ValueError, match="a fit of other data"):
        fit(RECIPE, tmp_path / "train", folders[1], straight[1])


def test_missing_data(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="run the data stage first"):
        fit(RECIPE, tmp_path / "train", tmp_path / "train", tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_no_advertisements(
    folders: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = dataclasses.replace(RECIPE, fit=dataclasses.replace(RECIPE.fit, epochs=1))
    fit(recipe, *folders, tmp_path)
    written = "".join(capfd.readouterr())
    assert "val_force_rms" in written  # the progress bar is there
    for line in ("Tip", "available", "stopped"):
        assert line not in written


@pytest.mark.slow
@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_compiled_and_eager_fits_agree(folders: tuple[Path, Path]) -> None:
    """Loss, and its gradient with respect to every weight, which is what a fit goes by."""
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, channels=8, layers=1, radial=8).float()
    water = load_folder(folders[0])["H2O"]
    batch = FrameDataset([water], ELEMENTS, [-100.0] * 4, PADDING)[range(4)]
    losses, gradients = [], []
    for compiled in (False, True):
        module = EnergyFit(network, dataclasses.replace(RECIPE.fit, compile=compiled), 1)
        module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
        network.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        losses.append(loss.item())
        gradients.append(
            torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        )
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("backbone", ["painn", "egnn"])
def test_the_traced_force_has_the_whole_gradient(
    backbone: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph that would be compiled, run without compiling it, in float64."""
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, backbone, channels=8, layers=2, radial=8).double()
    water = load_folder(folders[0])["H2O"]
    batch = FrameDataset([water], ELEMENTS, [-100.0] * 4, PADDING)[range(4)]
    x, graph = batch.positions.double(), batch.graph
    traced = compiled_forces(network, x, graph, trainable=True)
    weights = dict(network.named_parameters())

    def gradients(outcome: tuple[Tensor, Tensor]) -> list[Tensor]:
        energy, forces = outcome
        loss = energy.square().mean() + forces.square().mean()
        return list(torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))

    per_atom, forces = energy_and_forces(network, None, x, graph, True)
    eager = gradients((per_atom.sum(-1), forces))
    torch.testing.assert_close(gradients(traced(weights, x, graph)), eager, rtol=1e-12, atol=1e-14)
