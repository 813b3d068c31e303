"""Which backbone is worth its microseconds: validation error against the cost of a force.

    python -m benchmarks.backbones TRAJECTORIES

TRAJECTORIES is the folder that ``kstep recipe qm-gfn2`` leaves under this name. Only molecules of
up to nine atoms are used, with the same data, epochs and schedule for every network.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import write_result
from kstep_integrators import named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.jumps.load import load_model
from kstep_training.config import load_recipe
from kstep_training.dataset.make_dataset import make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitStage
from kstep_training.trajectory import read_npz

CANDIDATES = [("painn", 64, 3), ("egnn", 64, 3), ("painn", 64, 2), ("egnn", 64, 2)]
LARGEST = 9


def small(folder: Path, target: Path) -> Path:
    """Copy the trajectories of small molecules."""
    for path in sorted(folder.glob("*/*.npz")):
        if path.parent.name != "equilibration" and len(read_npz(path).numbers) <= LARGEST:
            (target / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.parent.name)
    return target


def force_microseconds(path: Path, calls: int = 500) -> float:
    """Median time of one compiled force of ethanol, one thread."""
    state = state_from_atoms(named_molecule("ethanol"))
    forces = load_model(path, device="cpu", compile=True).bind(state)
    times = []
    with torch.no_grad():
        for _ in range(calls):
            began = time.perf_counter()
            forces(state.positions, None)
            times.append(time.perf_counter() - began)
    return 1e6 * sorted(times)[calls // 2]


def main() -> None:
    """Fit every candidate and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trajectories", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        trajectories = small(arguments.trajectories, work / "trajectories")
        make_dataset([trajectories], work / "dataset", load_recipe("qm-gfn2").dataset)
        for backbone, channels, layers in CANDIDATES:
            recipe = load_recipe(
                "qm-gfn2",
                [
                    f"network.backbone={backbone}",
                    f"network.channels={channels}",
                    f"network.layers={layers}",
                    f"fit.epochs={arguments.epochs}",
                    f"fit.padding=[{LARGEST}]",
                ],
            )
            began = time.perf_counter()
            stage = FitStage(recipe.name, recipe.network, recipe.fit)
            path = fit(stage, work / "dataset", work / f"{backbone}-{channels}-{layers}")
            seconds = time.perf_counter() - began
            record = load_model(path).header.training
            rows.append(
                {
                    "backbone": backbone,
                    "channels": channels,
                    "layers": layers,
                    "validation_force_rms_meV_per_A": record["validation"]["val_force_rms"],
                    "validation_energy_rms_meV_per_atom": record["validation"]["val_energy_rms"],
                    "force_microseconds_ethanol": force_microseconds(path),
                    "fit_seconds": seconds,
                    "frames": record["frames"],
                    "epochs": arguments.epochs,
                }
            )
            print(rows[-1], flush=True)
            write_result("backbones", {"what": __doc__, "rows": rows})


if __name__ == "__main__":
    main()
