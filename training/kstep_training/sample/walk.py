"""Walks from distorted geometries of a molecule or a cluster, whose steps are labels already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import units
from kstep_training.sample.distort import Array, Bonds, crowded, stretched, twisted
from kstep_training.sample.settings import SampleSettings

__all__ = ["Drawn", "draw"]

MAX_FORCE = 40.0
"""Geometries with a larger force component (eV/angstrom) have no useful label."""
BROKEN = 1.75
"""Length of a broken bond over the sum of the covalent radii; a walk ends there."""
BONDED = 1.25
"""Distance over that sum, below which atoms that had no bond have one."""
LIGHTEST = 12.0
"""Mass in the walks at least, u. Masses change how fast a walk goes and not where it goes, and so
hydrogen allows steps as long as carbon does."""
HEAT = 2.0
"""Temperature of the first momenta over that of the walk: from a minimum, half goes into bonds."""
TRIES = 10
"""Turned bonds that are drawn until nothing is crowded."""
BARREN = 20
"""Walks without a label, one after the other, after which there are no more."""


@dataclass
class Drawn:
    """Labelled geometries.

    Attributes
    ----------
    positions, forces : list of (n_atoms, 3)
        angstrom, eV/angstrom.
    energies : list of float
        eV.
    charges : list of (n_atoms,)
        e, where the physics has them.
    temperature : list of float
        K, of the walk; 0 for a start with a stretched bond.
    rearranged : list of int
        Geometries with other bonds than the molecules have by name.
    refused : Counter
        Why geometries were not kept.
    """

    positions: list[Array] = field(default_factory=list)
    forces: list[Array] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    charges: list[Array] = field(default_factory=list)
    temperature: list[float] = field(default_factory=list)
    rearranged: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.energies)


def draw(
    atoms: Atoms,
    start: Callable[[np.random.Generator], Array],
    pairs: Sequence[tuple[int, int]],
    turnable: Bonds,
    settings: SampleSettings,
    frames: int,
    rng: np.random.Generator,
) -> Drawn:
    """Labelled geometries of one set of atoms.

    Each walk begins at a geometry of ``start``, some with a bond turned or stretched, and goes by
    Langevin dynamics at one of the temperatures. What the dynamics computes is the label.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator; changed.
    start : callable
        Geometry (n_atoms, 3) to begin with, drawn with the generator.
    pairs : sequence of (int, int)
        Bonds by name.
    turnable : Bonds
        Those that part their molecule.
    settings : SampleSettings
    frames : int
        Wanted; fewer if the physics fails again and again.
    rng : numpy.random.Generator
    """
    drawn, barren = Drawn(), 0
    atoms.set_masses(np.maximum(atoms.get_masses(), LIGHTEST))
    while len(drawn) < frames and barren < BARREN:
        kelvin = settings.temperatures[int(rng.integers(len(settings.temperatures)))]
        before = len(drawn)
        atoms.positions = _distorted(atoms.numbers, start(rng), pairs, turnable, settings, rng)
        try:
            _walk(atoms, kelvin, pairs, settings, frames, rng, drawn)
        except CalculationFailed:
            drawn.refused["the physics failed"] += 1
        barren = barren + 1 if len(drawn) == before else 0
    return drawn


def _distorted(
    numbers: npt.NDArray[np.int64],
    positions: Array,
    pairs: Sequence[tuple[int, int]],
    turnable: Bonds,
    settings: SampleSettings,
    rng: np.random.Generator,
) -> Array:
    if turnable and rng.random() < settings.twisted_fraction:
        for _ in range(TRIES):
            bond = turnable[int(rng.integers(len(turnable)))]
            turned = twisted(positions, bond, rng.uniform(-np.pi, np.pi))
            if not crowded(numbers, turned, pairs):
                positions = turned
                break
    if turnable and rng.random() < settings.stretched_fraction:
        bond = turnable[int(rng.integers(len(turnable)))]
        positions = stretched(
            positions, bond, float(rng.uniform(settings.stretches[0], settings.stretches[1]))
        )
    return positions


def _walk(
    atoms: Atoms,
    kelvin: float,
    pairs: Sequence[tuple[int, int]],
    settings: SampleSettings,
    frames: int,
    rng: np.random.Generator,
    drawn: Drawn,
) -> None:
    """One walk, until it has its geometries or has gone astray."""
    _keep(atoms, 0.0, pairs, drawn)
    thermalize_momenta(atoms, temperature_K=HEAT * kelvin, rng=rng)
    dynamics = Langevin(
        atoms,
        settings.timestep_fs * units.FS,
        temperature_K=kelvin,
        friction=settings.friction_per_ps / units.PS,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(settings.settling_steps)
    for _ in range(settings.walk_frames - 1):
        if len(drawn) >= frames:
            return
        dynamics.run(settings.interval_steps)
        if not _keep(atoms, kelvin, pairs, drawn):
            return


def _keep(atoms: Atoms, kelvin: float, pairs: Sequence[tuple[int, int]], drawn: Drawn) -> bool:
    """Look at a geometry and its label, and keep both; False where a walk should end."""
    forces, energy = atoms.get_forces(), float(atoms.get_potential_energy())
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        drawn.refused["not finite"] += 1
        return False
    if np.abs(forces).max() > MAX_FORCE:
        drawn.refused[f"a force above {MAX_FORCE:g} eV/angstrom"] += 1
        return False
    numbers, x = atoms.numbers, atoms.positions
    radii = covalent_radii[numbers]
    reduced = np.linalg.norm(x[:, None] - x[None], axis=-1) / (radii[:, None] + radii[None])
    i, j = np.array(pairs, dtype=int).reshape(-1, 2).T
    broken = bool((reduced[i, j] > BROKEN).any())
    reduced[i, j] = reduced[j, i] = np.inf
    np.fill_diagonal(reduced, np.inf)
    if broken or reduced.min() < BONDED:
        drawn.rearranged.append(len(drawn))
    drawn.positions.append(x.copy())
    drawn.forces.append(forces.copy())
    drawn.energies.append(energy)
    drawn.temperature.append(kelvin)
    charges = atoms.calc.results.get("charges")
    if charges is not None:
        drawn.charges.append(np.array(charges))
    return not broken
