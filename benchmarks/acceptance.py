"""Acceptance of Metropolized jumps on real forces: GFN2 with organic-gfn2 as the proposal, 300 K.

python -m benchmarks.acceptance [--molecules ethanol malonaldehyde] [--jumps 400]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from ase import units

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import KStepDynamics, load_model
from kstep_integrators.units import KB

TEMPERATURE = 300.0
BASE_FS = 0.5


class Recorded(KStepDynamics):
    """Keeps the verdicts of its steps."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.verdicts: list[tuple[int, float]] = []

    def step(self) -> None:
        """One step, and what became of it."""
        super().step()
        verdict = self.last_verdict
        if verdict is not None:
            self.verdicts.append((int(verdict.accepted_at[0]), float(verdict.first_change[0])))


def run(name: str, stride_fs: float, chances: int, jumps: int, model: Any) -> dict[str, Any]:
    """One run, all momenta drawn anew at every jump."""
    atoms = thermalized(name, TEMPERATURE)
    dynamics = Recorded(
        atoms,
        model,
        k=round(stride_fs / BASE_FS),
        timestep=BASE_FS * units.fs,
        corrector="none",
        metropolize=True,
        extra_chances=chances,
        temperature_K=TEMPERATURE,
        friction=np.inf,
        rng=np.random.default_rng(0),
    )
    dynamics.run(jumps)
    taken = np.array([at for at, _ in dynamics.verdicts])
    change = np.array([dh for _, dh in dynamics.verdicts]) / (KB * TEMPERATURE)
    finite = np.isfinite(change)
    weights = np.where(finite, np.exp(-change, where=finite, out=np.zeros_like(change)), 0.0)
    return {
        "molecule": name,
        "atoms": len(atoms),
        "stride_fs": stride_fs,
        "extra_chances": chances,
        "jumps": jumps,
        "accepted_first": float((taken == 1).mean()),
        "accepted": float((taken > 0).mean()),
        "standard_error": float(np.sqrt((taken == 1).mean() * (taken != 1).mean() / jumps)),
        "flips": dynamics.stats.flips,
        "evaluations": dynamics.stats.physics_evaluations,
        "mean_exp_minus_dH": float(weights.mean()),
        "mean_exp_minus_dH_error": float(weights.std() / np.sqrt(jumps)),
        "rms_dH_kT": float(np.sqrt(np.mean(change[finite] ** 2))),
    }


def main() -> None:
    """All molecules and strides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "malonaldehyde"])
    parser.add_argument("--strides", nargs="+", type=float, default=[8.0, 20.0, 50.0, 100.0])
    parser.add_argument("--jumps", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("organic-gfn2", compile=True)
    rows = []
    for name in arguments.molecules:
        for stride in arguments.strides:
            for chances in (0, 3):
                rows.append(run(name, stride, chances, arguments.jumps, model))
                print(rows[-1], flush=True)
                write_result("acceptance", {"physics": "GFN2-xTB", "rows": rows})


if __name__ == "__main__":
    main()
