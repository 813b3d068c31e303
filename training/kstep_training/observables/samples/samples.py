"""Labelled frames of all parts of a folder, as graphs and as columns of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from kstep_integrators.observables.networks.graphs import Data
from kstep_training.observables.samples.split import PARTS

__all__ = ["Samples", "by_part"]

Array = npt.NDArray[np.float64]

AnySamples = TypeVar("AnySamples", bound="Samples")


@dataclass(frozen=True)
class Samples:
    """Labelled frames, in the order of the folder.

    Attributes
    ----------
    graphs : tuple of torch_geometric.data.Data
        Of each frame, with its labels.
    trajectory, kind : (S,) str
        The trajectory of each frame, and its dimer or molecule.
    frame : (S,) int64
        Index in the trajectory.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> graph = structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])
    >>> names, kinds = np.array(["a", "b"]), np.array(["CO", "CO"])
    >>> samples = Samples((graph, graph), names, kinds, np.arange(2))
    >>> len(samples.chosen([1])), samples.elements
    (1, [6, 8])
    """

    graphs: tuple[Data, ...]
    trajectory: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    frame: npt.NDArray[np.int64]

    shared: ClassVar[tuple[str, ...]] = ()
    """Fields that are not of each frame."""

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers of all elements, ascending."""
        return sorted({int(z) for graph in self.graphs for z in graph.z})

    @property
    def trajectories(self) -> dict[str, str]:
        """Kinds of the trajectories by their names.

        Raises
        ------
        ValueError
            If a trajectory has two kinds: two trajectories of one name.
        """
        kinds: dict[str, str] = {}
        for name, kind in zip(self.trajectory.tolist(), self.kind.tolist(), strict=True):
            if kinds.setdefault(name, kind) != kind:
                raise ValueError(
                    f"trajectory {name!r} is of {kinds[name]} and of {kind}, expected a name of "
                    "its own for each trajectory; rename one and label it again"
                )
        return kinds

    def chosen(self: AnySamples, indices: Sequence[int] | npt.NDArray[Any]) -> AnySamples:
        """Some of the samples, in the order of their indices."""
        places = np.asarray(indices, dtype=np.int64)
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.shared:
                continue
            changed[field.name] = (
                tuple(value[i] for i in places) if isinstance(value, tuple) else value[places]
            )
        return dataclasses.replace(self, **changed)


def by_part(samples: AnySamples, parts: Mapping[str, str]) -> dict[str, AnySamples]:
    """The samples of each part that has some.

    Parameters
    ----------
    samples : Samples
    parts : mapping of str to str
        The part of each trajectory, of
        :func:`~kstep_training.observables.samples.split.split_labels`.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> graph = structure_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]], [0])
    >>> names, kinds = np.array(["a", "b"]), np.array(["CO", "CO"])
    >>> samples = Samples((graph, graph), names, kinds, np.arange(2))
    >>> list(by_part(samples, {"a": "test", "b": "train"}))
    ['train', 'test']
    """
    belongs = np.array([parts[name] for name in samples.trajectory.tolist()])
    return {
        part: samples.chosen(np.flatnonzero(belongs == part)) for part in PARTS if part in belongs
    }
