"""The tuned model of `benchmarks.long_strides`: frames, fit, residuals before and after.

Frames are drawn from GFN2 Langevin dynamics at 300 K that starts where the benchmark's starts do,
at the bundled geometry, with other seeds: five trajectories of 100 frames for the fit, one of 100
to validate it on, and one of 100, which neither fit nor choice of settings has seen, to test it on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.md.langevin import Langevin

from benchmarks.residuals import force_rms
from benchmarks.starts import thermalized
from kstep_integrators import load_model
from kstep_integrators.files import write_text_atomically
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage
from kstep_training.trajectory import Trajectory, read_npz, write_npz

__all__ = ["START", "tune", "tuned_model"]

START = "organic-gfn2"
FRAMES = 100
"""Of each trajectory."""
INTERVAL = 15
"""Steps of 1 fs between frames."""
PARTS = {"train": range(100, 105), "validation": range(200, 201), "test": range(300, 301)}
"""Seeds of the trajectories of each set; the benchmark's starts have others."""
METHOD = "GFN2-xTB"
STAGE = FitStage(
    name="tuned",
    # So short a fit is over before its compilation would be.
    fit=FitSettings(
        init_from=START,
        epochs=12,
        learning_rate=5e-4,
        warmup_steps=100,
        ema_decay=0.99,
        compile=False,
    ),
)


def tuned_model(cache: Path) -> Path:
    """Where the model file is, or will be."""
    return cache / "tune" / "fit" / f"{STAGE.name}.safetensors"


def sample(name: str, seeds: Sequence[int], label: str) -> Trajectory:
    """Labelled frames of one molecule, named ``label``, from a trajectory for each seed."""
    rows: list[tuple[Any, ...]] = []
    for seed in seeds:
        atoms = thermalized(name, seed=seed, picoseconds=0.5)
        rng = np.random.default_rng([seed, *name.encode(), 1])
        bath = Langevin(
            atoms,
            1.0 * units.fs,
            temperature_K=300.0,
            friction=0.02 / units.fs,
            fixcm=False,
            rng=rng,
        )
        for _ in range(FRAMES):
            bath.run(INTERVAL)
            rows.append(
                (
                    atoms.get_positions(),
                    atoms.get_velocities(),
                    atoms.get_forces(),
                    atoms.get_potential_energy(),
                    bath.get_time(),
                )
            )
    x, v, f, energies, times = (np.array(column) for column in zip(*rows, strict=True))
    return Trajectory(
        numbers=atoms.numbers.astype(np.int64),
        masses=atoms.get_masses(),
        positions=x,
        velocities=v,
        forces=f,
        energies=energies,
        temperature=np.full(len(rows), 300.0),
        time=times,
        has_label=np.ones(len(rows), dtype=bool),
        metadata={"method": METHOD, "name": label, "seeds": list(seeds)},
    )


def tune(cache: Path, molecules: Sequence[str]) -> None:
    """Make what is not there yet: frames, model, and its test in ``CACHE/tune/test.json``."""
    folder = cache / "tune"
    for part, seeds in PARTS.items():
        kept = folder / ("test" if part == "test" else "labels")
        kept.mkdir(parents=True, exist_ok=True)
        for name in molecules:
            label = name if part == "train" else f"{name}-{part}"
            path = kept / f"{label}.npz"
            if not path.exists():
                write_npz(path, sample(name, seeds, label))
                print(f"{part} {name}", flush=True)
    held_out = [f"{name}-validation" for name in molecules]
    settings = DatasetSettings(validation=held_out, test_fraction=0.0)
    make_dataset([folder / "labels"], folder / "dataset", settings)
    path = fit(STAGE, folder / "dataset", folder / "fit")
    data = {name: read_npz(folder / "test" / f"{name}-test.npz") for name in molecules}
    rows: dict[str, dict[str, float]] = {name: {} for name in data}
    for when, model in (("before", START), ("after", path)):
        potential = load_model(model, device="cpu")
        for name, trajectory in data.items():
            error, force = force_rms(potential, trajectory)
            rows[name] |= {f"{when}_meV_per_A": 1e3 * error, "force_meV_per_A": 1e3 * force}
    rms = {
        when: float(np.sqrt(np.mean([row[f"{when}_meV_per_A"] ** 2 for row in rows.values()])))
        for when in ("before", "after")
    }
    result = {
        "fit": dataclasses.asdict(STAGE.fit),
        "train_frames_per_molecule": FRAMES * len(PARTS["train"]),
        "test_frames_per_molecule": FRAMES,
        "rms_over_molecules_meV_per_A": rms,
        "molecules": rows,
    }
    write_text_atomically(folder / "test.json", json.dumps(result, indent=1))
    print(json.dumps(result), flush=True)
