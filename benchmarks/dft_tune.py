"""Tune a network on a few hundred DFT gradients: geometries, labels, fit, errors before and after.

python -m benchmarks.dft_tune FOLDER [--frames 320] [--epochs 300]

Geometries are drawn from GFN2 Langevin dynamics of one molecule at four temperatures, each from a
trajectory of its own. The frames of the last tenth of every trajectory are for validation. Labels
are written as they come, and a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory as AseTrajectory
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from tqdm import tqdm

from benchmarks.common import write_result
from kstep_integrators import load_model, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage
from kstep_training.trajectory import Trajectory, write_npz

TEMPERATURES = (300.0, 400.0, 500.0, 600.0)
INTERVAL = 200
"""Steps of 0.5 fs between frames."""


def geometries(molecule: str, count: int) -> list[Atoms]:
    """Frames with ``info["temperature"]`` and ``info["validation"]``, shuffled."""
    frames = []
    per_run = count // len(TEMPERATURES)
    for run, temperature in enumerate(TEMPERATURES):
        rng = np.random.default_rng(100 + run)
        atoms = named_molecule(molecule)
        atoms.calc = xtb_calculator("GFN2-xTB")
        thermalize_momenta(atoms, temperature_K=2 * temperature, rng=rng)
        bath = Langevin(
            atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng
        )
        bath.run(1000)
        for i in range(per_run):
            bath.run(INTERVAL)
            frame = atoms.copy()
            frame.info = {"temperature": temperature, "validation": i >= 0.9 * per_run}
            frames.append(frame)
    order = np.random.default_rng(0).permutation(len(frames))
    return [frames[i] for i in order]


def label(frames: list[Atoms], path: Path, xc: str, basis: str) -> list[Atoms]:
    """Energies and forces of all frames, appended to a trajectory file one by one."""
    done: list[Atoms] = list(read(path, ":")) if path.exists() else []
    calculator = PySCFCalculator(xc=xc, basis=basis, device="auto", guess="atomic")
    with AseTrajectory(path, "a") as file:
        for frame in tqdm(frames[len(done) :], initial=len(done), total=len(frames)):
            frame.calc = calculator
            forces, energy = frame.get_forces(), frame.get_potential_energy()
            frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
            file.write(frame)
            done.append(frame)
    return done


def _shard(frames: list[Atoms], method: str, name: str) -> Trajectory:
    first = frames[0]
    return Trajectory(
        numbers=first.numbers.astype(np.int64),
        masses=first.get_masses(),
        positions=np.stack([f.positions for f in frames]),
        velocities=np.stack([f.get_velocities() for f in frames]),
        forces=np.stack([f.get_forces() for f in frames]),
        energies=np.array([f.get_potential_energy() for f in frames]),
        temperature=np.array([f.info["temperature"] for f in frames]),
        time=np.zeros(len(frames)),
        has_label=np.ones(len(frames), dtype=bool),
        metadata={"method": method, "name": name, "sampling": "GFN2-xTB Langevin dynamics"},
    )


def errors(model: str | Path, frames: list[Atoms]) -> dict[str, float]:
    """Residual of a model (meV/angstrom, rms) and spread of its energy error (meV)."""
    potential = load_model(model, device="cpu")
    gaps: list[npt.NDArray[np.float64]] = []
    energies = []
    for frame in frames:
        state = state_from_atoms(frame)
        evaluation, _ = potential.bind(state)(state.positions, None)
        gaps.append(evaluation.require_forces().numpy() - frame.get_forces())
        energies.append(float(evaluation.energy.sum()) - frame.get_potential_energy())
    return {
        "residual_meV_per_A": 1e3 * float(np.sqrt(np.mean(np.square(gaps)))),
        "energy_spread_meV": 1e3 * float(np.std(energies)),
    }


def main() -> None:
    """Sample, label, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecule", default="ethanol")
    parser.add_argument("--xc", default="b3lyp")
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--frames", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--init-from", default="organic-gfn2")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    method = f"{arguments.xc}/{arguments.basis}"
    folder.mkdir(parents=True, exist_ok=True)
    frames = label(
        geometries(arguments.molecule, arguments.frames),
        folder / "labels.traj",
        arguments.xc,
        arguments.basis,
    )
    parts = {
        part: [f for f in frames if bool(f.info["validation"]) == (part == "validation")]
        for part in ("train", "validation")
    }
    (folder / "labels").mkdir(exist_ok=True)
    for part, chosen in parts.items():
        name = f"{arguments.molecule}-{part}"
        write_npz(folder / "labels" / f"{name}.npz", _shard(chosen, method, name))
    held_out = DatasetSettings(validation=[f"{arguments.molecule}-validation"], test_fraction=0.0)
    make_dataset([folder / "labels"], folder / "dataset", held_out)
    stage = FitStage(
        name=f"{arguments.molecule}-{method.replace('/', '-')}",
        fit=FitSettings(
            init_from=arguments.init_from,
            batch_size=16,
            epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            warmup_steps=50,
            ema_decay=0.99,
        ),
    )
    started = time.perf_counter()
    path = fit(stage, folder / "dataset", folder / "fit")
    write_result(
        "dft_tune",
        {
            "molecule": arguments.molecule,
            "physics": method,
            "train_frames": len(parts["train"]),
            "validation_frames": len(parts["validation"]),
            "fit": dataclasses.asdict(stage.fit),
            "fit_seconds": time.perf_counter() - started,
            "force_rms_meV_per_A": 1e3
            * float(np.sqrt(np.mean([np.square(f.get_forces()) for f in parts["validation"]]))),
            "before": errors(arguments.init_from, parts["validation"]),
            "after": errors(path, parts["validation"]),
        },
    )


if __name__ == "__main__":
    main()
