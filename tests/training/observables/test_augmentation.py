"""Turned graphs are the graphs of turned structures, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("torch_geometric")

from kstep_integrators.observables.networks.graphs import Batch, Data, dimer_graph
from kstep_training.observables.fit.augmentation import augmented, random_orientations, reoriented

RNG = np.random.default_rng(7)
SHAPES = (4, 7, 5)


def moments(positions: np.ndarray, charges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dipole and traceless quadrupole of point charges about the mean of their positions."""
    x = positions - positions.mean(0)
    tensor = 1.5 * np.einsum("n,ni,nj->ij", charges, x, x)
    tensor -= 0.5 * np.eye(3) * np.einsum("n,ni,ni->", charges, x, x)
    return charges @ x, tensor[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]


def graph(positions: np.ndarray, charges: np.ndarray) -> Data:
    count = len(positions)
    dipole, quadrupole = moments(positions, charges)
    molecule = np.arange(count) % 2
    populations = np.outer(charges, [1.0, 2.0, 3.0])
    return dimer_graph(
        np.full(count, 6),
        positions,
        molecule,
        populations,
        np.concatenate([charges[:, None], positions], axis=1),  # p functions along the positions
        dipole,
        quadrupole,
        [3.5, 0.2, 0.01, 1.9],
        dtype=torch.float64,
    )


@pytest.fixture
def structures() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(RNG.normal(size=(n, 3)), RNG.normal(size=n)) for n in SHAPES]


def test_turned_arrays_are_those_of_turned_structures(
    structures: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    turn = random_orientations(len(SHAPES), torch.Generator().manual_seed(3))
    batch = Batch.from_data_list([graph(*one) for one in structures])
    before = {key: batch[key].clone() for key in batch.to_dict()}
    turned = reoriented(batch, turn)
    expected = Batch.from_data_list(
        [graph(x @ its.numpy().T, q) for (x, q), its in zip(structures, turn, strict=True)]
    )
    for key in expected.to_dict():
        torch.testing.assert_close(turned[key], expected[key], rtol=0.0, atol=1e-12)
    assert all(torch.equal(batch[key], before[key]) for key in before)


def test_half_of_the_orientations_are_reflections() -> None:
    turn = random_orientations(2000, torch.Generator().manual_seed(0))
    share = float((torch.linalg.det(turn) < 0.0).double().mean())
    assert share == pytest.approx(0.5, abs=0.04)  # 3.6 standard errors
    assert float(turn.mean(0).abs().max()) < 0.05


def test_jitter_moves_positions_alone(structures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    batch = Batch.from_data_list([graph(*one) for one in structures] * 50)
    moved = augmented(batch, torch.Generator().manual_seed(0), jitter=0.02, rotate=False)
    assert float((moved.pos - batch.pos).std()) == pytest.approx(0.02, rel=0.05)
    assert all(torch.equal(moved[key], batch[key]) for key in batch.to_dict() if key != "pos")


def test_the_generator_decides(structures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    batch = Batch.from_data_list([graph(*one) for one in structures])
    made = [augmented(batch, torch.Generator().manual_seed(s), 0.02, True).pos for s in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_nothing_is_asked_for(structures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    batch = Batch.from_data_list([graph(*one) for one in structures])
    same = augmented(batch, torch.Generator().manual_seed(0), jitter=0.0, rotate=False)
    assert all(torch.equal(same[key], batch[key]) for key in batch.to_dict())
