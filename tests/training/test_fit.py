"""Real fits of tiny networks: exact resume, early stopping, the model file, that fitting helps."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
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
from kstep_training.dataset.batches import Batch
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.windows import WindowDataset
from kstep_training.fit.fit import fit, run_fit
from kstep_training.fit.lightning_module import EnergyFit
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.fit.trainer import averaging_decay

ELEMENTS = [1, 6, 7, 8]
PADDING = [4, 6]
FIT = FitSettings(
    batch_size=8,
    epochs=4,
    learning_rate=1e-2,
    warmup_steps=5,
    ema_decay=0.9,
    padding=PADDING,
    compile=False,
)
SIZES: dict[str, Any] = {"channels": 8, "layers": 1, "radial": 8}
STAGES = {
    "flow": FitStage("tiny", NetworkSettings(**SIZES), FIT),
    "direct": FitStage(
        "tiny",
        NetworkSettings(kind="direct", **SIZES),
        dataclasses.replace(FIT, augmentation="graph", accumulate=2),
    ),
}
KINDS = sorted(STAGES)


def changed(kind: str, **settings: Any) -> FitStage:
    """The tiny stage with other settings of the fit."""
    stage = STAGES[kind]
    return dataclasses.replace(stage, fit=dataclasses.replace(stage.fit, **settings))


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


def assert_same_fit(resumed: Path, whole: Path) -> None:
    """Model files and the states of the optimizations."""
    assert (resumed / "tiny.safetensors").read_bytes() == (whole / "tiny.safetensors").read_bytes()
    a, b = checkpoint(resumed), checkpoint(whole)
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
        assert_identical(a[key], b[key])
    average, current = b["state_dict"], b["current_model_state"]
    assert any(not torch.equal(average[name], current[name]) for name in average)


@pytest.fixture(scope="module")
def straight(spring_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes, once, the output folder of four epochs in one go."""
    root = tmp_path_factory.mktemp("straight")

    def make(kind: str) -> Path:
        if not (root / kind / "tiny.safetensors").exists():
            fit(STAGES[kind], spring_data, root / kind)
        return root / kind

    return make


class StopAfterEpochOne(Callback):
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch == 0


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
@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact(
    kind: str,
    stop: Callable[[], Callback],
    straight: Callable[[str], Path],
    spring_data: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "fit"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="run again with the same output folder"):
        fit(STAGES[kind], spring_data, output, callbacks=[stop()])
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (output / "tiny.safetensors").exists()
    whole = straight(kind)
    assert 2 * checkpoint(output)["global_step"] == checkpoint(whole)["global_step"]
    fit(STAGES[kind], spring_data, output)
    assert_same_fit(output, whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from lightning.pytorch.callbacks import Callback
from kstep_training.fit.fit import fit
from tests.training.test_fit import STAGES

class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 3:
            os.kill(os.getpid(), signal.SIGKILL)

fit(STAGES[sys.argv[1]], sys.argv[2], sys.argv[3], callbacks=[Kill()])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_is_resumed_exactly(
    kind: str, straight: Callable[[str], Path], spring_data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "fit"
    command = [sys.executable, "-c", KILLED, kind, str(spring_data), str(output)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    fit(STAGES[kind], spring_data, output)
    assert_same_fit(output, straight(kind))


def test_interrupt_within_the_first_epoch(spring_data: Path, tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="within the first epoch"):
        fit(STAGES["flow"], spring_data, tmp_path / "fit", callbacks=[Interrupt()])


class Forbidden(Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        pytest.fail("trained again")


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_fit_is_not_repeated(
    kind: str, straight: Callable[[str], Path], spring_data: Path
) -> None:
    """Also when the model file itself was lost: it comes from the checkpoint, averaged."""
    output = straight(kind)
    model = output / "tiny.safetensors"
    before = model.read_bytes()
    model.unlink()
    steps = checkpoint(output)["global_step"]
    assert fit(STAGES[kind], spring_data, output, callbacks=[Forbidden()]) == model
    assert model.read_bytes() == before
    assert checkpoint(output)["global_step"] == steps


@pytest.mark.parametrize("kind", KINDS)
def test_model_file_and_record(
    kind: str, straight: Callable[[str], Path], spring_data: Path
) -> None:
    output, data = straight(kind), open_dataset(spring_data)
    network, header, _ = read_model(output / "tiny.safetensors")
    assert (header.name, header.method) == ("tiny", "springs")
    assert header.elements == ELEMENTS
    assert header.training["settings"] == dataclasses.asdict(STAGES[kind])
    assert header.training["data_sha256"] == data.content_hash
    assert header.training["molecules"] == ["CH3OH", "H2O", "NH3"]
    assert header.training["epochs"] == 4
    record = json.loads((output / "tiny.json").read_text())
    curves, throughput = record.pop("curves"), record.pop("throughput")
    assert record == header.training
    assert [row["epoch"] for row in curves] == [0, 1, 2, 3]
    for key, value in header.training["validation"].items():
        assert curves[-1][key] == pytest.approx(value, rel=1e-5)
    assert all("train_loss" in row for row in curves)
    assert throughput["frames_per_second"] > 0.0
    assert 0.0 < throughput["loader_share"] < 1.0
    assert list((output / "tensorboard").glob("version_0/events.out.*"))
    averaged = checkpoint(output)["state_dict"]
    for name, tensor in network.named_parameters():
        assert torch.equal(tensor, averaged[f"network.{name}"])
    if kind == "direct":
        assert (header.kind, header.timestep_fs) == ("increments", data.timestep_fs)
        assert network.config["strides"] == [4, 8]
        assert network.config["scales"] == data.scales("verlet", [4, 8])


def test_frames_and_steps(straight: Callable[[str], Path]) -> None:
    """Of 12 trajectories of 24 frames, 4 are for validation; an increment window is a pair."""
    records = {kind: json.loads((straight(kind) / "tiny.json").read_text()) for kind in KINDS}
    # Trajectories: 20 / 2 windows of stride 4 and 16 / 2 of stride 8 each.
    assert (records["flow"]["frames"], records["flow"]["validation_frames"]) == (192, 96)
    assert (records["direct"]["frames"], records["direct"]["validation_frames"]) == (144, 72)
    # Padded to 4 atoms: 5 trajectories; to 6: 3. Batches of 8, and of 2 x 8 for increments.
    assert checkpoint(straight("flow"))["global_step"] == 4 * (15 + 9)
    assert checkpoint(straight("direct"))["global_step"] == 4 * -(-(-(-90 // 8) - (-54 // 8)) // 2)


def force_rms(network: EnergyNetwork, folder: Path) -> float:
    """Over all real components of the validation part, meV/angstrom, one frame at a time."""
    data = FrameDataset(folder, "validation", PADDING, ELEMENTS, network.shifts.tolist())
    total, count = 0.0, 0
    for frame in range(len(data)):
        batch = data[[frame]]
        _, forces = energy_and_forces(network, None, batch.positions, batch.graph)
        error = (forces - batch.forces)[batch.atom_mask].detach().double()
        total, count = total + float(error.square().sum()), count + error.numel()
    return 1e3 * float((total / count) ** 0.5)


def test_recorded_errors_are_those_of_the_averaged_network(
    straight: Callable[[str], Path], spring_data: Path
) -> None:
    network, header, _ = read_model(straight("flow") / "tiny.safetensors")
    assert isinstance(network, EnergyNetwork)
    network.float()  # the constants of the radial basis too
    recorded = header.training["validation"]
    assert recorded.keys() == {"val_force_rms", "val_energy_rms"}
    assert recorded["val_force_rms"] == pytest.approx(force_rms(network, spring_data), rel=1e-4)


def test_recorded_errors_of_increments(straight: Callable[[str], Path], spring_data: Path) -> None:
    """Worked out anew in float64: rms error over rms of what is to be predicted, by stride."""
    network, header, _ = read_model(straight("direct") / "tiny.safetensors")
    network.double()
    recorded = header.training["validation"]
    data = WindowDataset(spring_data, "validation", "verlet", [4, 8], PADDING, ELEMENTS)
    # 54 and 18 windows in batches of 8: those that fill up the last ones do not count.
    sums = torch.zeros(2, 2, 2, dtype=torch.float64)
    for window in range(72):
        b = data[[window]]
        found = network(
            b.positions.double(), b.velocities.double(), b.forces.double(), b.stride, b.graph
        )
        stride = int(b.stride)
        for kind, (guess, target) in enumerate(
            ((found.positions, b.dx.double()), (found.velocities, b.dv.double()))
        ):
            scale = network.scales[stride, b.species, kind].unsqueeze(-1)
            for row, part in enumerate((guess - target, target)):
                real = (part / scale)[b.atom_mask]
                sums[stride, kind, row] += real.detach().square().sum()
    relative = (sums[..., 0] / sums[..., 1]).sqrt()
    for i, k in enumerate((4, 8)):
        for j, name in enumerate(("dx", "dv")):
            assert recorded[f"val_{name}_k{k}"] == pytest.approx(float(relative[i, j]), rel=1e-3)
    assert recorded["val_increment"] == pytest.approx(
        float(relative.square().mean().sqrt()), rel=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_fitting_helps(kind: str, spring_data: Path, tmp_path: Path) -> None:
    stage = changed(kind, epochs=8, accumulate=1)
    _, header, _ = read_model(fit(stage, spring_data, tmp_path / "fit"))
    after = header.training["validation"]
    if kind == "direct":
        assert after["val_increment"] < 0.8  # predicting nothing would be 1
        return
    torch.manual_seed(0)
    untrained = EnergyNetwork(**header.network).float()
    assert after["val_force_rms"] < 0.8 * force_rms(untrained, spring_data)


def test_early_stopping_keeps_the_best(spring_data: Path, tmp_path: Path) -> None:
    """A rate that ruins the weights: the errors rise, and the best epoch is not the last."""
    stage = changed("flow", epochs=30, patience=2, learning_rate=0.1, ema_decay=0.0)
    output = tmp_path / "fit"
    _, header, _ = read_model(fit(stage, spring_data, output))
    rows = json.loads((output / "tiny.json").read_text())["curves"]
    errors = [row["val_force_rms"] for row in rows]
    best = errors.index(min(errors))
    assert len(errors) < 30
    assert len(errors) == best + 1 + 2
    assert header.training["epochs"] == best + 1
    assert header.training["validation"]["val_force_rms"] == pytest.approx(errors[best], rel=1e-5)
    # It has stopped for good, and after a stop in between it stops in the same place.
    assert fit(stage, spring_data, output, callbacks=[Forbidden()]).exists()
    cut = tmp_path / "cut"

    class StopOnceItWaits(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch == best + 1

    with pytest.raises(KeyboardInterrupt):
        fit(stage, spring_data, cut, callbacks=[StopOnceItWaits()])
    fit(stage, spring_data, cut)
    assert_identical(
        checkpoint(cut)["current_model_state"], checkpoint(output)["current_model_state"]
    )
    assert (cut / "tiny.safetensors").read_bytes() == (output / "tiny.safetensors").read_bytes()


def test_other_settings_are_refused(straight: Callable[[str], Path], spring_data: Path) -> None:
    output = straight("flow")
    before = checkpoint(output)["global_step"]
    with pytest.raises(ValueError, match=r"learning_rate was 0\.\d+, now 0.002\."):
        fit(changed("flow", learning_rate=2e-3), spring_data, output)
    assert checkpoint(output)["global_step"] == before


def test_other_data_are_refused(
    straight: Callable[[str], Path], spring_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(spring_data, tmp_path / "data")
    content = json.loads((tmp_path / "data" / "dataset.json").read_text())
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({**content, "content_hash": "1"}))
    with pytest.raises(ValueError, match="of other data: data_sha256 was "):
        fit(STAGES["flow"], tmp_path / "data", straight("flow"))


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run kstep dataset first"):
        fit(STAGES["flow"], tmp_path, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_readers_beside_the_fit_change_nothing(
    straight: Callable[[str], Path], spring_data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "fit"
    # A fit may be resumed with them too.
    with pytest.raises(KeyboardInterrupt):
        fit(changed("direct", epochs=2), spring_data, output, callbacks=[StopAfterEpochOne()])
    fit(changed("direct", loader_workers=1, epochs=2), spring_data, output)
    fit(changed("direct", epochs=2), spring_data, tmp_path / "alone")
    for key in ("state_dict", "optimizer_states"):
        assert_identical(checkpoint(output)[key], checkpoint(tmp_path / "alone")[key])


def test_half_precision(spring_data: Path, tmp_path: Path) -> None:
    """Close to single precision and not the same."""
    errors = {}
    for precision in ("32", "bf16-mixed"):
        stage = changed("direct", precision=precision)
        _, header, _ = read_model(fit(stage, spring_data, tmp_path / precision))
        errors[precision] = header.training["validation"]["val_increment"]
    assert errors["bf16-mixed"] != errors["32"]
    assert errors["bf16-mixed"] == pytest.approx(errors["32"], rel=0.15)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_that_needs_a_gpu(spring_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a GPU and there is none; use 32 or bf16-mixed"):
        fit(changed("direct", precision="16-mixed"), spring_data, tmp_path / "fit")


def test_weights_and_biases_is_asked_for_by_name(spring_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    try:
        import wandb  # noqa: F401
    except ImportError:
        with pytest.raises(ModuleNotFoundError, match="wandb"):
            fit(changed("flow", wandb="mine"), spring_data, tmp_path / "fit")
    else:
        pytest.skip("wandb is installed")


@pytest.mark.slow
def test_two_processes(spring_data: Path, tmp_path: Path) -> None:
    """Data-parallel: the errors are those of the whole validation part, each window once."""
    words = [
        "name=tiny", "network.kind=direct", "network.channels=8", "network.layers=1",
        "network.radial=8", "fit.batch_size=4", "fit.epochs=1", "fit.devices=2",
        "fit.padding=[4,6]", "fit.warmup_steps=1", "fit.augmentation=batch",
    ]  # fmt: skip
    code = "import sys; from kstep_integrators.cli import main; sys.exit(main())"
    script = tmp_path / "kstep.py"
    script.write_text(code)
    output = tmp_path / "fit"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), "fit", str(spring_data), *words, "--output", str(output)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model file") == 1
    state = checkpoint(output)
    # 90 and 54 windows in batches of 4: 23 + 14 = 37, of which each process makes 18.
    assert state["global_step"] == 18
    alone = changed(
        "direct",
        epochs=1,
        batch_size=4,
        init_from=str(output / "tiny.safetensors"),
        learning_rate=1e-12,
        final_learning_rate=0.0,
        ema_decay=0.0,
    )
    _, header, _ = read_model(fit(alone, spring_data, tmp_path / "alone"))
    for key, value in state["validation"].items():
        assert header.training["validation"][key] == pytest.approx(value, rel=1e-4)


def test_no_advertisements(
    spring_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["fit.epochs=1", "fit.compile=false", "fit.padding=[6]", "network.channels=4"]
    run_fit(spring_data, [*words, "network.layers=1", "fit.batch_size=96"], tmp_path)
    written = "".join(capfd.readouterr())
    assert "val_force_rms" in written  # the progress bar is there
    assert "frames/s" in written
    assert "Model file" in written
    for line in ("Tip", "available", "stopped"):
        assert line not in written


@pytest.fixture
def water(spring_data: Path) -> Batch:
    """Four frames, shifts subtracted."""
    return FrameDataset(spring_data, "train", PADDING)[range(4)]


@pytest.mark.slow
@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_compiled_and_eager_fits_agree(water: Batch) -> None:
    """Loss, and its gradient with respect to every weight, which is what a fit goes by."""
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, channels=8, layers=1, radial=8).float()
    losses, gradients = [], []
    for compiled in (False, True):
        module = EnergyFit(network, dataclasses.replace(FIT, compile=compiled), 1)
        module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
        network.zero_grad()
        loss = module.training_step(water, 0)
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
    backbone: str, water: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph that would be compiled, run without compiling it, in float64."""
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)
    torch.manual_seed(1)
    network = EnergyNetwork(ELEMENTS, backbone, channels=8, layers=2, radial=8).double()
    x, graph = water.positions.double(), water.graph
    traced = compiled_forces(network, x, graph, trainable=True)
    weights = dict(network.named_parameters())

    def gradients(outcome: tuple[Tensor, Tensor]) -> list[Tensor]:
        energy, forces = outcome
        loss = energy.square().mean() + forces.square().mean()
        return list(torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))

    per_atom, forces = energy_and_forces(network, None, x, graph, True)
    eager = gradients((per_atom.sum(-1), forces))
    torch.testing.assert_close(gradients(traced(weights, x, graph)), eager, rtol=1e-12, atol=1e-14)


def test_averaged_weights_forget_where_a_short_fit_began() -> None:
    assert averaging_decay(0.999, 100_000) == 0.999
    short = averaging_decay(0.999, 1000)
    assert short == pytest.approx(0.99)
    assert short**1000 < 1e-4  # what is left of the first weights
    assert averaging_decay(0.9, 5) == 0.0
