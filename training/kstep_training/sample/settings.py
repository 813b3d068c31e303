"""Settings of the stage ``sample``."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_training.inputs.physics import PhysicsSettings
from kstep_training.keys import setting

__all__ = ["SampleSettings"]


@dataclass(frozen=True)
class SampleSettings(PhysicsSettings):
    """The physics, and how many geometries of what it labels.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> SampleSettings(physics="GFN2-xTB", frames=100).walk_frames
    8
    """

    physics: str = setting(
        "GFN2-xTB",
        "GFN2-xTB, GFN1-xTB, GFN-FF, pyscf, or module:function, a function of yours that takes an "
        "Atoms object and returns an ASE calculator for it",
    )
    frames: int = setting(320, "geometries of each molecule")
    temperatures: list[float] = setting(
        [300.0, 500.0, 750.0, 1000.0], "temperatures of the walks, in turn", "K"
    )
    walk_frames: int = setting(8, "geometries of one walk, which begins anew each time")
    interval_steps: int = setting(3, "steps of a walk from geometry to geometry")
    settling_steps: int = setting(12, "steps of a walk before its first geometry")
    timestep_fs: float = setting(
        2.0, "step of the walks, in which all atoms have the mass of carbon at least", "fs"
    )
    friction_per_ps: float = setting(30.0, "friction of the walks", "1/ps")
    twisted_fraction: float = setting(
        0.5, "share of the walks that begin with a bond turned at random"
    )
    stretched_fraction: float = setting(
        0.25, "share of the walks that begin with a bond stretched or compressed"
    )
    stretches: list[float] = setting(
        [0.85, 1.35], "shortest and longest of those bonds, over their length"
    )
    clusters: int = setting(2, "clusters in which each molecule stands first")
    cluster_frames: int = setting(64, "geometries of each cluster")
    cluster_atoms: int = setting(30, "atoms of a cluster, at most")
    contacts: list[float] = setting(
        [0.75, 1.3],
        "closest and farthest distance at which molecules of a cluster are put together, over the "
        "sum of the van der Waals radii",
    )
    charges: list[int] = setting([-1, 1], "lowest and highest charge of a cluster", "e")
    alone: list[str] = setting(
        [], "names of molecules that are in no cluster, as those that a fit must not see"
    )
    seed: int = setting(0, "seed of all that is drawn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.physics == "mm":
            raise ValueError(
                "physics is 'mm', whose Systems are of one molecule; expected a method that takes "
                "clusters and stretched bonds too, such as GFN2-xTB"
            )
        for name in ("frames", "walk_frames", "interval_steps", "cluster_frames", "cluster_atoms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("settling_steps", "clusters", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a whole number from 0")
        for name in ("timestep_fs", "friction_per_ps"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name in ("twisted_fraction", "stretched_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share from 0 to 1")
        for name in ("stretches", "contacts"):
            pair = getattr(self, name)
            if len(pair) != 2 or not 0.0 < pair[0] <= pair[1] < float("inf"):
                raise ValueError(f"{name} is {pair}, expected two positive numbers, ascending")
        if len(self.charges) != 2 or self.charges[0] > self.charges[1]:
            raise ValueError(
                f"charges is {self.charges}, expected the lowest and the highest charge, in e"
            )
        if not (self.temperatures and all(0.0 < t < float("inf") for t in self.temperatures)):
            raise ValueError(f"temperatures are {self.temperatures}, expected positive ones, in K")
