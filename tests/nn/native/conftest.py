"""The kernel's library for the tests of this folder."""

from __future__ import annotations

import ctypes
import shutil

import pytest

from kstep_integrators.nn.native.library import (
    LEVELS,
    NativeLibrary,
    native_library,
    native_missing,
)


@pytest.fixture(scope="session")
def library() -> NativeLibrary:
    found = native_library()
    if found is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler here")
    assert found is not None, native_missing()
    return found


@pytest.fixture(scope="session")
def levels(library: NativeLibrary) -> list[NativeLibrary]:
    """The libraries of all levels that were built and that this CPU runs."""
    asked = {name: n for table in LEVELS.values() for name, n in table.items()}
    found = []
    for name, level in asked.items():
        path = library.path.with_name(library.path.name.replace(library.level, name))
        if path.is_file() and level <= library.lib.kstep_level():
            found.append(NativeLibrary(ctypes.CDLL(str(path)), name, path))
    return found
