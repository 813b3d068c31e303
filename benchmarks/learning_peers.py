"""Other packages fitted from scratch to the labels of one run, on one core.

The peers stand in environments of their own, whose packages clash with this project's; the suite
makes the labels and calls ``peer_fits.py`` with the Python of each environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from benchmarks.evaluation import OUTSIDE
from benchmarks.suite import Options, option
from kstep_integrators.calculators import xtb_calculator
from kstep_training.prep.molecules import conformers

__all__ = ["MOLECULES", "labels", "learning_peers"]

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
FITS = Path(__file__).with_name("peer_fits.py")


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


def _fits(peer: str, python: str, file: Path, output: Path, options: PeerOptions) -> Any:
    """Fits of one peer to one file; a finished part is not made again."""
    if not output.exists():
        part = output.with_suffix(".part")
        command = [python, str(FITS), peer, str(file), str(part), "--limit", str(options.limit)]
        one_core = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        subprocess.run(
            [*command, "--train", *map(str, options.train)],
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | one_core,
            check=True,
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
