"""The scripts of findings/: their form, and the pins they were seen with; they are run by hand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
PINS = dict(re.findall(r"^([\w-]+)==([^;\s]+)", (ROOT / "constraints.txt").read_text(), re.M))


def test_the_table_has_every_script() -> None:
    table = (ROOT / "findings" / "README.md").read_text()
    assert SCRIPTS
    assert re.findall(r"^\| \[[^]]+\]\((\S+)\)", table, re.M) == [path.name for path in SCRIPTS]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_stands_alone_and_can_be_run(path: Path) -> None:
    text = path.read_text()
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert "folder=$(mktemp -d)\ntrap 'rm -rf \"$folder\"' EXIT\n" in text
    assert "kstep" not in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_run_again_when_a_pin_moves(path: Path) -> None:
    found = re.search(r"pip install --quiet --disable-pip-version-check (.+)", path.read_text())
    assert found is not None
    pinned = {name.lower(): version for name, version in PINS.items()}
    for requirement in found[1].split():
        name, _, version = requirement.partition("==")
        assert version, f"{name} is not pinned"
        # A release other than the project's: run the script, then correct or remove it.
        assert version == pinned.get(name.lower(), version), requirement
