"""Windows of a dataset: the two ends of a jump of k base steps, and what the jump must add."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from kstep_integrators import units
from kstep_integrators.jumps.baseline import check_baseline
from kstep_training.dataset.batches import WindowBatch
from kstep_training.dataset.dataset_file import DatasetFile, open_dataset
from kstep_training.dataset.groups import AtomTable, Blocks, Ints
from kstep_training.dataset.increments import window_increments
from kstep_training.dataset.shard_reader import ShardReader
from kstep_training.dataset.statistics import window_starts

__all__ = ["NO_JUMPS_IN_CELLS", "WindowDataset", "check_isolated"]

NO_JUMPS_IN_CELLS = "a direct jump learns the motion of an isolated molecule as a whole"


def check_isolated(dataset: DatasetFile) -> None:
    """Refuse a dataset with periodic cells for direct jumps.

    Raises
    ------
    ValueError
        That names what is in cells.
    """
    if dataset.cells:
        raise ValueError(
            f"{dataset.folder} has trajectories in periodic cells ({', '.join(dataset.cells)}), "
            f"which have no windows: {NO_JUMPS_IN_CELLS}. Fit a potential (network.kind=flow), or "
            "make a dataset of the molecules alone"
        )


class WindowDataset(Dataset[WindowBatch]):
    """All windows of one part, read when asked for, by lists of numbers of one padded size.

    A window is a pair of frames of one segment. Increments are computed in float64 when it is read.
    With ``twins`` in the dataset's settings every window is there a second time, backwards: it
    starts at its end with the velocities reversed.

    Parameters
    ----------
    folder : path
        Made by ``kstep dataset``.
    part : str
        ``"train"``, ``"validation"`` or ``"test"``.
    baseline : str
        ``"verlet"`` or ``"plain"``.
    k : sequence of int
        Base steps of the windows; ``WindowBatch.k_index`` counts in this order.
    padding : sequence of int
        Atom counts to pad to.
    elements : sequence of int, optional
        Atomic numbers, in the order of the network's species; those of the dataset by default.

    Attributes
    ----------
    file : DatasetFile
    offsets : (n_groups + 1,) int
        First window of each padded size, and the number of windows.

    Raises
    ------
    ValueError
        If there are periodic cells, no such part or baseline, the dataset was made with other k,
        the part has no window of one of them, or a molecule has an element that is not listed or is
        larger than the largest padding.
    """

    def __init__(
        self,
        folder: str | Path,
        part: str,
        baseline: str,
        k: Sequence[int],
        padding: Sequence[int],
        elements: Sequence[int] | None = None,
    ) -> None:
        self.file = open_dataset(folder)
        check_isolated(self.file)
        check_baseline(baseline)
        unknown = sorted(set(k) - set(self.file.settings["k"]))
        if unknown or not k:
            raise ValueError(
                f"k is {list(k)}, but {folder} was made with {self.file.settings['k']}"
            )
        self._baseline, self._k = baseline, np.array(k, dtype=np.int64)
        self._table = AtomTable.of(self.file, part, padding, elements or self.file.elements)
        self._blocks = Blocks.of(self._rows(), n_columns=4)
        for index, steps in enumerate(k):
            if index not in self._blocks.columns[:, 2]:
                raise ValueError(
                    f"the part {part!r} of {folder} has no window of {steps} steps; its segments "
                    "are shorter, or not NVE"
                )
        self._reader = ShardReader(self.file)

    def _rows(self) -> list[list[int]]:
        sizes = self._table.padded[self._table.molecules]
        every, twins = self.file.settings["every"], self.file.settings["twins"]
        return [
            [sizes[shard], count, shard, segment[0], index, backwards]
            for shard in self._table.shards.tolist()
            for segment in self.file.shards[shard].segments
            for index, k in enumerate(self._k.tolist())
            if (count := len(window_starts(segment, k, every)))
            for backwards in ((0, 1) if twins else (0,))
        ]

    @property
    def offsets(self) -> Ints:
        """First window of each padded size, and the number of windows."""
        return self._blocks.offsets

    def __len__(self) -> int:
        return int(self._blocks.first[-1])

    def __getitem__(self, windows: Sequence[int] | Ints) -> WindowBatch:
        size, blocks, places = self._blocks.find(windows)
        shards, segment, index, backwards = self._blocks.columns[blocks].T
        starts = segment + self.file.settings["every"] * places
        pair = starts, starts + self._k[index]
        frames = np.concatenate([np.where(backwards, *pair[::-1]), np.where(backwards, *pair)])
        x, v, f = map(torch.from_numpy, self._reader.padded(np.tile(shards, 2), frames, size)[:3])
        v *= torch.from_numpy(np.where(np.tile(backwards, 2), -1.0, 1.0))[:, None, None]
        (x, x_end), (v, v_end), (f, f_end) = (part.tensor_split(2) for part in (x, v, f))
        molecules = self._table.molecules[shards]
        masses = torch.from_numpy(self._table.masses[molecules, :size])
        base = (self.file.timestep_fs or 0.0) * units.FS
        stride = torch.from_numpy(self._k[index] * base)[:, None, None]
        start, end = (x, v, f), (x_end, v_end, f_end)
        dx, dv = window_increments(self._baseline, start, end, masses, stride)
        return WindowBatch(
            positions=x.float(),
            velocities=v.float(),
            forces=f.float(),
            dx=dx.float(),
            dv=dv.float(),
            end_positions=x_end.float(),
            end_velocities=v_end.float(),
            end_forces=f_end.float(),
            species=torch.from_numpy(self._table.species[molecules, :size]),
            atom_mask=masses > 0.0,
            k_index=torch.from_numpy(index.copy()),
            molecule=torch.from_numpy(molecules),
        )
