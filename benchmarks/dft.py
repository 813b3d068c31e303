"""Ethanol under DFT: runs at equal simulated time, a network tuned on it, SCF cycles by stride.

All runs of ``dft`` start from the same state and are advanced in turns, a few fs each, in one
process, so that whatever else the machine does falls on all of them alike. The same density
extrapolation serves all. ``dft_tuned.json`` is made with
``--tuned FILE --only verlet-0.5 tuned-2 tuned-4 --result dft_tuned``, the file being what
``dft_tune`` leaves in its cache.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory as AseTrajectory
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from benchmarks.energy import force_rms, predicted, thermalized
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.diagnostics import distance_between, energy_drift
from kstep_integrators.potentials import Potential
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.fit.fit import fit
from kstep_training.fit.settings import FitSettings, FitStage
from kstep_training.progress import followed
from kstep_training.trajectory import Trajectory, write_npz

TURN_FS = 4.0
BASE_FS = 0.5
TEMPERATURES = (300.0, 400.0, 500.0, 600.0)
INTERVAL = 200
"""Steps of 0.5 fs between frames."""
GUESSES = ("atomic", "last", "aspc", "extrapolate")
STRIDES_FS = (0.25, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class DFTOptions(Options):
    """Method and length."""

    length_fs: float = option(100.0, "of each run")
    xc: str = option("b3lyp", "functional")
    basis: str = option("def2-svp", "basis")
    tuned: str = option("", "model file of a network tuned on the physics")
    only: tuple[str, ...] = option((), "names of the runs to make")


@dataclass
class Run:
    """One run and what it has cost so far."""

    name: str
    stride_fs: float
    dynamics: MolecularDynamics
    calculator: PySCFCalculator
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    positions: list[Any] = field(default_factory=list)

    def sample(self) -> None:
        """Total energy and positions, from results that are there already."""
        atoms = self.dynamics.atoms
        self.times.append(self.dynamics.get_time())
        self.energies.append(atoms.get_total_energy())
        self.cycles.append(self.calculator.last_call.scf_cycles)
        self.positions.append(atoms.get_positions())

    def advance(self) -> None:
        """Go on for one turn."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.dynamics.run(round(TURN_FS / self.stride_fs))
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu

    def row(self, reference: Run | None) -> dict[str, Any]:
        """Figures of the run."""
        atoms = self.dynamics.atoms
        totals = self.calculator.totals
        drift = energy_drift(np.array(self.times), np.array(self.energies), len(atoms))
        row: dict[str, Any] = {
            "run": self.name,
            "stride_fs": self.stride_fs,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "evaluations": totals.scf_runs,
            "gradients": totals.gradients,
            "scf_cycles": totals.scf_cycles,
            "scf_cycles_per_call_after_10": float(np.mean(self.cycles[10:] or np.nan)),
            "scf_retries": totals.retries,
            "scf_seconds": totals.scf_seconds,
            "gradient_seconds": totals.gradient_seconds,
            "drift_meV_per_atom_per_ps": drift.drift,
            "fluctuation_meV_per_atom": drift.fluctuation,
            "largest_energy_error_meV": 1000.0 * float(np.ptp(self.energies)),
        }
        if isinstance(self.dynamics, KStepDynamics):
            stats = self.dynamics.stats
            row |= {
                "base_step_fs": BASE_FS,
                "residual_meV_per_A": 1000.0 * stats.residual_rms,
                "fallbacks": stats.fallbacks,
                "jump_seconds": stats.jump_seconds,
            }
        if reference is not None:
            row["speedup_over_verlet_0.5"] = reference.seconds / self.seconds
            row["cpu_speedup_over_verlet_0.5"] = reference.cpu_seconds / self.cpu_seconds
            row["rmsd_from_verlet_0.5_A"] = _rmsd(self, reference)
        return row


def _rmsd(run: Run, reference: Run) -> dict[str, float]:
    """Distance from another run at some times, angstrom."""
    apart = {}
    for femtoseconds in (20.0, 40.0, 60.0, 80.0, 100.0):
        here, there = (round(femtoseconds / r.stride_fs) for r in (run, reference))
        if here < len(run.positions) and there < len(reference.positions):
            gap = distance_between(run.positions[here], reference.positions[there])
            apart[f"{femtoseconds:g}fs"] = float(gap)
    return apart


def _runs(start: Atoms, xc: str, basis: str, tuned: str) -> dict[str, Callable[[], Run]]:
    def make(name: str, stride: float, potential: Callable[[], Potential] | None) -> Run:
        atoms = start.copy()
        calculator = PySCFCalculator(xc=xc, basis=basis, device="cpu", threads=1)
        atoms.calc = calculator
        dynamics = (
            VelocityVerlet(atoms, stride * units.fs)
            if potential is None
            else KStepDynamics(
                atoms, potential(), k=round(stride / BASE_FS), timestep=BASE_FS * units.fs
            )
        )
        run = Run(name, stride, dynamics, calculator)
        dynamics.attach(run.sample)
        return run

    potentials: dict[str, Callable[[], Potential]] = {
        "organic-gfn2": lambda: load_model("organic-gfn2"),
        "GFN2-xTB": lambda: CalculatorPotential(xtb_calculator("GFN2-xTB")),
    }
    if tuned:
        potentials["tuned"] = lambda: load_model(tuned)
    made: dict[str, Callable[[], Run]] = {
        f"verlet-{stride:g}": lambda s=stride: make(f"verlet-{s:g}", s, None)
        for stride in (0.5, 1.0)
    }
    for key, potential in potentials.items():
        for stride in (2.0, 4.0):
            name = f"{key}-{stride:g}"
            made[name] = lambda n=name, s=stride, p=potential: make(n, s, p)
    return made


def dft(options: DFTOptions) -> dict[str, Any]:
    """Seconds, gradients, SCF cycles, energies and distances of runs of equal length."""
    start = thermalized("ethanol")
    start.calc = None
    available = _runs(start, options.xc, options.basis, options.tuned)
    runs = [available[name]() for name in options.only or available]
    turns = round(options.length_fs / TURN_FS)
    for _ in followed(range(turns), "turns", turns):
        for run in runs:
            run.advance()
    reference = next((r for r in runs if r.name == "verlet-0.5"), None)
    return {
        "molecule": "ethanol",
        "physics": f"{options.xc}/{options.basis}",
        "femtoseconds": options.length_fs,
        "threads": 1,
        "rows": [run.row(reference) for run in runs],
    }


@dataclass(frozen=True)
class TuneOptions(Options):
    """Frames, method and fit."""

    molecule: str = option("ethanol", "bundled name")
    xc: str = option("b3lyp", "functional")
    basis: str = option("def2-svp", "basis")
    frames: int = option(320, "geometries, a tenth of them for validation")
    epochs: int = option(300, "of the fit")
    learning_rate: float = option(5e-4, "of the fit")
    init_from: str = option("organic-gfn2", "network to start from")


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
        left = frames[len(done) :]
        for frame in followed(left, "labels", len(left)):
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


def _errors(model: str | Path, shard: Trajectory) -> dict[str, float]:
    potential = load_model(model, device="cpu")
    gaps = predicted(potential, [shard]).energy.numpy() - shard.energies
    return {
        "residual_meV_per_A": 1e3 * force_rms(potential, [shard])[0],
        "energy_spread_meV": 1e3 * float(np.std(gaps)),
    }


def dft_tune(options: TuneOptions) -> dict[str, Any]:
    """Geometries, labels, fit, and force errors before and after.

    Geometries are drawn from GFN2 Langevin dynamics at four temperatures, each from a trajectory of
    its own. The frames of the last tenth of every trajectory are for validation. Labels are written
    as they come, and a second call goes on where the first stopped.
    """
    if options.frames < 40:
        raise ValueError(
            f"frames is {options.frames}; expected at least 40: a tenth of each of four "
            "trajectories is for validation"
        )
    folder, method = options.cache / "dft_tune", f"{options.xc}/{options.basis}"
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    drawn = geometries(options.molecule, options.frames)
    frames = label(drawn, folder / "labels.traj", options.xc, options.basis)
    shards = {}
    for part in ("train", "validation"):
        chosen = [f for f in frames if bool(f.info["validation"]) == (part == "validation")]
        name = f"{options.molecule}-{part}"
        shards[part] = _shard(chosen, method, name)
        write_npz(folder / "labels" / f"{name}.npz", shards[part])
    held_out = DatasetSettings(validation=[f"{options.molecule}-validation"], test_fraction=0.0)
    make_dataset([folder / "labels"], folder / "dataset", held_out)
    stage = FitStage(
        name=f"{options.molecule}-{method.replace('/', '-')}",
        fit=FitSettings(
            init_from=options.init_from, batch_size=16, epochs=options.epochs,
            learning_rate=options.learning_rate, warmup_steps=50, ema_decay=0.99,
        ),
    )  # fmt: skip
    started = time.perf_counter()
    path = fit(stage, folder / "dataset", folder / "fit")
    return {
        "molecule": options.molecule,
        "physics": method,
        "train_frames": len(shards["train"]),
        "validation_frames": len(shards["validation"]),
        "fit": dataclasses.asdict(stage.fit),
        "fit_seconds": time.perf_counter() - started,
        "force_rms_meV_per_A": 1e3 * float(np.sqrt(np.mean(shards["validation"].forces ** 2))),
        "before": _errors(options.init_from, shards["validation"]),
        "after": _errors(path, shards["validation"]),
    }


@dataclass(frozen=True)
class CycleOptions(Options):
    """Method and length."""

    molecule: str = option("ethanol", "bundled name")
    xc: str = option("", "functional; Hartree-Fock by default")
    basis: str = option("def2-svp", "basis")
    grid_level: int = option(3, "of a functional")
    steps: int = option(200, "calls at each stride")

    @classmethod
    def smoke(cls, cache: Path) -> CycleOptions:
        """Water in a minimal basis, two calls."""
        return cls(cache, "water", basis="sto-3g", steps=2)


def scf_cycles(options: CycleOptions) -> dict[str, Any]:
    """SCF cycles along a GFN2 trajectory of 0.25 fs steps, the same one for every guess.

    Energies only: the gradient does not depend on the guess.
    """
    method = {"xc": options.xc} if options.xc else {"method": "hf"}
    atoms, base = thermalized(options.molecule), min(STRIDES_FS)
    dynamics = VelocityVerlet(atoms, base * units.fs)
    frames: list[Any] = []
    dynamics.attach(lambda: frames.append(atoms.get_positions()))
    dynamics.run(round(options.steps * max(STRIDES_FS) / base))
    rows = []
    for stride in STRIDES_FS:
        for guess in GUESSES:
            calculator = PySCFCalculator(
                **method, basis=options.basis, grid_level=options.grid_level, guess=guess,
                device="cpu",
            )  # fmt: skip
            moving = atoms.copy()
            moving.calc = calculator
            cycles = []
            path = frames[:: round(stride / base)][: options.steps + 1]
            for positions in followed(path, f"{stride:g} fs, {guess}", len(path)):
                moving.positions = positions
                moving.get_potential_energy()
                cycles.append(calculator.last_call.scf_cycles)
            rows.append({
                "stride_fs": stride,
                "guess": guess,
                "cycles_per_call": float(np.mean(cycles[1:])),
                "cycles_per_call_after_20": float(np.mean(cycles[20:] or np.nan)),
                "retries": calculator.totals.retries,
                "scf_seconds": calculator.totals.scf_seconds,
            })  # fmt: skip
    return {
        "molecule": options.molecule,
        "physics": f"{options.xc or 'hf'}/{options.basis}",
        "grid_level": options.grid_level if options.xc else None,
        "conv_tol_hartree": calculator.settings.conv_tol,
        "steps": options.steps,
        "rows": rows,
    }
