"""Structural losses against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kstep_integrators.diagnostics.geometry import bond_angles, bond_lengths, dihedral_angles
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.frames import FrameDataset
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.fit.structure_losses import (
    LEAST_STD,
    CoordinateTable,
    InternalCoordinates,
    structure_error,
    structure_penalty,
)
from kstep_training.trajectory import write_npz
from tests.training.trajectories import dynamics

DEGREE = math.pi / 180.0


def table(rows: list[list[tuple[list[int], float, float]]], size: int) -> CoordinateTable:
    """From (atoms, mean, std) of each coordinate of each molecule."""
    widest = max(len(row) for row in rows)
    padding = ([0] * size, 0.0, 1.0)
    full = [row + [padding] * (widest - len(row)) for row in rows]
    return CoordinateTable(
        atoms=torch.tensor([[c[0] for c in row] for row in full]),
        mean=torch.tensor([[c[1] for c in row] for row in full], dtype=torch.float64),
        std=torch.tensor([[c[2] for c in row] for row in full], dtype=torch.float64),
        mask=torch.tensor([[i < len(row) for i in range(widest)] for row in rows]),
    )


# A bent molecule of three atoms, about atom 0, and a chain of four with right angles.
COORDINATES = InternalCoordinates(
    bonds=table(
        [
            [([0, 1], 1.0, 0.02), ([0, 2], 1.0, 0.02)],
            [([0, 1], 1.0, 0.1), ([1, 2], 1.0, 0.1), ([2, 3], 1.0, 0.1)],
        ],
        2,
    ),
    angles=table(
        [
            [([1, 0, 2], 100 * DEGREE, 2 * DEGREE)],
            [([0, 1, 2], 90 * DEGREE, 1.0), ([1, 2, 3], 90 * DEGREE, 1.0)],
        ],
        3,
    ),
    dihedrals=table([[], [([0, 1, 2, 3], -90 * DEGREE, 5 * DEGREE)]], 4),
)
BENT = [[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
CHAIN = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
LANDING = torch.tensor([BENT, CHAIN], dtype=torch.float64)
MOLECULE = torch.tensor([0, 1])


def test_penalty() -> None:
    # Bonds: 1.1 is 5 standard deviations off, 2 beyond the tolerance of 3; one of five: 4 / 5.
    # Angles: 90 instead of 100 degrees is 5 standard deviations of 2 degrees; one of three: 4 / 3.
    # The dihedral: looking along the middle bond, +y, from x to z is anticlockwise, -90 degrees.
    result = structure_penalty(LANDING, MOLECULE, COORDINATES, 3.0)
    torch.testing.assert_close(result, torch.tensor([4 / 5, 4 / 3, 0.0], dtype=torch.float64))


def test_penalty_without_tolerance() -> None:
    result = structure_penalty(LANDING, MOLECULE, COORDINATES, 0.0)
    torch.testing.assert_close(result, torch.tensor([25 / 5, 25 / 3, 0.0], dtype=torch.float64))


def test_the_order_of_molecules_is_that_of_the_batch() -> None:
    swapped = structure_penalty(LANDING.flip(0), MOLECULE.flip(0), COORDINATES, 3.0)
    torch.testing.assert_close(swapped, structure_penalty(LANDING, MOLECULE, COORDINATES, 3.0))


def turned(degrees: float) -> torch.Tensor:
    """The chain with that dihedral."""
    chain = torch.tensor([CHAIN], dtype=torch.float64)
    angle = -degrees * DEGREE
    chain[0, 3] = chain.new_tensor([math.cos(angle), 1.0, math.sin(angle)])
    return chain


@pytest.mark.parametrize(
    ("degrees", "off"), [(-90, 0), (-80, 10), (100, 170), (90, 180), (80, 170)]
)
def test_dihedrals_are_periodic(degrees: float, off: float) -> None:
    result = structure_penalty(turned(degrees), torch.tensor([1]), COORDINATES, 1.0)[2]
    assert float(result) == pytest.approx(max(0.0, off / 5 - 1) ** 2, abs=1e-9)


def test_errors_of_dihedrals_across_the_cut() -> None:
    """179 and -179 degrees are two degrees apart: (2 / 5)^2."""
    result = structure_error(turned(-179), turned(179), torch.tensor([1]), COORDINATES)
    expected = torch.tensor([0.0, 0.0, 0.16], dtype=torch.float64)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=1e-9)


def test_error_compares_with_the_target() -> None:
    """Zero for a landing that is right, however unusual it is."""
    assert not structure_error(LANDING, LANDING, MOLECULE, COORDINATES).any()
    target = LANDING.clone()
    target[0, 1, 0] = 1.0
    # The bond is 0.1 too long, 5 standard deviations; one of five.
    result = structure_error(LANDING, target, MOLECULE, COORDINATES)
    torch.testing.assert_close(result, torch.tensor([5.0, 0.0, 0.0], dtype=torch.float64))


def test_gradients_are_those_of_the_differences() -> None:
    landing = LANDING + 0.05 * torch.sin(torch.arange(24.0, dtype=torch.float64)).reshape(2, 4, 3)
    landing.requires_grad_(True)

    def total(x: torch.Tensor) -> torch.Tensor:
        penalty = structure_penalty(x, MOLECULE, COORDINATES, 1.0)
        return penalty.sum() + structure_error(x, LANDING, MOLECULE, COORDINATES).sum()

    assert torch.autograd.gradcheck(total, (landing,))
    total(landing).backward()
    assert landing.grad is not None
    assert not landing.grad[0, 3].any()  # padding


def test_straight_angles_have_finite_gradients() -> None:
    straight = torch.tensor([[[0.0] * 3, [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]], requires_grad=True)
    structure_penalty(straight, torch.tensor([0]), COORDINATES, 1.0).sum().backward()
    assert straight.grad is not None
    assert straight.grad.isfinite().all()


def test_of_a_dataset(tmp_path: Path) -> None:
    """Over the frames the statistics come from, squares of deviations average to one."""
    for formula in ("H2O", "CH3OH", "C2H6"):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_npz(tmp_path / "in" / f"{formula}.npz", dynamics(formula, 30, timestep_fs=2.0))
    settings = DatasetSettings(k=[2], validation_fraction=0.0, test_fraction=0.0)
    make_dataset([tmp_path / "in"], tmp_path / "out", settings)
    dataset = open_dataset(tmp_path / "out")
    assert [m.name for m in dataset.molecules] == ["C2H6", "CH3OH", "H2O"]
    coordinates = InternalCoordinates.of(dataset)
    counts = [[int(n) for n in t.mask.sum(1)] for t in vars(coordinates).values()]
    # Ethane: 7 bonds, 6 + 6 angles, 9 dihedrals; methanol: 5, 6 + 1, 3; water: 2, 1, 0.
    assert counts == [[7, 5, 2], [12, 7, 1], [9, 3, 0]]
    frames = FrameDataset(tmp_path / "out", "train", [8])
    batch = frames[list(range(30))]  # the ethane
    molecule = torch.zeros(30, dtype=torch.int64)
    result = structure_penalty(batch.positions.double(), molecule, coordinates, 0.0)
    x = batch.positions.double().numpy()
    for value, (kind, own), measure in zip(
        result.tolist(),
        vars(coordinates).items(),
        (bond_lengths, bond_angles, dihedral_angles),
        strict=True,
    ):
        q = measure(x, own.atoms[0])
        mean, std = own.mean[0].numpy(), own.std[0].numpy()
        off = (q - mean + np.pi) % (2 * np.pi) - np.pi
        assert value == pytest.approx(float(((off / std) ** 2).mean()), rel=1e-6)
        assert value == pytest.approx(1.0, rel=0.02), kind
        assert (own.std[0] > LEAST_STD[kind]).all()
    water = structure_penalty(frames[[60]].positions, torch.tensor([2]), coordinates.to("cpu"), 0.0)
    assert float(water[2]) == 0.0
    assert coordinates.to("meta").bonds.mean.device.type == "meta"
