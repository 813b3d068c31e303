"""Other packages fitted from scratch to the labels of one run, and the time of their forces.

The peers stand in environments of their own, whose packages clash with this project's; the suites
make labels or frames and call ``peer_fits.py`` or ``peer_speed.py`` with the Python of each
environment, on one core.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from benchmarks.documents import ROOT
from benchmarks.evaluation import OUTSIDE
from benchmarks.kernel import Native, levels, system
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators.calculators import xtb_calculator
from kstep_training.prep.molecules import conformers

__all__ = ["MOLECULES", "labels", "learning_peers", "peers_speed"]

MOLECULES = {
    **OUTSIDE,
    "crotononitrile": "C/C=C/C#N",
    "acetaldoxime": "C/C=N/O",
    "propylene_oxide": "CC1CO1",
    "1-methylpyrazole": "Cn1cccn1",
    "N-nitrosodimethylamine": "CN(C)N=O",
}
"""Outside the list that ``organic-gfn2`` was trained on, with other functional groups."""
BASE_FS, STRIDE_FS, FRAMES = 0.5, 4.0, 401
FITS, SPEED = (Path(__file__).with_name(f"peer_{name}.py") for name in ("fits", "speed"))
ONE_CORE = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


def labels(name: str, frames: int = FRAMES) -> list[Atoms]:
    """A GFN2 run at constant energy from an equilibrated start at 300 K, every 4 fs.

    Returns
    -------
    list of ase.Atoms
        With energies, forces and momenta.
    """
    rng = np.random.default_rng([15, *name.encode()])
    (atoms,) = conformers(MOLECULES[name], 1)
    atoms.calc = xtb_calculator("GFN2-xTB")
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    bath = Langevin(atoms, 1.0 * units.fs, temperature_K=300, friction=0.02 / units.fs,
                    fixcm=False, rng=rng)  # fmt: skip
    bath.run(1000)
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    dynamics = VelocityVerlet(atoms, BASE_FS * units.fs)
    made = []
    for frame in range(frames):
        if frame:
            dynamics.run(round(STRIDE_FS / BASE_FS))
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        label = atoms.copy()
        label.info = {}
        label.calc = SinglePointCalculator(label, energy=energy, forces=forces)
        made.append(label)
    return made


@dataclass(frozen=True)
class PeerOptions(Options):
    """Environments of the peers, labels, and limits."""

    sgdml: str = option("", "Python of an environment with sgdml")
    mace: str = option("", "Python of an environment with mace-torch")
    molecules: tuple[str, ...] = option(
        ("dimethylformamide", "pyrimidine", "ethyl_acetate"), "some of MOLECULES"
    )
    train: tuple[int, ...] = option((20, 60, 150, 300), "numbers of labels, the first of the run")
    limit: float = option(300.0, "CPU seconds of one fit of a network")


def _environment() -> dict[str, str]:
    """Variables of this process but for the path of its packages."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | ONE_CORE


def _fits(peer: str, python: str, file: Path, output: Path, options: PeerOptions) -> Any:
    """Fits of one peer to one file; a finished part is not made again."""
    if not output.exists():
        part = output.with_suffix(".part")
        command = [python, str(FITS), peer, str(file), str(part), "--limit", str(options.limit)]
        subprocess.run(
            [*command, "--train", *map(str, options.train)], env=_environment(), check=True
        )
        part.rename(output)
    return json.loads(output.read_text())


def learning_peers(options: PeerOptions) -> dict[str, Any]:
    """Force errors on the last 101 of 401 frames, after fits to the first ones.

    ValueError: if no environment is named.
    """
    pythons = {"sgdml": options.sgdml, "mace": options.mace}
    if not any(pythons.values()):
        raise ValueError(f"no environment of a peer is named; expected --{' or --'.join(pythons)}")
    folder, rows = options.cache / "learning_peers", []
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.molecules:
        file = folder / f"{name}.traj"
        if not file.exists():
            write(file, labels(name))
        frames: list[Atoms] = list(read(file, ":"))
        temperature = float(np.mean([f.get_kinetic_energy() for f in frames])) / units.kB
        about = {
            "molecule": name,
            "atoms": len(frames[0]),
            "temperature_K": 2 * temperature / (3 * len(frames[0]) - 6),
            "force_rms_meV_per_A": 1e3 * float(np.sqrt(np.mean([f.get_forces() ** 2
                                                                 for f in frames]))),
        }  # fmt: skip
        for peer, python in pythons.items():
            if python:
                made = _fits(peer, python, file, folder / f"{peer}-{name}.json", options)
                rows += [{**about, **row} for row in made]
    return {"physics": "GFN2-xTB", "stride_fs": STRIDE_FS, "limit_s": options.limit, "rows": rows}


@dataclass(frozen=True)
class SpeedOptions(Options):
    """Environments of the peers, molecules and rounds."""

    mace: str = option("", "Python of an environment with mace-torch")
    schnetpack: str = option("", "Python of an environment with schnetpack")
    torchani: str = option("", "Python of an environment with torchani")
    sgdml: str = option("", "Python of an environment with sgdml; up to 21 atoms")
    molecules: tuple[str, ...] = option(
        ("ethanol", "aspirin", "Ace-Ala3-NMe", "Ace-Ala9-NMe"), "of suite `kernel`"
    )
    rounds: int = option(3, "in which all take turns")

    @classmethod
    def smoke(cls, cache: Path) -> SpeedOptions:
        """The kernel alone, water."""
        return cls(cache, molecules=("water",), rounds=1)


def peers_speed(options: SpeedOptions) -> dict[str, Any]:
    """Microseconds of the processor of one call for energy and forces through ASE."""
    ours = {"kstep": sys.executable, "eager": sys.executable}
    peers = {name: getattr(options, name) for name in ("mace", "schnetpack", "torchani", "sgdml")}
    folder = options.cache / "peers_speed"
    folder.mkdir(parents=True, exist_ok=True)

    def measured(name: str) -> list[dict[str, Any]]:
        atoms, file, part = system(name), folder / f"{name}.traj", folder / "part.json"
        native = Native(atoms, next(iter(levels().values())), torch.float64)
        frames = []
        for _ in range(20):
            native.jump(4)
            frames.append(atoms.copy())
            frames[-1].positions = native.x
        write(file, frames)
        runs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(options.rounds):
            for peer, python in (ours | peers).items():
                if not python or (peer == "sgdml" and len(atoms) > 21):
                    continue
                path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}"}
                subprocess.run(
                    [python, "-W", "ignore", str(SPEED), peer, str(file), str(part)],
                    env=_environment() | (path if peer in ours else {}), check=True,
                )  # fmt: skip
                runs.setdefault(peer, []).append(json.loads(part.read_text()))
        rows = []
        for each in runs.values():
            times = [run["us"] for run in each]
            about = {"molecule": name, "atoms": len(atoms), **each[0]}
            rows.append({**about, "us": statistics.median(times), "us_least": min(times)})
        return rows

    rows = [row for name in options.molecules
            for row in kept(folder / f"{name}.json", lambda name=name: measured(name))]  # type: ignore[misc]  # fmt: skip
    return {"rows": rows}
