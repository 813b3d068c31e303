"""The stride is picked in a burn-in by what it reaches for one evaluation, and then kept."""

import pytest
import torch

from kstep_integrators.metropolis import Verdict
from kstep_integrators.tuning import StrideTuning, begin


def verdict(*chances):
    found = torch.tensor(chances)
    return Verdict(found, torch.zeros(len(chances), dtype=torch.float64), int(found.max()))


def test_candidates_take_turns_and_the_farthest_reach_wins():
    burn_in = begin(StrideTuning((10, 100, 1000), jumps=2))
    strides = []
    # 10 is always accepted, 100 at its second chance or not at all, 1000 never
    outcomes = [(1, 1), (2, 2), (0, 4), (1, 1), (0, 4), (0, 4)]
    for accepted_at, evaluations in outcomes:
        assert not burn_in.over
        strides.append(burn_in.k)
        burn_in = burn_in.add(verdict(accepted_at), evaluations)
    assert strides == [10, 100, 1000, 10, 100, 1000]
    assert burn_in.over
    assert burn_in.reach == (10.0, 200 / 6, 0.0)
    assert burn_in.best == 100


def test_molecules_of_a_batch_count_together():
    burn_in = begin(StrideTuning((10, 20), jumps=1)).add(verdict(1, 0, 2), 7)
    assert burn_in.reach == (30 / 7, 0.0)


def test_if_nothing_was_accepted_the_shortest_is_taken():
    burn_in = begin(StrideTuning((40, 20), jumps=1))
    for _ in range(2):
        burn_in = burn_in.add(verdict(0), 4)
    assert burn_in.best == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10,),), r"candidates are \(10,\), expected at least two"),
        (((10, 10),), "expected at least two different"),
        (((10, 0),), "candidates has 0, expected integers >= 1"),
        (((10, 2.5),), "candidates has 2.5"),
        (((10, 20), 0), "jumps has 0"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        StrideTuning(*arguments)
