"""Runs killed with SIGKILL at random moments, resumed, and compared with uninterrupted ones.

Each run is a process of its own, killed with SIGKILL at a moment drawn uniformly from the
first 0.4 of the time that the uninterrupted run takes, counted from when there is a checkpoint:
reading it and cutting the outputs are within reach. The next process resumes what is left, and is
killed in its turn, up to five times; then the run is left to end. Runs are begun anew until the
kills are used up. Langevin dynamics at 300 K, strides of 2 fs, a checkpoint every ten steps, every
step in trajectory and log. The ensemble has sixteen replicas, with a trajectory and a log each. One
run learns, and its labels are compared frame by frame.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta

from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential, Ensemble, KStepDynamics, Learning
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.testing import MorseNetwork

KILLS_PER_RUN = 5


@dataclass(frozen=True)
class Killed:
    """A run to be killed; the interval is that of its checkpoints, replicas make an ensemble."""

    molecule: str
    physics: Callable[[], Calculator]
    model: Callable[[], FlowJump]
    steps: int
    kills: int
    interval: int = 10
    replicas: int = 1
    learn: bool = False


def _springs(depth: float) -> MorseNetwork:
    return MorseNetwork(named_molecule("ethanol").positions, depth)


def _morse_jump() -> FlowJump:
    return FlowJump(CalculatorPotential(_springs(1.9)), 0.5 * units.fs)


def _network() -> FlowJump:
    return FlowJump(load_model("organic-gfn2", device="cpu"), 0.5 * units.fs)


class FreshGFN2(Calculator):
    """A new tblite calculator for each geometry: no SCF starts from the one before."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy and forces."""
        super().calculate(atoms, list(properties), list(system_changes))
        fresh = xtb_calculator("GFN2-xTB")
        fresh.calculate(self.atoms, list(properties))
        self.results = {name: fresh.results[name] for name in self.implemented_properties}


def _hartree_fock() -> Calculator:
    return PySCFCalculator(method="hf", basis="sto-3g", device="cpu", threads=1)


KILLED = {
    "morse": Killed("ethanol", lambda: _springs(2.0), _morse_jump, 300, 50),
    "gfn2": Killed("ethanol", xtb_calculator, _network, 100, 20),
    "gfn2-fresh": Killed("ethanol", FreshGFN2, _network, 100, 20),
    "pyscf": Killed("water", _hartree_fock, _network, 100, 10),
    "ensemble": Killed("ethanol", lambda: _springs(2.0), _morse_jump, 60, 20, 5, 16),
    "learning": Killed("ethanol", lambda: _springs(2.0), _network, 100, 50, 5, learn=True),
}


def go(name: str, folder: Path, begun: Connection) -> None:
    """Begin a run or go on with it, to its end."""
    torch.set_num_threads(1)
    case = KILLED[name]
    path = folder / "run.ckpt"
    model = case.model()
    begun.send(True)
    if case.replicas > 1:
        _go_ensemble(case, folder, path, model)
        return
    if path.exists():
        dynamics = KStepDynamics.resume(path, case.physics(), model)
    else:
        atoms = _start(case, 1)
        atoms.calc = case.physics()
        dynamics = KStepDynamics(
            atoms,
            model,
            k=4,
            temperature_K=300,
            friction=0.005 / units.fs,
            rng=np.random.default_rng(0),
            learn=Learning(refit=False) if case.learn else False,
            checkpoint=path,
            checkpoint_interval=case.interval,
            trajectory=folder / "md.traj",
            logfile=folder / "md.log",
        )
    dynamics.run(case.steps - dynamics.nsteps)


def _start(case: Killed, seed: int) -> Atoms:
    """The molecule of a case with thermal momenta."""
    atoms = named_molecule(case.molecule)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(seed))
    return atoms


def _go_ensemble(case: Killed, folder: Path, path: Path, model: FlowJump) -> None:
    """Begin an ensemble or go on with it, to its end."""

    def physics(atoms: Atoms) -> Calculator:
        return case.physics()

    if path.exists():
        ensemble = Ensemble.resume(path, physics, model)
    else:
        ensemble = Ensemble(
            [_start(case, seed) for seed in range(case.replicas)],
            model,
            physics,
            k=4,
            temperature_K=300,
            friction=0.005 / units.fs,
            rng=np.random.default_rng(0),
            checkpoint=path,
            checkpoint_interval=case.interval,
            trajectory=folder / "replicas",
            logfile=folder / "replicas",
        )
    with ensemble:
        ensemble.run(case.steps - ensemble.nsteps)


def _until(name: str, folder: Path, seconds: float | None) -> tuple[bool, float]:
    """Let a process run until it ends or is killed; whether it was killed, and how long it ran."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=go, args=(name, folder, there))
    process.start()
    here.recv()
    while not (folder / "run.ckpt").exists() and process.is_alive():
        time.sleep(1e-3)
    started = time.perf_counter()
    process.join(seconds)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run of {name} in {folder} ended with status {process.exitcode}")
    return process.exitcode != 0, time.perf_counter() - started


def differences(run: Path, through: Path) -> dict[str, Any]:
    """Differences between a run that was killed and the uninterrupted one, over all its files."""
    end, true_end = (read_checkpoint(folder / "run.ckpt") for folder in (run, through))
    found = (path.relative_to(through) for path in through.glob("**/*.traj"))
    files = sorted(path for path in found if not path.name.endswith(".labels.traj"))
    rows = [_differences_of_files(run / path, through / path) for path in files]
    return {
        **{
            key: (sum if key.startswith(("frames", "log_lines")) else max)(r[key] for r in rows)
            for key in rows[0]
            if not key.endswith("equal")
        },
        **{key: all(r[key] for r in rows) for key in rows[0] if key.endswith("equal")},
        "labels_equal": all(
            _same_labels(run / path, through / path)
            for path in sorted(one.relative_to(through) for one in through.glob("*.labels.traj"))
        ),
        "noise_equal": end.generators == true_end.generators,
        "evaluations": sum(one.physics_evaluations for one in end.run.stats),
        "evaluations_uninterrupted": sum(one.physics_evaluations for one in true_end.run.stats),
    }


def _same_labels(run: Path, through: Path) -> bool:
    """Comparison of two files of labels, frame by frame."""
    frames, others = read(run, ":"), read(through, ":")
    return len(frames) == len(others) and all(
        np.array_equal(one.positions, other.positions)
        and one.get_potential_energy() == other.get_potential_energy()
        and np.array_equal(one.get_forces(), other.get_forces())
        and one.info == other.info
        for one, other in zip(frames, others, strict=True)
    )


def _differences_of_files(run: Path, through: Path) -> dict[str, Any]:
    """Differences between two trajectories, and the logs beside them."""
    frames, others = read(run, ":"), read(through, ":")
    nearest = Counter(
        int(np.argmin([abs(frame.positions - other.positions).max() for other in others]))
        for frame in frames
    )
    times, true_times = (
        Counter(line.split()[0] for line in path.with_suffix(".log").read_text().splitlines())
        for path in (run, through)
    )
    pairs = list(zip(frames, others, strict=False))

    def largest(value: Callable[[Atoms], Any]) -> float:
        return float(max(np.abs(value(a) - value(b)).max() for a, b in pairs))

    return {
        "frames": len(frames),
        "frames_missing": sum(nearest[i] == 0 for i in range(len(others))),
        "frames_doubled": sum(count - 1 for count in nearest.values()),
        "log_lines_missing": sum((true_times - times).values()),
        "log_lines_doubled": sum((times - true_times).values()),
        "trajectory_bytes_equal": run.read_bytes() == through.read_bytes(),
        "log_bytes_equal": run.with_suffix(".log").read_bytes()
        == through.with_suffix(".log").read_bytes(),
        "position_A": largest(lambda atoms: atoms.positions),
        "momentum": largest(lambda atoms: atoms.get_momenta()),
        "energy_eV": largest(lambda atoms: atoms.get_potential_energy()),
        "forces_eV_per_A": largest(lambda atoms: atoms.get_forces()),
    }


def kill_runs(name: str, kills: int, folder: Path, seed: int) -> dict[str, Any]:
    """Kill runs so many times in all, resume them and compare them; the folder is empty."""
    rng = np.random.default_rng(seed)
    through = folder / "through"
    through.mkdir()
    _, seconds = _until(name, through, None)
    rows: list[dict[str, Any]] = []
    left = kills
    while left:
        run = folder / f"run{len(rows)}"
        run.mkdir()
        reached = []
        killed = True
        while killed:
            alive = (
                rng.uniform(0.0, 0.4 * seconds) if left and len(reached) < KILLS_PER_RUN else None
            )
            killed, _ = _until(name, run, alive)
            if killed:
                left -= 1
                reached.append(read_checkpoint(run / "run.ckpt").nsteps)
        rows.append({"checkpoint_at_kill": reached, **differences(run, through)})
        print(f"{name}: {kills - left} of {kills}", rows[-1], flush=True)
    worst = {
        key: max(row[key] for row in rows)
        for key in rows[0]
        if not isinstance(rows[0][key], list | bool)
    }
    same = {
        key: all(row[key] for row in rows)
        for key, value in rows[0].items()
        if isinstance(value, bool)
    }
    case = KILLED[name]
    return {
        "molecule": case.molecule,
        "steps": case.steps,
        "replicas": case.replicas,
        "stride_fs": 2.0,
        "seconds_uninterrupted": seconds,
        "kills": kills,
        "largest": worst,
        "always": same,
        "runs": rows,
    }


@dataclass(frozen=True)
class KillOptions(Options):
    """Which runs."""

    runs: tuple[str, ...] = option(tuple(KILLED), "names of runs")
    kills: int = option(0, "of each run, not those of the suite")
    seed: int = option(0, "of the moments")

    @classmethod
    def smoke(cls, cache: Path) -> KillOptions:
        """One run, one kill."""
        return cls(cache, ("morse",), 1)


def kill(options: KillOptions) -> dict[str, Any]:
    """Largest differences between killed runs and those that were left alone."""
    result: dict[str, Any] = {"seed": options.seed}
    for name in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            kills = options.kills or KILLED[name].kills
            result[name] = kill_runs(name, kills, Path(folder), options.seed)
    return result
