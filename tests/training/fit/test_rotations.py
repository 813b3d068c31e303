"""Rotations: that they are rotations, of every direction, of every vector of a batch."""

from __future__ import annotations

import pytest
import torch

from kstep_training.dataset.batches import Batch, WindowBatch
from kstep_training.fit.rotations import random_rotations, rotated


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows() -> WindowBatch:
    """Three windows of four atoms, in float64."""
    names = ("positions", "velocities", "forces", "dx", "dv")
    names = (*names, "end_positions", "end_velocities", "end_forces")
    draws = torch.randn(8, 3, 4, 3, generator=generator(5), dtype=torch.float64)
    draws[:, 0, 3] = 0.0  # a padding atom
    return WindowBatch(
        **dict(zip(names, draws, strict=True)),
        species=torch.zeros(3, 4, dtype=torch.int64),
        atom_mask=torch.ones(3, 4, dtype=torch.bool),
        k_index=torch.tensor([0, 1, 0]),
        molecule=torch.tensor([2, 0, 1]),
    )


def test_they_are_rotations() -> None:
    turns = random_rotations(200, generator())
    identity = torch.eye(3, dtype=torch.float64).expand(200, 3, 3)
    torch.testing.assert_close(turns @ turns.transpose(1, 2), identity, atol=1e-14, rtol=0.0)
    # No reflections: the determinant is +1, never -1.
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(200, dtype=torch.float64))


def test_they_are_uniform() -> None:
    n = 20_000
    turns = random_rotations(n, generator(1))
    # An entry of a uniform rotation has mean 0 and mean square 1/3, and its fourth power 1/5.
    assert float(turns.mean(0).abs().max()) < 3.5 / (3 * n) ** 0.5
    deviation = (1 / 5 - 1 / 9) ** 0.5
    assert float((turns.square().mean(0) - 1 / 3).abs().max()) < 3.5 * deviation / n**0.5
    # The trace, 1 + 2 cos(angle), is 0 on average and 1 on average squared.
    trace = turns.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(float(trace.mean())) < 3 / n**0.5
    assert float(trace.square().mean()) == pytest.approx(1.0, abs=3 * 2**0.5 / n**0.5)


def test_a_rotation_by_its_quaternion() -> None:
    """The same rotation by cross products."""

    result = random_rotations(1, generator(3))[0]
    q = torch.randn(4, generator=generator(3), dtype=torch.float64)
    w, v = q[0] / q.norm(), q[1:] / q.norm()
    x = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    # Rodrigues' form: x + 2 w (v x x) + 2 v x (v x x).
    across = torch.linalg.cross(v, x)
    torch.testing.assert_close(result @ x, x + 2 * w * across + 2 * torch.linalg.cross(v, across))


@pytest.mark.parametrize("per", ["batch", "graph"])
def test_every_vector_of_a_window_turns_with_its_molecule(per: str) -> None:
    before = windows()
    after = rotated(before, generator(2), per)
    turns = random_rotations(3 if per == "graph" else 1, generator(2)).expand(3, 3, 3)
    assert len({tuple(turn.flatten().tolist()) for turn in turns}) == (3 if per == "graph" else 1)
    turned = 0
    for name, tensor in vars(before).items():
        if tensor.ndim == 3:
            turned += 1
            expected = torch.stack([x @ turn.T for x, turn in zip(tensor, turns, strict=True)])
            torch.testing.assert_close(getattr(after, name), expected)
            assert not torch.equal(getattr(after, name), tensor)
        else:
            assert torch.equal(getattr(after, name), tensor)
    assert turned == 8
    assert not after.positions[0, 3].any()


def test_batches_for_force_matching() -> None:
    x = torch.randn(2, 4, 3, generator=generator(4))
    mask = torch.ones(2, 4, dtype=torch.bool)
    batch = Batch(x, 2 * x, torch.tensor([1.0, 2.0]), torch.zeros(2, 4, dtype=torch.int64), mask)
    after = rotated(batch, generator(6), "graph")
    torch.testing.assert_close(after.forces, 2 * after.positions)
    torch.testing.assert_close(torch.cdist(after.positions, after.positions), torch.cdist(x, x))
    assert torch.equal(after.energies, batch.energies)
    assert after.positions.dtype == torch.float32


def test_other_words() -> None:
    with pytest.raises(ValueError, match="rotations are per 'atom', expected 'batch' or 'graph'"):
        rotated(windows(), generator(), "atom")
