"""A fit that was stopped goes on as if it had not been; a complete one is not repeated."""

from __future__ import annotations

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
from lightning.pytorch.callbacks import Callback

from kstep_integrators.models.model_file import read_model
from kstep_training.fit.fit import fit
from tests.training.fits import (
    KINDS,
    STAGES,
    Forbidden,
    assert_identical,
    assert_same_fit,
    changed,
    checkpoint,
)


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
from tests.training.fits import STAGES

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
