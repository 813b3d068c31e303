"""Labelled frames as padded batches of equal shape.

Frames are grouped by padded atom count; a batch never mixes groups, so that every batch of a group
has one shape, which the compiled network needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from kstep_integrators.nn.graph import Graph
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


@dataclass(frozen=True)
class Batch:
    """B frames padded to N atoms.

    Attributes
    ----------
    positions, forces : (B, N, 3) angstrom, eV/angstrom, float32
    energies : (B,) eV, float32, element shifts subtracted
    species : (B, N) int64
    atom_mask : (B, N) bool
    """

    positions: Tensor
    forces: Tensor
    energies: Tensor
    species: Tensor
    atom_mask: Tensor

    @property
    def graph(self) -> Graph:
        """The dense neighbour rows of the batch."""
        real = self.atom_mask
        others = ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
        return Graph(self.species, real, real.unsqueeze(2) & real.unsqueeze(1) & others)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return Batch(**{key: tensor.to(device) for key, tensor in vars(self).items()})


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


class BatchSampler(Sampler[list[int]]):
    """Batches of equal size within each padding group, shuffled anew, reproducibly, every epoch.

    Parameters
    ----------
    offsets : (n_groups + 1,) int
        Where each group of the data set starts.
    batch_size : int
        A short last batch is filled up with frames of its group drawn again.
    seed : int
    shuffle : bool
        Without it, frames come in order and the fill-up repeats the first ones.
    """

    def __init__(
        self, offsets: np.ndarray, batch_size: int, seed: int, shuffle: bool = True
    ) -> None:
        self.offsets, self.batch_size, self.seed, self.shuffle = offsets, batch_size, seed, shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle; Lightning calls this at every epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return int(sum(-(-size // self.batch_size) for size in np.diff(self.offsets)))

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, which looks at the epoch when the first batch is asked for: resuming,
        # Lightning calls iter() before set_epoch().
        rng = np.random.default_rng([self.seed, self.epoch])
        batches: list[list[int]] = []
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            frames = np.arange(start, stop)
            if self.shuffle:
                rng.shuffle(frames)
            frames = np.resize(frames, -(-len(frames) // self.batch_size) * self.batch_size)
            batches += frames.reshape(-1, self.batch_size).tolist()
        order = rng.permutation(len(batches)) if self.shuffle else range(len(batches))
        for i in order:
            yield batches[i]
