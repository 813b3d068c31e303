"""Rows of shards through memory maps: only the pages that a batch needs are read."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from kstep_training.dataset.dataset_file import DatasetFile
from kstep_training.dataset.segments import row_type

__all__ = ["ShardReader"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_OPEN = 256
"""Maps kept open; each holds a file descriptor."""


class ShardReader:
    """Reads rows of a dataset's shards.

    Parameters
    ----------
    dataset : DatasetFile
    """

    def __init__(self, dataset: DatasetFile) -> None:
        self.dataset = dataset
        self._open: OrderedDict[int, npt.NDArray[np.void]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # Maps are opened again in the worker process: pickled, they would be copied as a whole.
        return {**vars(self), "_open": OrderedDict()}

    def padded(self, shards: Ints, frames: Ints, width: int) -> tuple[Array, Array, Array, Array]:
        """Some frames, padded with zeros.

        Parameters
        ----------
        shards : (n,) int
            Indices into ``DatasetFile.shards``.
        frames : (n,) int
        width : int
            Atoms to pad to.

        Returns
        -------
        positions, velocities, forces : (n, width, 3)
        energies : (n,)

        Raises
        ------
        ValueError
            If a file is not the array that dataset.json describes.
        """
        x, v, f = np.zeros((3, len(shards), width, 3))
        energies = np.empty(len(shards))
        for shard in np.unique(shards).tolist():
            here = np.flatnonzero(shards == shard)
            rows = self._map(shard)[frames[here]]
            n = rows["positions"].shape[1]
            x[here, :n], v[here, :n] = rows["positions"], rows["velocities"]
            f[here, :n], energies[here] = rows["forces"], rows["energy"]
        return x, v, f, energies

    def cells(self, shards: Ints, frames: Ints) -> Array:
        """Cells (n, 3, 3) of some frames of periodic shards, angstrom.

        Parameters and errors are those of :meth:`padded`.
        """
        found = [self._map(s)[f]["cell"] for s, f in zip(shards.tolist(), frames, strict=True)]
        return np.array(found)

    def _map(self, shard: int) -> npt.NDArray[np.void]:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        described = self.dataset.shards[shard]
        path = self.dataset.path(described)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        molecule = self.dataset.molecule(described.molecule)
        n_atoms = len(molecule.numbers)
        if array.dtype != row_type(n_atoms, molecule.in_cell) or array.shape != (described.frames,):
            raise ValueError(
                f"{path} does not hold {described.frames} frames of {n_atoms} atoms; remove it and "
                "run kstep dataset again"
            )
        # Not the map itself, whose indexing makes a map of every result.
        self._open[shard] = array.view(np.ndarray)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return self._open[shard]
