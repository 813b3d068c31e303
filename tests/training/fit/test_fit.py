"""Real fits of tiny networks: the model file, its record, that fitting helps, what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kstep_integrators.models.model_file import read_model
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.windows import WindowDataset
from kstep_training.fit.fit import fit, run_fit
from kstep_training.fit.trainer import averaging_decay
from tests.training.fits import ELEMENTS, KINDS, PADDING, STAGES, changed, checkpoint


@pytest.mark.parametrize("kind", KINDS)
def test_model_file_and_record(
    kind: str, straight: Callable[[str], Path], spring_data: Path
) -> None:
    output, data = straight(kind), open_dataset(spring_data)
    network, header, _ = read_model(output / "tiny.safetensors")
    assert (header.name, header.method) == ("tiny", "springs")
    assert header.elements == ELEMENTS
    assert (header.charge, header.multiplicities) == ((0, 0), (1, 3))
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
        result = network(
            b.positions.double(), b.velocities.double(), b.forces.double(), b.k_index, b.graph
        )
        stride = int(b.k_index)
        for kind, (guess, target) in enumerate(
            ((result.positions, b.dx.double()), (result.velocities, b.dv.double()))
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


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name a folder made by kstep dataset"):
        fit(STAGES["flow"], tmp_path, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


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
    overrides = [
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
        [sys.executable, str(script), "fit", str(spring_data), *overrides, "--output", str(output)],
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
    overrides = ["fit.epochs=1", "fit.compile=false", "fit.padding=[6]", "network.channels=4"]
    run_fit(spring_data, [*overrides, "network.layers=1", "fit.batch_size=96"], tmp_path)
    written = "".join(capfd.readouterr())
    assert "val_force_rms" in written  # the progress bar is there
    assert "frames/s" in written
    assert "Model file" in written
    for line in ("Tip", "available", "stopped"):
        assert line not in written


def test_averaged_weights_forget_where_a_short_fit_began() -> None:
    assert averaging_decay(0.999, 100_000) == 0.999
    short = averaging_decay(0.999, 1000)
    assert short == pytest.approx(0.99)
    assert short**1000 < 1e-4  # what is left of the first weights
    assert averaging_decay(0.9, 5) == 0.0
