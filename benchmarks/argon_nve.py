"""Liquid argon at constant energy: strides on potentials that learned, beside velocity Verlet.

The physics is the Lennard-Jones fluid of the suite `argon` at its first density, switched off
smoothly before the cutoff, as energy is to be conserved. A potential learns from nothing, another
from wells that are 8 % too shallow, which are also judged as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.md.velocitydistribution import Stationary

from benchmarks.argon import COUNT, fluid, fluid_system
from benchmarks.cells_nve import Case, nve
from benchmarks.suite import Options, option
from kstep_integrators import CalculatorPotential
from kstep_integrators.calculators import OpenMMCalculator

__all__ = ["argon_nve"]

TEMPERATURE, BASE_FS = 150.0, 5.0
"""K; inner step: the fastest motions of this fluid take some 500 fs."""
STRIDES = {
    ("learned", "nothing"): (10.0, 20.0, 40.0),
    ("learned", "weak wells"): (10.0, 20.0, 40.0),
    ("base alone", "weak wells"): (20.0, 40.0),
}
STEPS = (5.0, 10.0, 20.0, 40.0)
"""Of Verlet, fs."""


def _start(seed: int) -> Atoms:
    atoms = fluid(TEMPERATURE, seed + 1)
    Stationary(atoms, preserve_temperature=False)
    return atoms


def _weak(_: Atoms) -> CalculatorPotential:
    return CalculatorPotential(OpenMMCalculator(fluid_system(base="weak", smooth=True), "CPU"))


def _physics() -> OpenMMCalculator:
    return OpenMMCalculator(fluid_system(smooth=True), "CPU")


CASE = Case(
    _start, _physics, {"weak wells": _weak}, BASE_FS, frame_fs=40.0, limit=9.0, resolution=10.0,
    residuals=(5.0, 3.0, 2.0, 1.0), lags=(0.8, 1.6),
)  # fmt: skip


@dataclass(frozen=True)
class ArgonNVEOptions(Options):
    """Lengths."""

    labels: int = option(100, "of the runs that learn")
    length_ps: float = option(20.0, "of each run at constant energy")

    @classmethod
    def smoke(cls, cache: Path) -> ArgonNVEOptions:
        """A few labels, and the shortest runs that have spectrum and diffusion."""
        return cls(cache, 4, 10.0)


def argon_nve(options: ArgonNVEOptions) -> dict[str, Any]:
    """Energy, structure, vibrations and diffusion by stride."""
    folder = options.cache / f"argon_nve-{options.labels}-{options.length_ps:g}"
    found = nve(CASE, STRIDES, STEPS, options.labels, options.length_ps, folder)
    return {
        "atoms": COUNT, "temperature_K": TEMPERATURE, "base_fs": BASE_FS,
        "length_ps": options.length_ps, **found,
    }  # fmt: skip
