"""Frames per second of a fit, and the share of the time it waits for data.

    python -m benchmarks.fit_throughput TRAJECTORIES CACHE

TRAJECTORIES is the folder that ``kstep recipe qm-gfn2-direct`` leaves under this name. A dataset
of its molecules of nine atoms, so that nothing is padded, is made in CACHE and read lazily. Figures
are those that every fit keeps in its own record: medians over epochs but the first, which compiles.
A GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks import table
from benchmarks.common import write_result
from kstep_training.dataset.dataset_file import DatasetFile
from kstep_training.dataset.make_dataset import DatasetSettings, find_trajectories, make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.trajectory import read_npz

ATOMS = 9
FRAMES = 2560
"""Of an epoch."""
EPOCHS = 4
BATCHES = (32, 128)
NETWORKS = {
    "flow, PaiNN 64x2, compiled": NetworkSettings("flow", "painn", channels=64, layers=2),
    "direct, EGNN 48x4": NetworkSettings("direct", "egnn", channels=48, layers=4, k=[4, 8]),
}


class _Short(Callback):
    """Ends an epoch after some frames, without more validation than the clock needs."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Before the loops look at it."""
        trainer.limit_train_batches, trainer.limit_val_batches = self.batches, 1


def dataset(trajectories: Path, folder: Path) -> DatasetFile:
    """Windows and frames of the molecules of one size."""
    chosen = folder / "trajectories"
    for name, paths in find_trajectories([trajectories]).items():
        if len(read_npz(paths[0]).numbers) == ATOMS:
            (chosen / name).mkdir(parents=True, exist_ok=True)
            for path in paths:
                if not (chosen / name / path.name).exists():
                    (chosen / name / path.name).symlink_to(path.resolve())
    settings = DatasetSettings(k=[4, 8], split="trajectory", test_fraction=0.0, seed=1)
    return make_dataset(sorted(chosen.iterdir()), folder / "dataset", settings)


def measure(what: str, batch: int, data: DatasetFile, folder: Path) -> dict[str, Any]:
    """One short fit, made anew."""
    load = os.getloadavg()[0]
    output = folder / f"{what.split(',')[0]}-{batch}"
    shutil.rmtree(output, ignore_errors=True)
    settings = FitSettings(batch_size=batch, epochs=EPOCHS, warmup_steps=10, padding=[ATOMS])
    path = fit(
        FitStage("model", NETWORKS[what], settings),
        data.folder,
        output,
        [_Short(-(-FRAMES // batch))],
    )
    record = json.loads(path.with_suffix(".json").read_text())
    epochs = [row["frames_per_second"] for row in record["curves"]]
    return {
        "network": what,
        "batch_size": batch,
        **record["throughput"],
        "frames_per_second_by_epoch": epochs,
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trajectories", type=Path)
    parser.add_argument("cache", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = dataset(arguments.trajectories, arguments.cache)
    size = sum(shard.bytes for shard in data.shards)
    rows = []
    for what in NETWORKS:
        for batch in BATCHES:
            row = measure(what, batch, data, arguments.cache)
            rows.append(row)
            print(row, flush=True)
            write_result(
                "fit_throughput",
                {
                    "what": __doc__,
                    "atoms": ATOMS,
                    "molecules": [molecule.name for molecule in data.molecules],
                    "dataset_MB": size / 1e6,
                    "precision": "float32",
                    "rows": rows,
                },
            )
    print(table.fit_throughput())


if __name__ == "__main__":
    main()
