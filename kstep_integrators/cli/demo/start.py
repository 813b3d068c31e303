"""How a demonstration begins: its settings, its molecule, its thermalized start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

# Threads only slow a small molecule down; tblite reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.units import FS

__all__ = ["DemoSettings", "gfn2", "load_molecule", "thermalize"]

_EQUILIBRATION_FS: Final = 500.0
_FRICTION: Final = 0.02 / FS


@dataclass(frozen=True)
class DemoSettings:
    """What to demonstrate, and on what.

    Attributes
    ----------
    source : {"name", "xyz", "smiles"}
        Where the molecule comes from.
    value : str
        Its name, its file, or its SMILES string.
    model : str
        Bundled name or path of a model file.
    k : int
        Base steps per jump.
    timestep_fs : float
        Base step, fs.
    time_fs : float
        Simulated time of each run, fs.
    temperature_K : float
        Temperature of the start.
    seed : int
        Seed of the start.
    output : Path
        Folder for ``trajectory.traj``, ``demo.json`` and ``demo.png``.
    compile : bool
        Compile the network's force before the clock starts.
    engine : {"ase", "openmm"}
        Who makes the jumps.
    """

    source: Literal["name", "xyz", "smiles"] = "name"
    value: str = "ethanol"
    model: str = "organic-gfn2"
    k: int = 4
    timestep_fs: float = 0.5
    time_fs: float = 2000.0
    temperature_K: float = 300.0
    seed: int = 0
    output: Path = Path("kstep_demo")
    compile: bool = True
    engine: Literal["ase", "openmm"] = "ase"

    def __post_init__(self) -> None:
        if self.engine not in ("ase", "openmm"):
            raise ValueError(f"engine is {self.engine!r}; expected 'ase' or 'openmm'")
        if self.source not in ("name", "xyz", "smiles"):
            raise ValueError(f"source is {self.source!r}; expected 'name', 'xyz' or 'smiles'")
        if self.k < 1:
            raise ValueError(f"k is {self.k}; expected at least 1 base step per jump")
        for name in ("timestep_fs", "time_fs", "temperature_K"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.n_jumps < 3:
            raise ValueError(
                f"{self.time_fs} fs hold {self.n_jumps} jumps of {self.stride_fs} fs; a drift "
                "needs at least 3: give a longer time or a smaller k"
            )

    @property
    def stride_fs(self) -> float:
        """Time that one jump advances, fs."""
        return self.k * self.timestep_fs

    @property
    def n_jumps(self) -> int:
        """Jumps of a run."""
        return round(self.time_fs / self.stride_fs)


def load_molecule(settings: DemoSettings) -> Atoms:
    """The isolated molecule that `settings` asks for.

    Raises
    ------
    ValueError
        If there is no such molecule, or it is periodic.
    FileNotFoundError
        If there is no such file.
    ImportError
        If a SMILES string is given and the ``prep`` extra is missing.
    """
    if settings.source == "name":
        return named_molecule(settings.value)
    if settings.source == "smiles":
        try:
            from kstep_training.prep.molecules import conformers
        except ImportError as error:
            raise ImportError(
                "reading a SMILES string needs the extra 'prep'; "
                "install it with: pip install 'kstep-integrators[prep]'"
            ) from error
        found: Atoms = conformers(settings.value, count=1, seed=settings.seed)[0]
        return found
    path = Path(settings.value)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; expected a geometry that ase.io.read can read")
    frame = ase.io.read(path)
    atoms = frame if isinstance(frame, Atoms) else frame[-1]
    if atoms.pbc.any():
        raise ValueError(
            f"{path} is periodic (pbc = {atoms.pbc.tolist()}); the demonstration is for one "
            "isolated molecule: take the cell out of the file"
        )
    return Atoms(atoms.numbers, positions=atoms.positions, info=dict(atoms.info))


def gfn2(atoms: Atoms) -> Calculator:
    """A fresh GFN2-xTB calculator for a molecule, its charge taken from ``atoms.info``."""
    return xtb_calculator("GFN2-xTB", charge=int(atoms.info.get("charge", 0)))


def thermalize(atoms: Atoms, settings: DemoSettings) -> Atoms:
    """Relax and equilibrate a molecule in place.

    Momenta alone would not do: from a minimum, half of the heat goes into the potential.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator; afterwards at temperature, without net momentum or rotation.
    settings : DemoSettings
        Temperature and seed.

    Returns
    -------
    ase.Atoms
        The relaxed geometry.
    """
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=500)
    relaxed: Atoms = atoms.copy()
    rng = np.random.default_rng(settings.seed)
    thermalize_momenta(atoms, settings.temperature_K, rng=rng)
    langevin = Langevin(
        atoms,
        0.5 * FS,
        temperature_K=settings.temperature_K,
        friction=_FRICTION,
        fixcm=False,
        rng=rng,
    )
    langevin.run(round(_EQUILIBRATION_FS / 0.5))
    Stationary(atoms, preserve_temperature=False)
    ZeroRotation(atoms, preserve_temperature=False)
    return relaxed
