"""Graphs of dimers and structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kstep_integrators.observables.networks.graphs import (
    Batch,
    DataLoader,
    dimer_graph,
    pairs_within,
    scatter,
    structure_graph,
)

RNG = np.random.default_rng(0)


def arguments(atoms: int = 3) -> dict[str, Any]:
    return {
        "numbers": [1] * atoms,
        "positions": RNG.normal(size=(atoms, 3)),
        "molecule": [0] + [1] * (atoms - 1),
        "populations": RNG.random((atoms, 3)),
        "orbital": RNG.random((atoms, 4)),
        "dipole": RNG.random(3),
        "quadrupole": RNG.random(6),
        "globals_": RNG.random(4),
    }


def test_a_batch_of_dimers_has_the_fields_of_each() -> None:
    one, other = arguments(3), arguments(2)
    graphs = [
        dimer_graph(**one, labels={"correction": 0.5}, dtype=torch.float64),
        dimer_graph(**other, labels={"correction": -1.0}, dtype=torch.float64),
    ]
    (batch,) = DataLoader(graphs, batch_size=2)
    assert batch.batch.tolist() == [0, 0, 0, 1, 1]
    assert batch.correction.tolist() == [0.5, -1.0]
    for name, key in [("pos", "positions"), ("populations", "populations"), ("orbital", "orbital")]:
        assert np.array_equal(batch[name], np.concatenate([one[key], other[key]])), name
    for name, key in [("dipole", "dipole"), ("quadrupole", "quadrupole"), ("globals", "globals_")]:
        assert np.array_equal(batch[name], np.stack([one[key], other[key]])), name


def test_a_batch_of_structures_counts_absorbers_on() -> None:
    graph = structure_graph([6, 8, 1], np.eye(3), [0, 2], {"spectrum": np.ones((2, 5))})
    batch = Batch.from_data_list([graph, graph])
    assert batch.absorber_index.tolist() == [0, 2, 3, 5]
    assert batch.spectrum.shape == (4, 5)
    assert batch.pos.dtype == torch.float32


def test_the_arrays_are_copied() -> None:
    places = np.eye(2, 3, dtype=np.float32)
    graph = structure_graph([6, 8], places, [0])
    places[:] = 7.0
    assert graph.pos.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("positions", np.eye(3)[:2], r"positions has shape \(2, 3\), expected \(3, 3\)"),
        ("numbers", [[1], [1], [1]], r"numbers has shape \(3, 1\), expected \(3,\)"),
        ("molecule", [0, 1, 2], r"molecule is \[0, 1, 2\], expected 0 or 1"),
        ("dipole", np.zeros(6), r"dipole has shape \(6,\), expected \(3,\)"),
        ("quadrupole", np.eye(3), r"quadrupole has shape \(3, 3\), expected \(6,\)"),
        ("globals_", [1.0], r"globals_ has shape \(1,\), expected \(4,\)"),
        ("labels", {"correction": [1.0]}, r"correction has shape \(1,\), expected \(\)"),
    ],
)
def test_other_dimers_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dimer_graph(**{**arguments(), name: value})


@pytest.mark.parametrize("absorbers", [[], [3], [-1]])
def test_absorbers_are_atoms(absorbers: list[int]) -> None:
    with pytest.raises(ValueError, match="expected indices from 0 to 2, one at least"):
        structure_graph([6, 8, 1], np.eye(3), absorbers)


def test_labels_of_absorbers_have_a_row_for_each() -> None:
    with pytest.raises(ValueError, match=r"spectrum has shape \(3, 5\), expected \(2, 5\)"):
        structure_graph([6, 8, 1], np.eye(3), [0, 1], {"spectrum": np.ones((3, 5))})


def test_pairs_are_those_of_all_distances() -> None:
    places = torch.from_numpy(RNG.normal(size=(11, 3)))
    batch = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2])
    near = torch.cdist(places, places) < 2.0
    near &= (batch[:, None] == batch) & ~torch.eye(11, dtype=torch.bool)
    receivers, senders = pairs_within(places, batch, 2.0)
    assert torch.equal(torch.stack([receivers, senders]), near.nonzero().T)
    assert 0 < len(receivers) < 42


def test_scatter_adds_averages_and_takes_the_largest() -> None:
    values, index = torch.tensor([1.0, 3.0, -2.0]), torch.tensor([0, 0, 2])
    assert scatter(values, index, 0, 4, "sum").tolist() == [4.0, 0.0, -2.0, 0.0]
    assert scatter(values, index, 0, 4, "mean").tolist() == [2.0, 0.0, -2.0, 0.0]
    assert scatter(values, index, 0, 4, "max")[0] == 3.0
