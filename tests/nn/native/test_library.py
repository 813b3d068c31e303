"""The library of the native kernel: the level that is chosen, and reasons that there is none."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kstep_integrators.nn import native
from kstep_integrators.nn.native import library
from kstep_integrators.nn.native.library import LEVELS, NativeLibrary, best_level, load

FOLDER = Path(library.__file__).parent
X86 = LEVELS["x86_64"]
MACHINE = platform.machine()

built = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler built a library"
)


@pytest.mark.parametrize(
    ("running", "present", "expected"),
    [
        (4, set(X86), "x86_64_v4"),
        (3, set(X86), "x86_64_v3"),  # a CPU without AVX-512 never meets its code
        (1, set(X86), "x86_64"),
        (4, {"x86_64", "x86_64_v3"}, "x86_64_v3"),  # an old compiler knows no v4
        (3, {"x86_64", "x86_64_v4"}, "x86_64"),
        (4, {"x86_64"}, "x86_64"),
        (1, {"x86_64_v3", "x86_64_v4"}, None),
        (4, set(), None),
    ],
)
def test_the_highest_level_that_the_cpu_can_run(
    running: int, present: set[str], expected: str | None
) -> None:
    assert best_level(running, X86, present) == expected


def test_a_machine_with_one_level() -> None:
    assert best_level(0, LEVELS["arm64"], {"arm64"}) == "arm64"


@built
def test_the_library_of_this_cpu_is_loaded_and_none_above_it() -> None:
    """In a process of its own, whose loaded files the operating system lists."""
    code = "from kstep_integrators.nn.native import native_library as f; found = f(); print("
    code += "found.level, found.lib.kstep_level(), *open('/proc/self/maps').read().split())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout.split()
    level, running = words[0], int(words[1])
    if MACHINE == "x86_64":
        flags = set(Path("/proc/cpuinfo").read_text().split())
        four = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags
        three = {"avx2", "fma", "bmi1", "bmi2", "movbe", "f16c", "abm"} <= flags
        assert running == (4 if three and four else 3 if three else 1)
    levels = LEVELS.get(MACHINE, LEVELS["arm64"])
    assert levels[level] == max(asks for asks in levels.values() if asks <= running)
    mapped = {Path(word).stem for word in words if Path(word).parent == FOLDER}
    assert mapped == {f"kernel.{level}", f"kernel.{next(iter(levels))}"}


@built
def test_the_library_is_found_once_and_quickly() -> None:
    found = native.native_library()
    assert found is not None, native.native_missing()
    assert native.native_missing() is None
    assert native.native_library() is found
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert isinstance(load(FOLDER, MACHINE), NativeLibrary)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.005


@built
def test_the_library_is_not_older_than_its_source() -> None:
    """Else the tests would be of a kernel that is no longer there: ``make native``."""
    found = native.native_library()
    assert found is not None, native.native_missing()
    assert not found.outdated, "run `make native`"


@built
def test_a_library_with_another_interface_is_refused() -> None:
    reason = load(FOLDER, MACHINE, abi=library.ABI + 1)
    assert isinstance(reason, str)
    assert f"its interface is {library.ABI}, expected {library.ABI + 1}" in reason
    assert "make native" in reason


def test_without_a_library_the_reason_says_what_to_do(tmp_path: Path) -> None:
    reason = load(tmp_path, MACHINE)
    assert isinstance(reason, str)
    assert "was not built" in reason
    assert str(tmp_path) in reason
    assert "C++ compiler" in reason


@pytest.mark.parametrize("what", ["no library", "another library"])
def test_what_cannot_be_loaded_is_no_crash(what: str, tmp_path: Path) -> None:
    lowest = next(iter(LEVELS.get(MACHINE, LEVELS["arm64"])))
    path = tmp_path / f"kernel.{lowest}{library.SUFFIX}"
    if what == "no library":
        path.write_bytes(b"of another machine, say")
    else:
        shutil.copy(np.random.mtrand.__file__, path)  # without our functions
    reason = load(tmp_path, MACHINE)
    assert isinstance(reason, str)
    assert "cannot be loaded" in reason
    assert str(path) in reason
    assert "install the package again" in reason


def test_other_machines_have_none() -> None:
    reason = load(FOLDER, "riscv64")
    assert isinstance(reason, str)
    assert "riscv64" in reason
