"""Labelled frames of a dataset for force matching, of molecules and of periodic cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from kstep_training.dataset.batches import Batch
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.groups import AtomTable, Blocks, Ints
from kstep_training.dataset.periodic_batches import in_cells
from kstep_training.dataset.shard_reader import ShardReader

__all__ = ["FrameDataset"]


class FrameDataset(Dataset[Batch]):
    """All frames of one part, read when asked for, by lists of numbers of one padded size.

    Parameters
    ----------
    folder : path
        Made by ``kstep dataset``.
    part : str
        ``"train"``, ``"validation"`` or ``"test"``.
    padding : sequence of int
        Atom counts to pad to.
    elements : sequence of int, optional
        Atomic numbers, in the order of the network's species; those of the dataset by default.
    shifts : sequence of float, optional
        eV per element, subtracted from the energies; those of the dataset by default.
    cutoff : float, optional
        Of the network, angstrom: up to it atoms in periodic cells have neighbours. Without it only
        isolated molecules are taken.

    Attributes
    ----------
    file : DatasetFile
    offsets : (n_groups + 1,) int
        Where each padded size starts, of molecules and then of cells.

    Raises
    ------
    ValueError
        If there is no such part or it is empty, there is not one shift for each element, a molecule
        has an element that is not listed or is larger than the largest padding, or some are in
        cells and there is no cutoff.
    """

    def __init__(
        self,
        folder: str | Path,
        part: str,
        padding: Sequence[int],
        elements: Sequence[int] | None = None,
        shifts: Sequence[float] | None = None,
        cutoff: float | None = None,
    ) -> None:
        self.file = open_dataset(folder)
        elements = self.file.elements if elements is None else elements
        shifts = self.file.statistics["shifts"] if shifts is None else shifts
        if len(shifts) != len(elements):
            raise ValueError(f"{len(shifts)} shifts are given for {len(elements)} elements")
        self._table = AtomTable.of(self.file, part, padding, elements)
        real = self._table.masses > 0.0
        self._shifts = np.where(real, np.array(shifts)[self._table.species], 0.0).sum(1)
        sizes = self._table.padded[self._table.molecules]
        self._pbc = [molecule.pbc for molecule in self.file.molecules]
        cells = [any(self._pbc[self._table.molecules[i]]) for i in self._table.shards]
        if any(cells) and cutoff is None:
            raise ValueError(
                f"the part {part!r} of {folder} has frames in periodic cells, whose neighbours are "
                "those within the cutoff of a network; give cutoff="
            )
        self._cutoff = cutoff
        self._blocks = Blocks.of(
            [[sizes[i], self.file.shards[i].frames, i] for i in self._table.shards], 1, cells
        )
        if not len(self):
            raise ValueError(f"the part {part!r} of {folder} has no frame")
        self._reader = ShardReader(self.file)

    @property
    def offsets(self) -> Ints:
        """First frame of each padded size, and the number of frames."""
        return self._blocks.offsets

    def __len__(self) -> int:
        return int(self._blocks.first[-1])

    def __getitem__(self, frames: Sequence[int] | Ints) -> Batch:
        size, blocks, places = self._blocks.find(frames)
        shards = self._blocks.columns[blocks, 0]
        molecules = self._table.molecules[shards]
        x, _, f, energies = self._reader.padded(shards, places, size)
        batch = Batch(
            positions=torch.tensor(x, dtype=torch.float32),
            forces=torch.tensor(f, dtype=torch.float32),
            energies=torch.tensor(energies - self._shifts[molecules], dtype=torch.float32),
            species=torch.from_numpy(self._table.species[molecules, :size]),
            atom_mask=torch.from_numpy(self._table.masses[molecules, :size] > 0.0),
        )
        if self._cutoff is None or not self._blocks.in_cells[blocks[0]]:
            return batch
        pbc = [self._pbc[molecule] for molecule in molecules]
        return in_cells(batch, self._reader.cells(shards, places), pbc, self._cutoff)
