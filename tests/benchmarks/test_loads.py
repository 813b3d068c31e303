"""The benchmarks are run by hand; that they can be loaded is seen to here."""

import importlib
from pathlib import Path

import pytest

MODULES = sorted(path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_it_loads(name):
    importlib.import_module(f"benchmarks.{name}")
