"""Labelled frames as padded batches of equal shape.

Frames are grouped by padded atom count; a batch never mixes groups, so that every batch of a group
has one shape, which the compiled network needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor
from torch.utils.data import Dataset

from kstep_training.batches import Batch, BatchSampler
from kstep_training.trajectory import Trajectory, read_npz

__all__ = [
    "Batch",
    "BatchSampler",
    "FrameDataset",
    "closest_approach",
    "content_hash",
    "element_shifts",
    "load_folder",
]


def load_folder(folder: str | Path) -> dict[str, Trajectory]:
    """All shards of a data folder by molecule name, sorted.

    Raises
    ------
    FileNotFoundError
        If the folder holds no shard.
    """
    paths = sorted(Path(folder).glob("*.npz"))
    if not paths:
        raise FileNotFoundError(
            f"no trajectory shards (*.npz) in {folder}; run the data stage first"
        )
    return {path.stem: read_npz(path) for path in paths}


def content_hash(trajectories: dict[str, Trajectory]) -> str:
    """SHA-256 over names, atomic numbers, positions and forces: the identity of a data set."""
    digest = hashlib.sha256()
    for name, trajectory in sorted(trajectories.items()):
        digest.update(name.encode())
        for array in (trajectory.numbers, trajectory.positions, trajectory.forces):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def element_shifts(trajectories: Sequence[Trajectory], elements: Sequence[int]) -> list[float]:
    """Least-squares energy per element (eV) over the mean energies of the molecules."""
    counts = np.array([[np.sum(t.numbers == z) for z in elements] for t in trajectories], float)
    means = np.array([t.energies[t.has_label].mean() for t in trajectories])
    solution, *_ = np.linalg.lstsq(counts, means, rcond=None)
    return [float(value) for value in solution]


def closest_approach(
    trajectories: Sequence[Trajectory], elements: Sequence[int]
) -> list[list[float]]:
    """Shortest distance of each pair of elements in the labelled frames, angstrom.

    Pairs that never occur get the sum of their covalent radii.
    """
    radii = covalent_radii[list(elements)]
    nearest = np.full((len(elements), len(elements)), np.inf)
    for trajectory in trajectories:
        kind = np.array([list(elements).index(z) for z in trajectory.numbers])
        x = trajectory.positions[trajectory.has_label]
        for i, j in zip(*np.triu_indices(len(kind), 1), strict=True):
            shortest = np.linalg.norm(x[:, i] - x[:, j], axis=1).min(initial=np.inf)
            a, b = kind[i], kind[j]
            nearest[a, b] = nearest[b, a] = min(nearest[a, b], shortest)
    bonds = radii[:, None] + radii[None, :]
    filled = np.where(np.isfinite(nearest), nearest, bonds)
    return [[float(d) for d in row] for row in filled]


class FrameDataset(Dataset[Batch]):
    """Labelled frames in memory, indexed by lists of frame numbers of one padding group.

    Parameters
    ----------
    trajectories : sequence of Trajectory
    elements : sequence of int
        Atomic numbers, in the order of the network's species.
    shifts : sequence of float
        eV per element, subtracted from the energies.
    padding : sequence of int
        Atom counts to pad to.

    Raises
    ------
    ValueError
        If a molecule has an element that is not listed or is larger than the largest padding.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        elements: Sequence[int],
        shifts: Sequence[float],
        padding: Sequence[int],
    ) -> None:
        parts: dict[int, list[tuple[Tensor, ...]]] = {}
        for trajectory in trajectories:
            n = len(trajectory.numbers)
            unknown = sorted(set(trajectory.numbers.tolist()) - set(elements))
            if unknown:
                raise ValueError(f"atomic numbers {unknown} are not among the elements {elements}")
            fitting = [size for size in padding if size >= n]
            if not fitting:
                raise ValueError(
                    f"a molecule of {n} atoms exceeds the padding sizes {list(padding)}"
                )
            size = min(fitting)
            keep = trajectory.has_label
            species = np.array([list(elements).index(z) for z in trajectory.numbers])
            centred = trajectory.positions[keep]
            centred = centred - centred.mean(axis=1, keepdims=True)
            energies = trajectory.energies[keep] - np.asarray(shifts)[species].sum()
            count, extra = int(keep.sum()), size - n
            wide = ((0, 0), (0, extra), (0, 0))
            parts.setdefault(size, []).append(
                (
                    torch.tensor(np.pad(centred, wide), dtype=torch.float32),
                    torch.tensor(np.pad(trajectory.forces[keep], wide), dtype=torch.float32),
                    torch.tensor(energies, dtype=torch.float32),
                    torch.tensor(np.pad(species, (0, extra))).expand(count, size),
                    (torch.arange(size) < n).expand(count, size),
                )
            )
        self.groups: list[tuple[Tensor, ...]] = [
            tuple(torch.cat(column) for column in zip(*parts[size], strict=True))
            for size in sorted(parts)
        ]
        self.offsets = np.cumsum([0] + [len(group[0]) for group in self.groups])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, frames: Sequence[int] | np.ndarray) -> Batch:
        chosen = np.asarray(frames)
        group = int(np.searchsorted(self.offsets, chosen[0], side="right")) - 1
        rows = torch.as_tensor(chosen - self.offsets[group])
        return Batch(*(tensor[rows] for tensor in self.groups[group]))
