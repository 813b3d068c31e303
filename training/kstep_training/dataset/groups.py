"""Numbering the items of a dataset: blocks of consecutive ones, in groups of one padded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kstep_training.dataset.batches import padded_size
from kstep_training.dataset.dataset_file import DatasetFile
from kstep_training.dataset.split import PARTS

__all__ = ["AtomTable", "Blocks"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """Runs of items, sorted by padded size, and those in periodic cells behind all others.

    Attributes
    ----------
    columns : (n_blocks, n_columns) int
        What describes each run: the shard first.
    sizes : (n_blocks,) int
        Atoms that each is padded to.
    in_cells : (n_blocks,) bool
    first : (n_blocks + 1,) int
        Number of the first item of each, and of all items.
    """

    columns: Ints
    sizes: Ints
    in_cells: npt.NDArray[np.bool_]
    first: Ints

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        n_columns: int,
        in_cells: Sequence[bool] | None = None,
    ) -> Blocks:
        """Make blocks from rows of size, number of items, and columns; none in cells by default."""
        table = np.array(rows, dtype=np.int64).reshape(-1, 2 + n_columns)
        cells = np.zeros(len(table), dtype=bool) if in_cells is None else np.array(in_cells, bool)
        order = np.lexsort((table[:, 0], cells))  # stable
        table, cells = table[order], cells[order]
        first = np.concatenate([[0], np.cumsum(table[:, 1])])
        return cls(table[:, 2:], table[:, 0], cells, first)

    @property
    def offsets(self) -> Ints:
        """First item of each group of one kind and size, and the number of items."""
        kinds = 2 * self.sizes + self.in_cells
        starts = np.flatnonzero(np.diff(kinds, prepend=-1))
        offsets: Ints = self.first[np.append(starts, len(self.sizes))]
        return offsets

    def find(self, items: Sequence[int] | Ints) -> tuple[int, Ints, Ints]:
        """Padded size, block of each item, and place of each in its block.

        Raises
        ------
        IndexError
            If an item does not exist.
        ValueError
            If the items are of different sizes, or some in cells and others not.
        """
        chosen = np.asarray(items, dtype=np.int64)
        if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= self.first[-1]:
            raise IndexError(f"items {chosen.tolist()}, expected some of 0 to {self.first[-1] - 1}")
        blocks = np.searchsorted(self.first, chosen, side="right") - 1
        sizes = self.sizes[blocks]
        if sizes.min() < sizes.max():
            raise ValueError(
                f"items of different padded sizes ({sizes.min()} and {sizes.max()} atoms) in one "
                "batch; take those between two offsets"
            )
        if self.in_cells[blocks].any() and not self.in_cells[blocks].all():
            raise ValueError(
                "items in periodic cells and others in one batch; take those between two offsets"
            )
        return int(sizes[0]), blocks, chosen - self.first[blocks]


@dataclass(frozen=True)
class AtomTable:
    """The molecules of one part of a dataset, padded to the widest of them.

    Attributes
    ----------
    shards : (n_shards,) int64
        Indices of the shards of the part.
    molecules : (all shards,) int64
        Molecule of each shard of the dataset.
    padded : (n_molecules,) int64
        Atoms that each is padded to; 0 for those of other parts.
    species : (n_molecules, widest) int64
        0 for padding atoms.
    masses : (n_molecules, widest) float64
        0 for padding atoms.
    """

    shards: Ints
    molecules: Ints
    padded: Ints
    species: Ints
    masses: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, dataset: DatasetFile, part: str, padding: Sequence[int], elements: Sequence[int]
    ) -> AtomTable:
        """Molecules as a network with these elements sees them.

        Raises
        ------
        ValueError
            If there is no such part, or a molecule of it has an element that is not listed or is
            larger than the largest padding.
        """
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, expected one of {list(PARTS)}")
        index = {molecule.name: i for i, molecule in enumerate(dataset.molecules)}
        chosen = [i for i, shard in enumerate(dataset.shards) if shard.part == part]
        padded = np.zeros(len(index), dtype=np.int64)
        species = np.zeros((len(index), max(padding)), dtype=np.int64)
        masses = np.zeros((len(index), max(padding)))
        for name in {dataset.shards[i].molecule for i in chosen}:
            molecule, row = dataset.molecule(name), index[name]
            unknown = sorted(set(molecule.numbers) - set(elements))
            if unknown:
                raise ValueError(
                    f"{name} has the atomic numbers {unknown}, which are not among the elements "
                    f"{list(elements)}"
                )
            n = len(molecule.numbers)
            padded[row] = padded_size(n, padding)
            species[row, :n] = [list(elements).index(z) for z in molecule.numbers]
            masses[row, :n] = molecule.masses
        of_shard = np.array([index[shard.molecule] for shard in dataset.shards], dtype=np.int64)
        return cls(np.array(chosen, dtype=np.int64), of_shard, padded, species, masses)
