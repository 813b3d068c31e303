"""Periodic systems whose isobaric ensembles are known."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

KT = units.kB * 300.0
LENGTH = 5.5


class IdealGas(Calculator):
    """Nothing acts on anything; within molecules, springs between atoms 2i and 2i + 1 if wanted."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, spring: float = 0.0, length: float = 1.1) -> None:
        super().__init__()
        self.spring, self.length = spring, length

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        forces, energy = np.zeros((len(self.atoms), 3)), 0.0
        if self.spring:
            x = self.atoms.positions
            vectors = x[1::2] - x[::2]
            cell = self.atoms.cell.array
            vectors -= np.round(vectors @ np.linalg.inv(cell)) @ cell  # the nearest image
            distances = np.linalg.norm(vectors, axis=1)
            energy = 0.5 * self.spring * ((distances - self.length) ** 2).sum()
            pull = self.spring * ((distances - self.length) / distances)[:, None] * vectors
            forces[::2], forces[1::2] = pull, -pull
        self.results = {"energy": float(energy), "forces": forces}


class Crystal(Calculator):
    """Atoms on springs to sites that move with the cell, whose vectors have springs of their own.

    The positions integrate to the same number in every cell, whatever its volume: its springs and
    the pressure alone decide how long its vectors are.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, sites, spring=3.0, stiffness=2.0, length=LENGTH) -> None:
        super().__init__()
        self.sites, self.spring, self.stiffness, self.length = sites, spring, stiffness, length

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        shifts = self.atoms.positions - self.sites @ self.atoms.cell.array
        excess = self.atoms.cell.lengths() - self.length
        energy = 0.5 * self.spring * (shifts**2).sum() + 0.5 * self.stiffness * (excess**2).sum()
        self.results = {"energy": float(energy), "forces": -self.spring * shifts}


def volume_of_crystal(kind, pressure, stiffness=2.0, length=LENGTH):
    """Mean and variance of the volume of a cubic crystal, by quadrature.

    The measure is dV, where all vectors are scaled together; dA dc, where two are; da db dc, where
    each is on its own.
    """
    x = np.linspace(length - 1.5, length + 1.0, 161)
    if kind == "isotropic":
        lengths, measure = np.stack([x] * 3, -1), x**2
    elif kind == "semi-isotropic":
        a, c = np.meshgrid(x, x)
        lengths, measure = np.stack([a, a, c], -1), a
    else:
        lengths, measure = np.stack(np.meshgrid(x, x, x), -1), 1.0
    volumes = lengths.prod(-1)
    energy = 0.5 * stiffness * ((lengths - length) ** 2).sum(-1) + pressure * volumes
    weights = measure * np.exp(-(energy - energy.min()) / KT)
    mean = (weights * volumes).sum() / weights.sum()
    return mean, (weights * (volumes - mean) ** 2).sum() / weights.sum()


class Argon(Calculator):
    """Lennard-Jones between nearest images, cut off and shifted at 4.9 angstrom."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, depth: float = 0.0103) -> None:
        super().__init__()
        self.depth = depth

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        x, box = self.atoms.positions, self.atoms.cell.lengths()
        assert box.min() > 2 * 4.9
        vectors = x[:, None] - x[None]
        vectors -= np.round(vectors / box) * box
        squares = (vectors**2).sum(-1)
        np.fill_diagonal(squares, np.inf)
        sixth = np.where(squares < 4.9**2, 3.4**2 / squares, 0.0) ** 3
        cut = (3.4 / 4.9) ** 6
        pairs = np.where(sixth > 0, sixth**2 - sixth - (cut**2 - cut), 0.0)
        pushes = (24.0 * self.depth * (2 * sixth**2 - sixth) / squares)[..., None] * vectors
        virial = 0.5 * (pushes * vectors).sum((0, 1))
        self.results = {
            "energy": float(2.0 * self.depth * pairs.sum()),
            "forces": pushes.sum(1),
            "stress": np.concatenate([-virial / box.prod(), np.zeros(3)]),
        }


CUBE, SKEWED = np.eye(3) * 12.0, np.array([[12.0, 0, 0], [3.0, 11.0, 0], [2.0, -1.0, 13.0]])


def gas(count: int = 6, cell=CUBE) -> Atoms:
    """Argon at random places."""
    rng = np.random.default_rng(0)
    return Atoms(f"Ar{count}", scaled_positions=rng.random((count, 3)), cell=cell, pbc=True)


def dimers(count: int = 5, cell=CUBE, wrapped: bool = True) -> Atoms:
    """Nitrogen far from each other, some of it across the faces of the cell."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[range(4)] * 3), axis=-1).reshape(-1, 3)
    places = grid[grid.sum(1) % 2 == 0][:count] / 4.0 @ cell
    turns = rng.normal(size=(count, 3))
    turns *= 1.1 / np.linalg.norm(turns, axis=1, keepdims=True)
    positions = np.stack([places, places + turns], axis=1).reshape(-1, 3)
    atoms = Atoms(f"N{2 * count}", positions=positions, cell=cell, pbc=True)
    if wrapped:
        atoms.wrap()
    return atoms


def crystal(cell=CUBE * LENGTH / 12.0) -> tuple[Atoms, np.ndarray]:
    """Four atoms on sites, and the sites in units of the cell."""
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Atoms("Ar4", scaled_positions=sites, cell=cell, pbc=True), sites


def mean_and_error(values, blocks: int = 20) -> tuple[float, float]:
    """Mean, and its standard error from the means of blocks."""
    parts = np.array([part.mean() for part in np.array_split(np.asarray(values), blocks)])
    return float(parts.mean()), float(parts.std(ddof=1) / np.sqrt(blocks))
