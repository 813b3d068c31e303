"""Force error of the bundled model on configurations it has never seen.

    python -m benchmarks.residuals CACHE [--workers 2]

For every molecule of the training list: new trajectories (another seed) at 300 and 500 K. For five
molecules outside the list: the same. Trajectories are kept in the folder CACHE.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import percentiles, write_result
from kstep_integrators import load_model
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.potentials import Potential
from kstep_training.prep.molecules import Molecule, bundled_list, read_smiles
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.simulate.simulate import simulate
from kstep_training.trajectory import Trajectory, read_npz

OUTSIDE = {
    "propanal": "CCC=O",
    "dimethylformamide": "CN(C)C=O",
    "propane-1,3-diol": "OCCCO",
    "pyrimidine": "c1cncnc1",
    "ethyl_acetate": "CCOC(C)=O",
}
PREP = PrepSettings(conformers=6, forcefield=None, seed=2)
SETTINGS = SimulateSettings(
    physics="GFN2-xTB",
    temperatures=[300.0, 500.0],
    trajectories=6,
    timestep_fs=1.0,
    friction_per_ps=20.0,
    equilibration_ps=0.2,
    production="langevin",
    production_friction_per_ps=20.0,
    segments=1,
    segment_ps=0.4,
    interval_steps=40,
    seed=2,
)


def production(folder: Path) -> dict[str, list[Trajectory]]:
    """The segments of each molecule."""
    found: dict[str, list[Trajectory]] = {}
    for path in sorted((folder / "production").glob("*.npz")):
        trajectory = read_npz(path)
        found.setdefault(str(trajectory.metadata["name"]), []).append(trajectory)
    return found


def force_rms(model: Potential, segments: list[Trajectory]) -> tuple[float, float]:
    """Rms force error of one molecule, and rms force (eV/A)."""
    first = segments[0]
    x = torch.from_numpy(np.concatenate([segment.positions for segment in segments]))
    frames, atoms = x.shape[:2]
    state = make_state(
        torch.from_numpy(first.numbers).repeat(frames),
        torch.from_numpy(first.masses).repeat(frames),
        x.reshape(-1, 3),
        torch.zeros(frames * atoms, 3),
        batch=torch.arange(frames).repeat_interleave(atoms),
    )
    predicted, _ = model.bind(state)(state.positions, None)
    label = torch.from_numpy(np.concatenate([segment.forces for segment in segments]))
    label = label.reshape(-1, 3)
    error = predicted.require_forces() - label
    return float(error.square().mean().sqrt()), float(label.square().mean().sqrt())


def evaluate(model: Potential, data: dict[str, list[Trajectory]]) -> list[dict[str, float | str]]:
    """One row for each molecule, worst first."""
    rows: list[dict[str, float | str]] = []
    for name, segments in data.items():
        error, force = force_rms(model, segments)
        rows.append(
            {
                "molecule": name,
                "frames": sum(map(len, segments)),
                "residual_meV_per_A": 1e3 * error,
                "force_meV_per_A": 1e3 * force,
            }
        )
    return sorted(rows, key=lambda row: -float(row["residual_meV_per_A"]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--model", default="organic-gfn2")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sample-only", action="store_true")
    arguments = parser.parse_args()
    inside, _ = read_smiles(bundled_list("qm_train"))
    outside = [Molecule(name, smiles, 0) for name, smiles in OUTSIDE.items()]
    sets = {"inside": inside, "outside": outside}
    for key, molecules in sets.items():
        folder = arguments.cache / key
        for name, report in prepare(molecules, folder / "prepared", PREP):
            print(key, name, report["status"], flush=True)
        _, reports = simulate(
            folder / "prepared", folder / "trajectories", SETTINGS, arguments.workers
        )
        for name, report in reports:
            print(key, name, report["status"], flush=True)
    if arguments.sample_only:
        return
    model = load_model(arguments.model, device="cpu")
    result: dict[str, object] = {"what": __doc__, "model": model.describe()}
    for key in sets:
        rows = evaluate(model, production(arguments.cache / key / "trajectories"))
        squares = sum(float(row["residual_meV_per_A"]) ** 2 for row in rows)
        result[key] = {
            "rms_over_molecules_meV_per_A": math.sqrt(squares / len(rows)),
            **percentiles([float(row["residual_meV_per_A"]) for row in rows]),
            "worst": rows[0],
            "rows": rows,
        }
        print(key, {k: v for k, v in result[key].items() if k != "rows"})  # type: ignore[attr-defined]
    write_result("residuals", result)


if __name__ == "__main__":
    main()
