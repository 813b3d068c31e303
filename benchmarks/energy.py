"""Energy conservation and force errors of the bundled model at GFN2, every molecule of the list."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from benchmarks.evaluation import OUTSIDE
from benchmarks.results import kept, percentiles
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.models.molecules import named_molecules
from kstep_integrators.potentials import Potential
from kstep_integrators.state import Evaluation
from kstep_integrators.testing import CountingCalculator
from kstep_training.prep.molecules import Molecule, bundled_list, read_smiles
from kstep_training.prep.prepare import PrepSettings, prepare
from kstep_training.simulate.settings import SimulateSettings
from kstep_training.simulate.simulate import simulate
from kstep_training.trajectory import Trajectory, read_npz

SAMPLE_FS = 4.0
MODEL = "organic-gfn2"
JUMPS = {
    "kstep-2": (MODEL, 4, 0.5, "impulse"),
    "plain": (MODEL, 8, 0.25, "impulse"),
    "potential-only-2": (MODEL, 4, 0.5, "none"),
    "gfnff-2": ("GFN-FF", 4, 0.5, "impulse"),
}
"""Potential, k, base step in fs and corrector; others are velocity Verlet with the step named."""
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


def thermalized(
    name: str, temperature_K: float = 300.0, seed: int = 0, picoseconds: float = 1.0
) -> Atoms:
    """A bundled molecule equilibrated under GFN2 at 1 fs with a friction of 20/ps.

    Returns
    -------
    ase.Atoms
        With a GFN2 calculator, without net momentum or rotation.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    atoms = named_molecule(name)
    atoms.calc = xtb_calculator("GFN2-xTB")
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    bath = Langevin(atoms, 1.0 * units.fs, temperature_K=temperature_K, friction=0.02 / units.fs,
                    fixcm=False, rng=rng)  # fmt: skip
    bath.run(round(1000 * picoseconds))
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    return atoms


@dataclass(frozen=True)
class NVEOptions(Options):
    """Which runs, and how long."""

    methods: tuple[str, ...] = option(
        ("verlet-1", "kstep-2", "plain", "gfnff-2"), f"{', '.join(JUMPS)}, or verlet-STEP"
    )
    molecules: tuple[str, ...] = option((), "all of the list by default")
    length_ps: float = option(10.0, "of each run")

    @classmethod
    def smoke(cls, cache: Path) -> NVEOptions:
        """One molecule, 24 fs."""
        return cls(cache, ("verlet-1", "kstep-2"), ("water",), 0.024)


@functools.cache
def _potential(name: str) -> Potential:
    """A network is loaded once for all molecules."""
    if name == "GFN-FF":
        return CalculatorPotential(xtb_calculator(name))
    return load_model(name, device="cpu")


def _nve_run(name: str, key: str, picoseconds: float) -> dict[str, Any]:
    """One molecule, one method: the energies every 4 fs and what they cost."""
    atoms = thermalized(name)
    counter = CountingCalculator(xtb_calculator("GFN2-xTB"))
    atoms.calc = counter
    if key in JUMPS:
        potential, k, base, corrector = JUMPS[key]
        stride = k * base
        dynamics: Any = KStepDynamics(
            atoms, _potential(potential), k=k, timestep=base * units.fs,
            corrector=corrector,
        )  # fmt: skip
    else:
        stride = float(key.removeprefix("verlet-"))
        dynamics = VelocityVerlet(atoms, stride * units.fs)
    times: list[float] = []
    energies: list[float] = []

    def sample() -> None:
        times.append(dynamics.get_time())
        energies.append(atoms.get_total_energy())

    dynamics.attach(sample, interval=round(SAMPLE_FS / stride))
    dynamics.run(1)  # prepares, before the clock starts
    began = time.perf_counter()
    dynamics.run(round(1000 * picoseconds / stride) - 1)
    seconds = time.perf_counter() - began
    drift = energy_drift(np.array(times), np.array(energies), len(atoms))
    row: dict[str, Any] = {
        "molecule": name,
        "method": key,
        "stride_fs": stride,
        "picoseconds": picoseconds,
        "drift_meV_per_atom_per_ps": drift.drift,
        "fluctuation_meV_per_atom": drift.fluctuation,
        "largest_deviation_meV_per_atom": 1e3 * float(np.ptp(np.array(energies))) / len(atoms),
        "evaluations": counter.evaluations,
        "strides": dynamics.nsteps,
        "seconds": seconds,
        "physics_seconds": counter.seconds,
    }
    if isinstance(dynamics, KStepDynamics):
        stats = dynamics.stats
        row["residual_meV_per_A"] = 1e3 * (stats.residual_rms or 0.0)
        row["fallbacks"] = stats.fallbacks
        row["jump_seconds"] = stats.jump_seconds
    return row


def _tried(name: str, key: str, picoseconds: float) -> dict[str, Any]:
    try:
        return _nve_run(name, key, picoseconds)
    except Exception as error:  # noqa: BLE001  (one run's failure is a result)
        return {"molecule": name, "method": key, "error": f"{type(error).__name__}: {error}"}


def nve(options: NVEOptions) -> dict[str, Any]:
    """Drift and fluctuation at constant energy.

    Every method starts from the same state and covers the same simulated time; evaluations are
    counted inside the calculator.
    """
    rows, summary = [], {}
    for key in options.methods:
        names = options.molecules or (("ethanol",) if key == "gfnff-2" else named_molecules())
        mine = [
            kept(
                options.cache / f"nve.{name}.{key}.{options.length_ps:g}.json",
                functools.partial(_tried, name, key, options.length_ps),
            )
            for name in names
        ]
        rows += mine
        done = [row for row in mine if "error" not in row]
        if done:
            summary[key] = _nve_summary(mine, done)
    return {"summary": summary, "rows": rows}


def _nve_summary(mine: list[dict[str, Any]], done: list[dict[str, Any]]) -> dict[str, Any]:
    drifts = [row["drift_meV_per_atom_per_ps"] for row in done]
    widths = [row["fluctuation_meV_per_atom"] for row in done]
    evaluations = [row["evaluations"] / row["picoseconds"] for row in done]
    return {
        "molecules": len(done),
        "failed": [row["molecule"] for row in mine if "error" in row],
        "fluctuation_meV_per_atom": percentiles(widths),
        "abs_drift_meV_per_atom_per_ps": percentiles([abs(drift) for drift in drifts]),
        "signed_mean_drift_meV_per_atom_per_ps": float(np.mean(drifts)),
        "evaluations_per_ps": float(np.mean(evaluations)),
        "picoseconds": sorted({row["picoseconds"] for row in done}),
        "fallbacks": sum(row.get("fallbacks", 0) for row in done),
    }


def predicted(model: Potential, segments: list[Trajectory]) -> Evaluation:
    """Energies (F,) and forces (F N, 3) of a model at all frames of one molecule."""
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
    evaluation, _ = model.bind(state)(state.positions, None)
    return evaluation


def force_rms(model: Potential, segments: list[Trajectory]) -> tuple[float, float]:
    """Rms force error of one molecule, and rms force (eV/A)."""
    label = torch.from_numpy(np.concatenate([segment.forces for segment in segments]))
    error = predicted(model, segments).require_forces() - label.reshape(-1, 3)
    return float(error.square().mean().sqrt()), float(label.square().mean().sqrt())


@dataclass(frozen=True)
class ResidualOptions(Options):
    """Which model."""

    model: str = option(MODEL, "bundled name or model file")
    workers: int = option(2, "local processes for the trajectories")


def unseen(
    molecules: Sequence[Molecule], folder: Path, settings: SimulateSettings, workers: int
) -> dict[str, list[Trajectory]]:
    """New GFN2 trajectories of molecules, by their names; the folder keeps them."""
    for name, report in prepare(molecules, folder / "prepared", PREP):
        print(name, report["status"], flush=True)
    _, reports = simulate(folder / "prepared", folder / "trajectories", settings, workers)
    for name, report in reports:
        print(name, report["status"], flush=True)
    segments: dict[str, list[Trajectory]] = {}
    for path in sorted((folder / "trajectories" / "production").glob("*.npz")):
        trajectory = read_npz(path)
        segments.setdefault(str(trajectory.metadata["name"]), []).append(trajectory)
    return segments


def force_errors(model: Potential, segments: dict[str, list[Trajectory]]) -> dict[str, Any]:
    """Force error of each molecule, largest first, and over all."""
    rows = []
    for name, mine in segments.items():
        error, force = (1e3 * value for value in force_rms(model, mine))
        rows.append({"molecule": name, "frames": sum(map(len, mine)),
                     "residual_meV_per_A": error, "force_meV_per_A": force})  # fmt: skip
    rows.sort(key=lambda row: -row["residual_meV_per_A"])
    errors = [row["residual_meV_per_A"] for row in rows]
    rms = math.sqrt(sum(error**2 for error in errors) / len(errors))
    return {
        "rms_over_molecules_meV_per_A": rms, **percentiles(errors), "worst": rows[0], "rows": rows,
    }  # fmt: skip


def residuals(options: ResidualOptions) -> dict[str, Any]:
    """Force error on new trajectories at 300 and 500 K, which the cache keeps."""
    inside, _ = read_smiles(bundled_list("qm_train"))
    outside = [Molecule(name, smiles, 0) for name, smiles in OUTSIDE.items()]
    model = load_model(options.model, device="cpu")
    result: dict[str, Any] = {"model": model.describe()}
    for key, molecules in {"inside": inside, "outside": outside}.items():
        folder = options.cache / "residuals" / key
        result[key] = force_errors(model, unseen(molecules, folder, SETTINGS, options.workers))
    return result
