"""Recordings of work on a GPU as CUDA graphs, some of which a process keeps."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import torch

__all__ = ["Recordings"]

KEPT = 32
"""Recordings in one process; the oldest go when there are more."""
WARM_UP = 3
"""Runs before a recording, in which libraries choose their kernels and allocate."""

_in_order: deque[tuple[weakref.ref[Recordings], Hashable]] = deque()


class Recordings:
    """Functions on a device, recorded as CUDA graphs; on devices that record nothing, as they are.

    A function must read and write memory that stays, have the same shapes each time, and ask for no
    number on the host. Recordings of one object share their memory, so that they must not run at
    the same time.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._known: dict[Hashable, Callable[[], None]] = {}
        self._pool: Any = None

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Hashable, function: Callable[[], None]) -> Callable[[], None]:
        """Give the recording of a name, or make it of a function, which then runs a few times.

        Raises
        ------
        RuntimeError
            If it cannot be recorded.
        """
        if key not in self._known:
            self._known[key] = self._record(function)
            _in_order.append((weakref.ref(self), key))
            _make_room()
        return self._known[key]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known

    def drop(self, key: Hashable) -> None:
        """Forget one."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._known.clear()

    def _record(self, function: Callable[[], None]) -> Callable[[], None]:
        if self.device.type != "cuda":
            return function
        with torch.cuda.device(self.device):
            if not self._known:  # the memory of recordings that are gone cannot be taken up again
                self._pool = torch.cuda.graph_pool_handle()
            # Warmed up on the stream that is recorded, one for all: libraries keep workspaces for
            # each stream that they have seen.
            stream, current = _stream(torch.cuda.current_device()), torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    function()
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # A recording that fails leaves its stream as the current one: the outer context does
            # not. Other threads, with physics on the same GPU, may allocate meanwhile.
            with (
                torch.cuda.stream(current),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
                ),
            ):
                function()
        return graph.replay


@functools.cache
def _stream(device: int) -> torch.cuda.Stream:
    """The stream of all recordings on a device."""
    return torch.cuda.Stream(device)


def _make_room() -> None:
    """Drop the oldest recordings of the process as long as there are too many."""
    alive = []
    for reference, key in _in_order:
        holder = reference()
        if holder is not None and key in holder:
            alive.append((holder, key))
    for holder, key in alive[:-KEPT]:
        holder.drop(key)
    _in_order.clear()
    _in_order.extend((weakref.ref(holder), key) for holder, key in alive[-KEPT:])
