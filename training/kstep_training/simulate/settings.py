"""What the stage ``simulate`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kstep_integrators.calculators import semiempirical

__all__ = ["METHODS", "PRODUCTIONS", "SimulateSettings"]

METHODS: Final = ("mm", *semiempirical.METHODS, "pyscf")
PRODUCTIONS: Final = ("nve", "langevin")


@dataclass(frozen=True)
class SimulateSettings:
    """What is simulated of each molecule.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    method: str = "mm"
    """``mm`` (OpenMM, the force field of ``kstep prep``), ``GFN2-xTB``, ``GFN1-xTB``, ``GFN-FF`` or
    ``pyscf``."""
    xc: str | None = None
    """Of PySCF: ``hf`` (the default, null) or a functional."""
    basis: str | None = None
    """Of PySCF; null is ``sto-3g``."""
    temperatures: list[float] = field(default_factory=lambda: [300.0])
    """Kelvin."""
    trajectories: int = 4
    """At each temperature, from the conformers in turn."""
    timestep_fs: float | None = None
    """Null: 0.25 fs; with ``mm`` 2 fs if bonds with hydrogen are constrained, else 0.5 fs."""
    friction_per_ps: float = 2.0
    """Of equilibrations and refreshments."""
    equilibration_ps: float = 5.0
    production: str = "nve"
    """``nve`` or ``langevin``."""
    production_friction_per_ps: float = 0.2
    """Of Langevin segments."""
    segments: int = 5
    """In each trajectory."""
    segment_ps: float = 2.0
    refresh_ps: float = 1.0
    """Langevin dynamics between two NVE segments."""
    interval_steps: int = 1
    """Steps from frame to frame of a segment; an equilibration keeps about 100 frames."""
    distorted_fraction: float = 0.0
    """Copies of production frames with displaced atoms, per frame."""
    distortions: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.15])
    """Standard deviations of such displacements, angstrom."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.method != "pyscf" and (self.xc, self.basis) != (None, None):
            raise ValueError(
                f"xc is {self.xc!r} and basis {self.basis!r}, but the method is {self.method!r}; "
                "only method=pyscf has them"
            )
        if self.production not in PRODUCTIONS:
            raise ValueError(f"production is {self.production!r}, expected nve or langevin")
        for name in ("trajectories", "segments", "interval_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in (
            "equilibration_ps",
            "refresh_ps",
            "segment_ps",
            "friction_per_ps",
            "production_friction_per_ps",
        ):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name, unit in (("temperatures", "K"), ("distortions", "angstrom")):
            values = getattr(self, name)
            if not (values and all(0.0 < value < float("inf") for value in values)):
                raise ValueError(f"{name} are {values}, expected positive ones, in {unit}")
        if len({f"{temperature:g}" for temperature in self.temperatures}) < len(self.temperatures):
            raise ValueError(
                f"temperatures are {self.temperatures}, expected ones that differ in six digits: "
                "shards are named after them"
            )
        if self.timestep_fs is not None and not 0.0 < self.timestep_fs < float("inf"):
            raise ValueError(f"timestep_fs is {self.timestep_fs}, expected a positive number")
        if not 0.0 <= self.distorted_fraction < float("inf"):
            raise ValueError(
                f"distorted_fraction is {self.distorted_fraction}, expected 0 or a positive number"
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")
