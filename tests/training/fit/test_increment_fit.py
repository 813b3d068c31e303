"""The loss and the errors of increments, against numbers worked out apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kstep_integrators.nn.increments.network import Increments
from kstep_training.dataset.batches import WindowBatch
from kstep_training.dataset.dataset_file import open_dataset
from kstep_training.dataset.windows import WindowDataset
from kstep_training.fit.increment_fit import IncrementFit
from kstep_training.fit.settings import FitSettings, FitStage, NetworkSettings
from kstep_training.fit.starting_point import starting_network
from kstep_training.fit.structure_losses import InternalCoordinates


class Fixed(IncrementFit):
    """Predicts the same increments whatever the batch."""

    predicted: Increments
    logged: dict[str, float]

    def predict(self, batch: WindowBatch) -> Increments:
        return self.predicted

    def log(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        self.logged = {name: float(value)}

    def counted(self, index: int) -> int:
        return len(self.predicted.positions)

    def add(self, **parts: Tensor | int) -> None:
        self._sums = {key: torch.as_tensor(value).double() for key, value in parts.items()}


@pytest.fixture(scope="module")
def batch(spring_data: Path) -> WindowBatch:
    """Water and ammonia, both strides."""
    windows = WindowDataset(spring_data, "train", "verlet", [4, 8], [4, 6])
    return windows[[0, 1, 12, 40]]


def fixed(spring_data: Path, predicted: Increments, **settings: Any) -> Fixed:
    data = open_dataset(spring_data)
    sizes = NetworkSettings(
        kind="direct", channels=8, layers=1, radial=4, force_head=predicted.forces is not None
    )
    network, _ = starting_network(FitStage(network=sizes), data)
    fit = Fixed(network, FitSettings(**settings), 1, InternalCoordinates.of(data))  # type: ignore[arg-type]
    fit.predicted = predicted
    return fit


def loss(fit: Fixed, batch: WindowBatch) -> float:
    value = float(fit.training_step(batch, 0))
    assert fit.logged == {"train_loss": value}
    return value


def deviations(spring_data: Path, batch: WindowBatch) -> Tensor:
    """dx and dv over their scales, (2, real components), float64, from the dataset's table."""
    scales = torch.tensor(open_dataset(spring_data).scales("verlet", [4, 8]))
    result = []
    for kind, target in enumerate((batch.dx, batch.dv)):
        rows = [
            target[b, a].double() / scales[batch.k_index[b], batch.species[b, a], kind]
            for b in range(len(target))
            for a in range(target.shape[1])
            if batch.atom_mask[b, a]
        ]
        result.append(torch.stack(rows).flatten())
    return torch.stack(result)


def test_the_loss_of_no_increments(spring_data: Path, batch: WindowBatch) -> None:
    nothing = Increments(torch.zeros_like(batch.dx), torch.zeros_like(batch.dv), None)
    fit = fixed(spring_data, nothing, increment_delta=100.0)
    z = deviations(spring_data, batch)
    assert loss(fit, batch) == pytest.approx(float(z.square().mean(1).sum()), rel=1e-5)
    # With delta: quadratic below, linear beyond.
    delta = 0.5
    huber = torch.where(z.abs() < delta, z.square(), delta * (2 * z.abs() - delta))
    assert float((z.abs() > delta).double().mean()) > 0.1
    linear = fixed(spring_data, nothing, increment_delta=delta)
    assert loss(linear, batch) == pytest.approx(float(huber.mean(1).sum()), rel=1e-5)


def test_true_increments_cost_nothing(spring_data: Path, batch: WindowBatch) -> None:
    true = Increments(batch.dx, batch.dv, batch.end_forces)
    assert loss(fixed(spring_data, true), batch) == 0.0
    strict = fixed(spring_data, true, structure_weight=1.0)
    assert loss(strict, batch) == pytest.approx(0.0, abs=1e-9)


def test_the_force_head(spring_data: Path, batch: WindowBatch) -> None:
    off = Increments(batch.dx, batch.dv, batch.end_forces + 0.1)
    assert loss(fixed(spring_data, off, force_weight=3.0), batch) == pytest.approx(0.03, rel=1e-4)
    fit = fixed(spring_data, off)
    fit.validation_step(batch, 0)
    errors = fit.errors({key: float(value) for key, value in fit._sums.items()})
    assert errors["val_force_rms"] == pytest.approx(100.0, rel=1e-4)
    assert errors["val_increment"] == 0.0


def test_structure_counts_if_it_is_asked_for(spring_data: Path, batch: WindowBatch) -> None:
    """A molecule blown up by a tenth: every bond is off, and far from equilibrium."""
    blown = Increments(batch.dx + 0.1 * batch.end_positions, batch.dv, None)
    plain = loss(fixed(spring_data, blown), batch)
    for name in ("structure_weight", "penalty_weight"):
        once, twice = (
            loss(fixed(spring_data, blown, **{name: weight}), batch) - plain
            for weight in (1.0, 2.0)
        )
        assert once > 0.1
        assert twice == pytest.approx(2.0 * once, rel=1e-4)


def test_errors_are_relative_to_no_increments(spring_data: Path, batch: WindowBatch) -> None:
    for factor in (0.0, 0.5, 3.0):
        part = Increments(factor * batch.dx, factor * batch.dv, None)
        fit = fixed(spring_data, part)
        fit.validation_step(batch, 0)
        errors = fit.errors({key: float(value) for key, value in fit._sums.items()})
        assert set(errors) == {
            "val_dx_k4", "val_dv_k4", "val_dx_k8", "val_dv_k8", "val_increment",
        }  # fmt: skip
        for value in errors.values():
            assert value == pytest.approx(abs(1.0 - factor), rel=1e-5)


def test_rotations_depend_on_the_place_only(spring_data: Path, batch: WindowBatch) -> None:
    nothing = Increments(torch.zeros_like(batch.dx), torch.zeros_like(batch.dv), None)
    fit = fixed(spring_data, nothing, augmentation="graph")
    first = fit.augmented(batch, 0)
    torch.rand(7)
    assert torch.equal(fit.augmented(batch, 0).positions, first.positions)
    assert not torch.allclose(fit.augmented(batch, 1).positions, first.positions)
    assert not torch.allclose(first.positions, batch.positions)
    other = fixed(spring_data, nothing, augmentation="graph", seed=1)
    assert not torch.allclose(other.augmented(batch, 0).positions, first.positions)
    still = fixed(spring_data, nothing)
    assert still.augmented(batch, 0) is batch
