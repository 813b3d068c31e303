"""The last few evaluations, found again by their geometry."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from kstep_integrators.fields import derived
from kstep_integrators.state import PhaseState

__all__ = ["EvaluationStore", "box_of", "geometry", "geometry_of"]

V = TypeVar("V")


def geometry(state: PhaseState) -> bytes:
    """The key of a geometry: positions, cell and periodicity, to the last bit.

    All else that an evaluation depends on is fixed for the life of a store.
    """
    box: bytes = derived(state, "box", box_of, lasting=True)
    return state.positions.detach().cpu().numpy().tobytes() + box


def geometry_of(
    positions: npt.NDArray[Any], cell: npt.NDArray[Any], pbc: tuple[bool, ...]
) -> bytes:
    """The key of positions (N, 3), a cell (3, 3) and its periodic directions."""
    return positions.tobytes() + cell.tobytes() + bytes(pbc)


def box_of(state: PhaseState) -> bytes:
    """Cell and periodicity, to the last bit."""
    return state.cell.detach().cpu().numpy().tobytes() + bytes(state.pbc)


class EvaluationStore(Generic[V]):
    """Evaluations of the last few geometries of one system by one method.

    Parameters
    ----------
    size : int
        A run needs two: the state it stands on and the trial it may take back.
    """

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self._kept: OrderedDict[bytes, V] = OrderedDict()

    def get(self, key: bytes) -> V | None:
        """The evaluation there, if it is one of the last."""
        return self._kept.get(key)

    def put(self, key: bytes, value: V) -> None:
        """Keep it as the youngest and drop the oldest beyond the size."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)

    def items(self) -> list[tuple[bytes, V]]:
        """All, the oldest first."""
        return list(self._kept.items())
