"""Starts that the tests of runs share."""

import pytest

from kstep_training.evaluate.runs import kept_start
from tests.training.evaluate.water_runs import SETTINGS, WATER


@pytest.fixture(scope="session")
def starts():
    return [kept_start(WATER, seed, SETTINGS) for seed in range(2)]
