"""Whole trajectories go to one part, kinds that are held out to none of the others."""

from __future__ import annotations

from typing import Any

import pytest

from kstep_training.observables.samples.split import SplitSettings, split_labels

TRAJECTORIES = {f"{kind}-{i}": kind for kind in ("A+A", "A+B", "B+B") for i in range(10)}


def test_parts_of_each_kind() -> None:
    settings = SplitSettings(validation_fraction=0.2, test_fraction=0.1, held_out=["B+B"])
    parts = split_labels(TRAJECTORIES, settings)
    assert parts.keys() == TRAJECTORIES.keys()
    for kind, expected in {
        "A+A": {"train": 7, "validation": 2, "test": 1},
        "A+B": {"train": 7, "validation": 2, "test": 1},
        "B+B": {"held_out": 10},
    }.items():
        of_kind = [parts[name] for name, its in TRAJECTORIES.items() if its == kind]
        assert {part: of_kind.count(part) for part in of_kind} == expected


def test_the_seed_decides_and_not_the_order() -> None:
    parts = split_labels(TRAJECTORIES, SplitSettings())
    assert split_labels(dict(reversed(TRAJECTORIES.items())), SplitSettings()) == parts
    assert split_labels(TRAJECTORIES, SplitSettings(seed=1)) != parts


def test_one_at_least() -> None:
    three = {f"{i}": "A" for i in range(3)}
    assert sorted(split_labels(three, SplitSettings()).values()) == ["test", "train", "validation"]
    none = SplitSettings(validation_fraction=0.0, test_fraction=0.0)
    assert set(split_labels(three, none).values()) == {"train"}


def test_too_few_trajectories() -> None:
    with pytest.raises(
        ValueError, match=r"A\+B has 2 trajectories, expected at least 3: 1 for validation, 1 for"
    ):
        split_labels({"1": "A+B", "2": "A+B"}, SplitSettings())


def test_kinds_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"held_out lists 'A\+C', .* did you mean 'A\+[AB]'"):
        split_labels(TRAJECTORIES, SplitSettings(held_out=["A+C"]))
    with pytest.raises(ValueError, match="held_out lists all kinds that there are"):
        split_labels(TRAJECTORIES, SplitSettings(held_out=["A+A", "A+B", "B+B"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_fraction": 1.0}, "test_fraction is 1.0, expected 0 <= test_fraction < 1"),
        ({"validation_fraction": -0.1}, "validation_fraction is -0.1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leaves nothing to train on"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitSettings(**settings)
