"""From a force field to GFN2-xTB: tuning a pretrained network against training from scratch.

    python -m benchmarks.transfer TRAIN VALIDATION MODEL CACHE

TRAIN and VALIDATION are folders of GFN2 trajectories of the molecules of ``qm_train`` (NPZ, or what
``kstep simulate`` leaves), MODEL is what ``kstep recipe qm-transfer`` leaves as
``pretrain/fit/mmff94-flow.safetensors``. Frames are drawn evenly over the molecules, by seed, those
of a smaller set being part of the larger; the frames for validation are the same for all. At each
number of frames both networks, which are of one architecture, take the same optimizer steps. Each
has its own learning rate, chosen once: that of the lowest validation error with 1,000 frames and
seed 0. Fits are kept in the folder CACHE.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import table
from benchmarks.common import write_result
from benchmarks.residuals import force_rms
from kstep_integrators import load_model
from kstep_training.dataset.batches import BatchSampler
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.make_dataset import DatasetSettings, find_trajectories, make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.trajectory import Trajectory, read_npz, write_npz

EPOCHS = {200: 32, 1000: 12, 5000: 4}
SEEDS = (0, 1, 2)
VALIDATION = 1008
RATES = {"scratch": (2e-3, 4e-3, 8e-3), "transfer": (1e-3, 2e-3, 4e-3)}
CHOSEN_AT = (1000, 0)
SETTINGS = FitSettings(batch_size=16, warmup_steps=50, ema_decay=0.99, padding=[9, 12, 18])
NETWORK = NetworkSettings(kind="flow", backbone="painn", channels=64, layers=2)
ARRAYS = ("positions", "velocities", "forces", "energies", "temperature", "time", "has_label")


def molecules(folder: Path) -> dict[str, Trajectory]:
    """All labelled frames of each molecule, in one trajectory."""
    found: dict[str, list[Trajectory]] = {}
    for paths in find_trajectories([folder]).values():
        for trajectory in map(read_npz, paths):
            found.setdefault(str(trajectory.metadata["name"]), []).append(trajectory)
    joined = {}
    for name, parts in sorted(found.items()):
        arrays = {key: np.concatenate([getattr(part, key) for part in parts]) for key in ARRAYS}
        joined[name] = _rows(replace(parts[0], **arrays), np.flatnonzero(arrays["has_label"]))
    return joined


def _rows(trajectory: Trajectory, rows: np.ndarray[Any, Any]) -> Trajectory:
    return replace(trajectory, **{key: getattr(trajectory, key)[rows] for key in ARRAYS})


def drawn(data: dict[str, Trajectory], count: int, seed: int) -> dict[str, Trajectory]:
    """As many frames of every molecule, give or take one."""
    rng = np.random.default_rng(seed)
    each, more = divmod(count, len(data))
    lucky = set(rng.permutation(len(data))[:more].tolist())
    chosen = {}
    for place, (name, trajectory) in enumerate(data.items()):
        order = rng.permutation(len(trajectory))
        chosen[name] = _rows(trajectory, order[: each + (place in lucky)])
    return chosen


def write_dataset(
    train: dict[str, Trajectory], validation: dict[str, Trajectory], folder: Path
) -> Path:
    """A dataset of the drawn frames; the parts are told apart by names of molecules."""
    target = folder / "dataset"
    if (target / "dataset.json").exists() and "shards" in json.loads(
        (target / "dataset.json").read_text()
    ):
        return target
    frames = folder / "frames"
    frames.mkdir(parents=True, exist_ok=True)
    for suffix, data in (("", train), ("-validation", validation)):
        for name, trajectory in data.items():
            described = {"method": trajectory.metadata["method"], "name": name + suffix}
            write_npz(frames / f"{name}{suffix}.npz", replace(trajectory, metadata=described))
    held_out = [f"{name}-validation" for name in validation]
    make_dataset([frames], target, DatasetSettings(validation=held_out, test_fraction=0.0))
    return target


def fitted(
    kind: str, rate: float, seed: int, dataset: Path, output: Path, epochs: int, model: Path
) -> dict[str, Any]:
    """One fit and its curve, by optimizer step."""
    settings = replace(SETTINGS, epochs=epochs, learning_rate=rate, seed=seed)
    if kind == "transfer":
        settings = replace(settings, init_from=str(model))
    path = fit(FitStage(kind, NETWORK, settings), dataset, output)
    record = json.loads(path.with_suffix(".json").read_text())
    offsets = FrameDataset(dataset, "train", SETTINGS.padding or []).offsets
    steps = len(BatchSampler(offsets, SETTINGS.batch_size, seed))
    curve = record["curves"]
    return {
        "kind": kind,
        "learning_rate": rate,
        "epochs": epochs,
        "steps": epochs * steps,
        "frames_per_second": record["throughput"]["frames_per_second"],
        "force_rms_meV_per_A": curve[-1]["val_force_rms"],
        "energy_rms_meV_per_atom": curve[-1]["val_energy_rms"],
        "curve": {
            "step": [steps * (1 + int(row["epoch"])) for row in curve],
            "force_rms_meV_per_A": [round(row["val_force_rms"], 2) for row in curve],
            "energy_rms_meV_per_atom": [round(row["val_energy_rms"], 3) for row in curve],
        },
    }


def untuned(model: Path, validation: dict[str, Trajectory]) -> dict[str, float]:
    """Rms force error of the model as it is, and rms force, meV/angstrom."""
    potential = load_model(model, device="cpu")
    found = [(len(t) * len(t.numbers), force_rms(potential, [t])) for t in validation.values()]
    weights = sum(weight for weight, _ in found)
    error, force = (
        1e3 * float(np.sqrt(sum(weight * pair[i] ** 2 for weight, pair in found) / weights))
        for i in range(2)
    )
    return {"force_rms_meV_per_A": error, "rms_force_meV_per_A": force}


def main() -> None:
    """Draw, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("cache", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pool = molecules(arguments.train)
    validation = drawn(molecules(arguments.validation), VALIDATION, seed=0)

    def run(kind: str, rate: float, n: int, seed: int) -> dict[str, Any]:
        folder = arguments.cache / f"{n}-{seed}"
        dataset = write_dataset(drawn(pool, n, seed), validation, folder)
        output = folder / f"{kind}-{rate:g}"
        row = fitted(kind, rate, seed, dataset, output, EPOCHS[n], arguments.model)
        row = {"frames": n, "seed": seed, **row}
        print({key: value for key, value in row.items() if key != "curve"}, flush=True)
        return row

    tuning = [run(kind, rate, *CHOSEN_AT) for kind, rates in RATES.items() for rate in rates]
    best = {
        kind: min(
            (row for row in tuning if row["kind"] == kind), key=lambda r: r["force_rms_meV_per_A"]
        )["learning_rate"]
        for kind in RATES
    }
    start = untuned(arguments.model, validation)
    print(best, start, flush=True)
    rows: list[dict[str, Any]] = []
    for seed in SEEDS:
        for n in EPOCHS:
            rows += [run(kind, best[kind], n, seed) for kind in RATES]
        write_result(
            "transfer",
            {
                "what": __doc__,
                "validation_frames": VALIDATION,
                "pretrained_model_without_tuning": start,
                "learning_rates": best,
                "choice_of_the_learning_rates": tuning,
                "rows": rows,
            },
        )
    print(table.transfer())


if __name__ == "__main__":
    main()
