"""The settings of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from kstep_integrators.arguments import (
    path_of,
    positive_integer,
    real_number,
    true_or_false,
    whole_number,
)
from kstep_integrators.potentials.backends import check_backend

__all__ = ["OUTSIDE", "DemoSettings"]

OUTSIDE: Final = Path(__file__).with_name("dimethylformamide.xyz")
"""A molecule that the bundled model was not fitted to."""


@dataclass(frozen=True)
class DemoSettings:
    """Molecule, model and lengths of a demonstration.

    Attributes
    ----------
    molecule : str
        A bundled name, a file of geometries, or a SMILES string.
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
    backend : {"auto", "native", "eager", "compiled"}
        What computes the network's forces.
    engine : {"ase", "openmm"}
        Who makes the jumps.
    learn : bool
        Show how the model learns the molecule while it runs, in ASE.

    Raises
    ------
    ValueError
        If a value is out of its range, or the time holds fewer than three jumps.

    Examples
    --------
    >>> settings = DemoSettings("water", k=8, timestep_fs=0.25, time_fs=100.0)
    >>> settings.stride_fs, settings.n_jumps
    (2.0, 50)
    """

    molecule: str = "ethanol"
    model: str = "organic-gfn2"
    k: int = 4
    timestep_fs: float = 0.5
    time_fs: float = 2000.0
    temperature_K: float = 300.0
    seed: int = 0
    output: Path = Path("kstep_demo")
    backend: str = "auto"
    engine: Literal["ase", "openmm"] = "ase"
    learn: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ("ase", "openmm"):
            raise ValueError(f"engine is {self.engine!r}; expected 'ase' or 'openmm'")
        if true_or_false("learn", self.learn) and self.engine != "ase":
            raise ValueError(f"engine is {self.engine!r} with learn; jumps that learn are of 'ase'")
        positive_integer("k", self.k, "base steps per jump; at least 1")
        whole_number("seed", self.seed, "of the start")
        check_backend(self.backend)
        path_of("molecule", self.molecule)
        path_of("model", self.model)
        path_of("output", self.output)
        for name in ("timestep_fs", "time_fs", "temperature_K"):
            real_number(name, getattr(self, name), "above 0")
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
