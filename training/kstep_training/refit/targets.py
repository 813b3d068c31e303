"""Targets of a refit: what the network is to give at each geometry, in the order of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.io.trajectory import Trajectory
from torch.utils.data import Dataset

from kstep_integrators.physics.estimated import is_estimated
from kstep_training.dataset.batches import Batch
from kstep_training.dataset.periodic_batches import in_cells

__all__ = ["TargetBatches", "Targets", "read_targets"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Targets:
    """Energies and forces of geometries of one or several molecules.

    Attributes
    ----------
    numbers : list of (N,) int64
    positions : list of (N, 3) float64, angstrom
    forces : list of (N, 3) float64, eV/angstrom
    energies : (n,) float64, eV
    cells : list of (3, 3) float64, angstrom
    pbc : list of (bool, bool, bool)
    """

    numbers: list[npt.NDArray[np.int64]]
    positions: list[Array]
    forces: list[Array]
    energies: Array
    cells: list[Array]
    pbc: list[tuple[bool, bool, bool]]

    def __len__(self) -> int:
        return len(self.energies)

    def part(self, start: int, stop: int) -> Targets:
        """Some of them that follow each other."""
        return Targets(**{name: values[start:stop] for name, values in vars(self).items()})

    def counts(self, elements: Sequence[int]) -> Array:
        """Atoms of each element, (n, S)."""
        return np.array([[(z == e).sum() for e in elements] for z in self.numbers], dtype=float)


def read_targets(path: Path, elements: Sequence[int]) -> Targets:
    """Read the targets of a refit; frames without forces are left out.

    Parameters
    ----------
    path : Path
        A trajectory of ASE.
    elements : sequence of int
        Atomic numbers that the network knows.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no trajectory of ASE, or a frame has an element that the network does
        not know, numbers that are not finite, or estimates in place of computed ones.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, which has the labels of a refit")
    try:
        with Trajectory(path) as frames:
            kept = [_checked(path, number, atoms, elements) for number, atoms in enumerate(frames)]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a trajectory of ASE: {error!r}") from error
    whole = [atoms for atoms in kept if atoms is not None]
    return Targets(
        [atoms.numbers.astype(np.int64) for atoms in whole],
        [atoms.positions for atoms in whole],
        [atoms.get_forces(apply_constraint=False) for atoms in whole],
        np.array([atoms.get_potential_energy() for atoms in whole]),
        [atoms.cell.array for atoms in whole],
        [(bool(x), bool(y), bool(z)) for x, y, z in (atoms.pbc for atoms in whole)],
    )


def _checked(path: Path, number: int, atoms: Atoms, elements: Sequence[int]) -> Atoms | None:
    """A frame, or None if it has no forces."""
    where = f"frame {number} of {path}"
    if unknown := sorted({*atoms.numbers.tolist()} - {*elements}):
        raise ValueError(
            f"{where} has the atomic numbers {unknown}, which the network of the refit does not "
            f"cover; it covers {list(elements)}"
        )
    if is_estimated(atoms):
        raise ValueError(
            f"{where} has estimates of energy and forces, of a run with corrector='mollified'; a "
            "refit takes what was computed: the labels of that run"
        )
    known = {} if atoms.calc is None else atoms.calc.results
    if "energy" not in known:
        raise ValueError(f"{where} has no energy; a refit takes frames with energy and forces")
    if "forces" not in known:
        return None
    for name, values in {"positions": atoms.positions, **known}.items():
        if name in ("positions", "energy", "forces") and not np.isfinite(values).all():
            raise ValueError(f"{where} has {name} that are not finite")
    return atoms


class TargetBatches(Dataset[Batch]):
    """Targets by lists of numbers of one padded size, in cells and not, for the loader of a fit.

    Parameters
    ----------
    targets : Targets
    elements : sequence of int
        Atomic numbers in the order of the network's species.
    energies : (n,) float64, eV
        Of the targets, without what the network does not have to give.
    cutoff : float
        angstrom; of the neighbours in cells.

    Attributes
    ----------
    offsets : (n_groups + 1,) int
        Where each group starts.
    """

    def __init__(
        self, targets: Targets, elements: Sequence[int], energies: Array, cutoff: float
    ) -> None:
        sizes = np.array([len(z) for z in targets.numbers])
        if len({*sizes.tolist()}) > 1:
            sizes = -(-sizes // 3) * 3  # so that few shapes are compiled
        kinds = [(any(pbc), size) for pbc, size in zip(targets.pbc, sizes.tolist(), strict=True)]
        self._groups: list[Batch] = []
        bounds = [0]
        for cell, size in sorted({*kinds}):
            rows = [i for i, kind in enumerate(kinds) if kind == (cell, size)]
            group = _group(targets, rows, size, elements, energies)
            if cell:
                cells, pbc = [targets.cells[i] for i in rows], [targets.pbc[i] for i in rows]
                group = in_cells(group, cells, pbc, cutoff)
            self._groups.append(group)
            bounds.append(bounds[-1] + len(rows))
        self.offsets = np.array(bounds)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, frames: Sequence[int]) -> Batch:
        group = int(np.searchsorted(self.offsets, frames[0], side="right")) - 1
        rows = torch.tensor([frame - int(self.offsets[group]) for frame in frames])
        return self._groups[group].rows(rows)


def _group(
    targets: Targets, rows: Sequence[int], size: int, elements: Sequence[int], energies: Array
) -> Batch:
    positions, forces = (np.zeros((len(rows), size, 3)) for _ in range(2))
    species = np.zeros((len(rows), size), dtype=np.int64)
    real = np.zeros((len(rows), size), dtype=bool)
    for row, i in enumerate(rows):
        n = len(targets.numbers[i])
        # About their centre: float32 has seven digits.
        positions[row, :n] = targets.positions[i] - targets.positions[i].mean(0)
        forces[row, :n], real[row, :n] = targets.forces[i], True
        species[row, :n] = [elements.index(z) for z in targets.numbers[i].tolist()]
    return Batch(
        torch.tensor(positions, dtype=torch.float32),
        torch.tensor(forces, dtype=torch.float32),
        torch.tensor(energies[list(rows)], dtype=torch.float32),
        torch.from_numpy(species),
        torch.from_numpy(real),
    )
