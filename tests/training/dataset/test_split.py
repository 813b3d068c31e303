"""Parts of a dataset: reproducible, stable, and never shared."""

from __future__ import annotations

import hashlib

import pytest

from kstep_training.dataset.split import part_of, split

MOLECULES = [f"molecule{i}" for i in range(40)]
NAMES = {f"{m}.300K.{i}": m for m in MOLECULES for i in range(3)}
NONE: tuple[list[str], list[str]] = ([], [])


def test_by_hand() -> None:
    """The first eight bytes of SHA-256("3:water"), as a fraction of 2^64."""
    place = int(hashlib.sha256(b"3:water").hexdigest()[:16], 16) / 2**64
    assert part_of("water", 3, validation=0.0, test=place + 1e-6) == "test"
    assert part_of("water", 3, validation=1e-6, test=place) == "validation"
    assert part_of("water", 3, validation=place, test=0.0) == "train"


@pytest.mark.parametrize("by", ["molecule", "trajectory"])
def test_no_group_is_in_two_parts(by: str) -> None:
    parts = split(NAMES, by, (0.3, 0.2), NONE, seed=0)
    assert set(parts) == set(NAMES)
    assert set(parts.values()) == {"train", "validation", "test"}
    shared = [m for m in MOLECULES if len({parts[name] for name in NAMES if NAMES[name] == m}) > 1]
    assert bool(shared) == (by == "trajectory")


def test_fractions_on_average() -> None:
    names = {f"m{i}": f"m{i}" for i in range(4000)}
    parts = list(split(names, "molecule", (0.3, 0.1), NONE, seed=5).values())
    for part, expected in (("train", 0.6), ("validation", 0.3), ("test", 0.1)):
        sigma = (expected * (1 - expected) / 4000) ** 0.5
        assert parts.count(part) / 4000 == pytest.approx(expected, abs=3 * sigma)


@pytest.mark.parametrize("by", ["molecule", "trajectory"])
def test_more_data_move_nothing(by: str) -> None:
    few = dict(list(NAMES.items())[40:80])
    before, after = (split(names, by, (0.3, 0.2), NONE, seed=0) for names in (few, NAMES))
    assert before == {name: after[name] for name in few}
    assert split(few, by, (0.3, 0.2), NONE, seed=1) != before


def test_lists() -> None:
    lists = (["molecule1"], ["molecule2", "molecule3"])
    parts = split(NAMES, "trajectory", (0.5, 0.4), lists, seed=0)
    for name, molecule in NAMES.items():
        expected = {"molecule1": "validation", "molecule2": "test", "molecule3": "test"}
        assert parts[name] == expected.get(molecule, "train")
    # One list leaves the other part to its fraction.
    parts = split(NAMES, "molecule", (0.3, 0.4), ([], ["molecule2"]), seed=0)
    assert {NAMES[name] for name, part in parts.items() if part == "test"} == {"molecule2"}
    assert list(parts.values()).count("validation") > 3


def test_unknown_and_doubled_names() -> None:
    with pytest.raises(ValueError, match=r"test lists 'molecul3', .* did you mean 'molecule3'"):
        split(NAMES, "molecule", (0.1, 0.1), ([], ["molecul3"]), seed=0)
    with pytest.raises(ValueError, match=r"\['molecule4'\] are listed for validation and for test"):
        split(NAMES, "molecule", (0.1, 0.1), (["molecule4"], ["molecule4"]), seed=0)


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(ValueError, match="no trajectory is left for training: all 1 are in"):
        split({"a": "water"}, "molecule", (0.1, 0.1), (["water"], []), seed=0)
