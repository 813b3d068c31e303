"""Settings of the stage ``simulate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kstep_training.inputs.physics import PhysicsSettings
from kstep_training.keys import setting

__all__ = ["SimulateSettings"]

PRODUCTIONS: Final = ("nve", "langevin")


@dataclass(frozen=True)
class SimulateSettings(PhysicsSettings):
    """The physics, and the trajectories of each molecule under it.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> SimulateSettings(physics="GFN2-xTB", temperatures=[300.0, 500.0]).trajectories
    4
    """

    physics: str = setting(
        "mm",
        "mm (the force field of kstep prep, in OpenMM), GFN2-xTB, GFN1-xTB, GFN-FF, pyscf, or "
        "module:function, a function of yours that takes an Atoms object and returns an ASE "
        "calculator for it",
    )
    temperatures: list[float] = setting([300.0], "temperatures of the trajectories", "K")
    trajectories: int = setting(4, "trajectories at each temperature, from the conformers in turn")
    timestep_fs: float | None = setting(
        None,
        "time step; null: 0.25, with mm 2 if bonds with hydrogen are constrained, else 0.5",
        "fs",
    )
    friction_per_ps: float = setting(2.0, "friction of equilibrations and refreshments", "1/ps")
    equilibration_ps: float = setting(5.0, "Langevin dynamics before the first segment", "ps")
    production: str = setting("nve", "dynamics of the segments: nve (velocity Verlet) or langevin")
    production_friction_per_ps: float = setting(0.2, "friction of Langevin segments", "1/ps")
    segments: int = setting(5, "segments of each trajectory")
    segment_ps: float = setting(2.0, "length of a segment", "ps")
    refresh_ps: float = setting(1.0, "Langevin dynamics between two NVE segments", "ps")
    interval_steps: int = setting(
        1, "steps from frame to frame of a segment; an equilibration keeps about 100 frames"
    )
    distorted_fraction: float = setting(
        0.0, "copies of production frames with displaced atoms, for each frame"
    )
    distortions: list[float] = setting(
        [0.05, 0.1, 0.15], "standard deviations of those displacements", "angstrom"
    )
    seed: int = setting(0, "seed of momenta, noise and displacements")

    def __post_init__(self) -> None:
        super().__post_init__()
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
