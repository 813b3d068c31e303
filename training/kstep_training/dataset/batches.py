"""Padded batches of equal shape, and the order in which they come.

Frames are grouped by padded atom count; a batch never mixes groups, so that every batch of a group
has one shape, which the compiled network needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from kstep_integrators.nn.common.graph import Graph

__all__ = ["Batch", "BatchSampler", "WindowBatch", "padded_size"]


def padded_size(n_atoms: int, padding: Sequence[int]) -> int:
    """The smallest of the padding sizes that holds a molecule.

    Raises
    ------
    ValueError
        If none does.
    """
    fitting = [size for size in padding if size >= n_atoms]
    if not fitting:
        raise ValueError(f"a molecule of {n_atoms} atoms exceeds the padding sizes {list(padding)}")
    return min(fitting)


def _graph(species: Tensor, real: Tensor) -> Graph:
    others = ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    return Graph(species, real, real.unsqueeze(2) & real.unsqueeze(1) & others)


@dataclass(frozen=True)
class Batch:
    """B frames padded to N atoms.

    Attributes
    ----------
    positions, forces : (B, N, 3) angstrom, eV/angstrom, float32
    energies : (B,) eV, float32, element shifts subtracted
    species : (B, N) int64
    atom_mask : (B, N) bool
    neighbors : (B, N, K) int64, or None
        In periodic cells, the atom in each slot of a row of neighbours, within its frame.
    neighbor_mask : (B, N, K) bool, or None
        Slots that are not empty.
    offsets : (B, N, K, 3) angstrom, float32, or None
        Cell vectors to the image of that atom.
    """

    positions: Tensor
    forces: Tensor
    energies: Tensor
    species: Tensor
    atom_mask: Tensor
    neighbors: Tensor | None = None
    neighbor_mask: Tensor | None = None
    offsets: Tensor | None = None

    @property
    def graph(self) -> Graph:
        """The neighbour rows of the batch: dense ones in open space."""
        if self.neighbors is None or self.neighbor_mask is None:
            return _graph(self.species, self.atom_mask)
        frames, atoms = self.species.shape
        first = atoms * torch.arange(frames, device=self.species.device)
        index = self.neighbors + first[:, None, None]
        return Graph(self.species, self.atom_mask, self.neighbor_mask, index, self.offsets)

    def rows(self, frames: Tensor | slice) -> Batch:
        """Only some of the frames."""
        return self._each(lambda tensor: tensor[frames])

    def first(self, count: int) -> Batch:
        """Only the first frames."""
        return self.rows(slice(count))

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        known = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return Batch(**{name: change(tensor) for name, tensor in known.items()})


@dataclass(frozen=True)
class WindowBatch:
    """B windows padded to N atoms: where a jump starts, where it ends, and what it must add.

    Attributes
    ----------
    positions, velocities, forces : (B, N, 3) float32
        Start: angstrom about the centre of mass, angstrom / ASE time without net momentum,
        eV/angstrom.
    dx, dv : (B, N, 3) float32
        Increments beyond the baseline, angstrom and angstrom / ASE time.
    end_positions, end_velocities, end_forces : (B, N, 3) float32
    species : (B, N) int64
    atom_mask : (B, N) bool
    k_index : (B,) int64
        Index into the list k of the dataset that the batch comes from.
    molecule : (B,) int64
        Index into ``DatasetFile.molecules``.
    """

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    dx: Tensor
    dv: Tensor
    end_positions: Tensor
    end_velocities: Tensor
    end_forces: Tensor
    species: Tensor
    atom_mask: Tensor
    k_index: Tensor
    molecule: Tensor

    @property
    def graph(self) -> Graph:
        """The dense neighbour rows of the batch."""
        return _graph(self.species, self.atom_mask)

    def landing(self, dx: Tensor) -> Tensor:
        """Positions after a jump that adds ``dx`` (B, N, 3) to the baseline, angstrom."""
        return self.end_positions + (dx - self.dx)

    def first(self, count: int) -> WindowBatch:
        """Only the first windows."""
        return WindowBatch(**{key: tensor[:count] for key, tensor in vars(self).items()})

    def to(self, device: torch.device | str) -> WindowBatch:
        """The batch on another device."""
        return WindowBatch(**{key: tensor.to(device) for key, tensor in vars(self).items()})


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
    devices : int
        Processes that share the batches, each as many: with ``shuffle`` those that are left over
        wait for another epoch, without it the last round is filled up with the first ones.

    Attributes
    ----------
    batches : int
        Of all processes, without the last round's fill-up.

    Raises
    ------
    ValueError
        If there are fewer batches to shuffle than processes.
    """

    def __init__(
        self,
        offsets: np.ndarray,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        devices: int = 1,
    ) -> None:
        self.offsets, self.batch_size, self.seed, self.shuffle = offsets, batch_size, seed, shuffle
        self.devices = devices
        self.epoch = 0
        self.batches = int(sum(-(-size // batch_size) for size in np.diff(offsets)))
        if shuffle and self.batches < devices:
            raise ValueError(
                f"{self.batches} batches of {batch_size} are too few for {devices} devices; use "
                "smaller batches or fewer devices"
            )

    def counted(self, place: int) -> int:
        """Number of frames of a batch that are no fill-up, in the order without shuffling.

        Parameters
        ----------
        place : int
            Of the batch among those of all processes.
        """
        for size in np.diff(self.offsets).tolist():
            batches = -(-size // self.batch_size)
            if place < batches:
                return int(min(self.batch_size, size - place * self.batch_size))
            place -= batches
        return 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle; Lightning calls this at every epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        extra = 0 if self.shuffle else self.devices - 1
        return (self.batches + extra) // self.devices

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
        order = rng.permutation(len(batches)) if self.shuffle else np.arange(len(batches))
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        for i in np.resize(order, len(self) * self.devices)[rank :: self.devices]:
            yield batches[i]
