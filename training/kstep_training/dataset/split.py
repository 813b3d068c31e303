"""Parts of a dataset by the names of trajectories alone, so that adding data moves none.

Frames of one trajectory are correlated, so a part gets whole trajectories or whole molecules.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["PARTS", "part_of", "split"]

PARTS = ("train", "validation", "test")


def part_of(name: str, seed: int, validation: float, test: float) -> str:
    """The part that the hash of a name falls into.

    Parameters
    ----------
    name : str
    seed : int
    validation, test : float
        Fractions of the names that these parts get on average.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2.0**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split(
    trajectories: Mapping[str, str],
    by: str,
    fractions: tuple[float, float],
    lists: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> dict[str, str]:
    """The part of each trajectory.

    Parameters
    ----------
    trajectories : mapping of str to str
        Name of the trajectory to name of its molecule.
    by : str
        ``"molecule"`` or ``"trajectory"``.
    fractions : (float, float)
        Of validation and test. A part with a list gets its list only.
    lists : (sequence of str, sequence of str)
        Molecules of validation and test.
    seed : int

    Raises
    ------
    ValueError
        If a listed molecule does not exist or is in both lists, or no trajectory is left to train
        on.
    """
    validation, test = lists
    _check_lists(set(trajectories.values()), validation, test)
    hashed = tuple(0.0 if given else f for f, given in zip(fractions, lists, strict=True))
    parts = {}
    for trajectory, molecule in trajectories.items():
        if molecule in validation:
            parts[trajectory] = "validation"
        elif molecule in test:
            parts[trajectory] = "test"
        else:
            name = molecule if by == "molecule" else trajectory
            parts[trajectory] = part_of(name, seed, *hashed)
    if "train" not in parts.values():
        raise ValueError(
            f"no trajectory is left for training: all {len(parts)} are in validation or test; "
            "give more trajectories, smaller fractions or another seed"
        )
    return parts


def _check_lists(known: Iterable[str], validation: Sequence[str], test: Sequence[str]) -> None:
    known = sorted(known)
    for part, names in (("validation", validation), ("test", test)):
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise ValueError(
                    f"{part} lists {name!r}, but there is no trajectory of a molecule of that "
                    f"name; did you mean {near!r}?"
                )
    both = sorted(set(validation) & set(test))
    if both:
        raise ValueError(f"{both} are listed for validation and for test; choose one of them")
