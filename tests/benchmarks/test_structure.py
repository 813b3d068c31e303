"""The figures of a checkout's structure, on a small made-up project with known answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.checkout import Checkout
from benchmarks.structure import longest_chain, measure, room_imports, table

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "setup.cfg": """\
[importlinter:contract:library-layers]
layers =
    top
    middle | aside
    bottom
""",
    "kstep_integrators/__init__.py": """\
from kstep_integrators.middle import helper, unused_door

__all__ = ["helper", "unused_door"]
""",
    "kstep_integrators/bottom.py": '''\
"""Two lines
of docstring."""

# a comment
import math  # not a line of comments

__all__ = ["Kept", "written", "lonely", "typed", "Result"]


class Kept:
    def wide(self, a, b, /, c=1, *args, d, **kwargs):
        text = """a string
        that is no docstring"""
        return text, self.chances


def written(chances: int) -> None: ...
def typed() -> "int": ...
def lonely() -> "int": ...


class Result: ...


def result() -> Result: ...
''',
    "kstep_integrators/middle/__init__.py": """\
from kstep_integrators.middle.inner import helper, unused_door

__all__ = ["helper", "unused_door"]
""",
    "kstep_integrators/middle/inner.py": """\
from ..bottom import Kept

__all__ = ["helper", "unused_door"]

def helper(chances): ...
def unused_door(): ...
""",
    "kstep_integrators/aside.py": "from kstep_integrators.bottom import Kept\n",
    "kstep_integrators/top.py": "def f():\n    from kstep_integrators import helper\n",
    "kstep_integrators/openmm/__init__.py": "",
    "training/kstep_training/evaluate/a.py": "chances = 'not chances'\n",
    "training/kstep_training/evaluate/deep/b.py": "'chances of it'\n",
    "tests/test_bottom.py": (
        "import kstep_integrators.bottom as door\ndoor.written\n'kstep_integrators.bottom:typed'\n"
    ),
    "README.md": f"{'long ' * 40}\nlonely, not in code\n| {'cell ' * 40} |\n",
    ".venv/README.md": "long " * 40,
    ".github/template.md": "long " * 40,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Checkout(tmp_path / "project")


def test_rooms_and_ranks(checkout: Checkout) -> None:
    assert room_imports(checkout) == {
        "top": {"middle"}, "middle": {"bottom"}, "aside": {"bottom"}, "bottom": set(),
        "openmm": set(),
    }  # fmt: skip
    figures = measure(checkout)
    assert figures["checkout"] == "project"
    assert (figures["contract_ranks"], figures["measured_ranks"]) == (3, 3)
    assert (figures["flat_files"], figures["openmm_files"], figures["evaluate_files"]) == (4, 1, 2)


def test_a_cycle_counts_as_all_of_its_rooms() -> None:
    assert longest_chain({}) == 0
    assert longest_chain({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()}) == 3


def test_lines_by_kind(checkout: Checkout) -> None:
    lines = checkout.by_name["kstep_integrators.bottom"].lines()
    assert lines == {"code": 12, "docstrings": 2, "comments": 1, "blank": 10}
    part = measure(checkout)["parts"]["library"]
    assert part["modules"] == 7
    assert part["longest"] == 25
    assert part["longest_file"] == "kstep_integrators/bottom.py"
    assert part["mean"] == pytest.approx(part["lines"] / 7, abs=0.05)
    kinds = ("code", "docstrings", "comments", "blank")
    assert sum(part[kind] for kind in kinds) == part["lines"] == 40


def test_exports_without_a_user(checkout: Checkout) -> None:
    figures = measure(checkout)
    # Each name once, whatever packages pass it on.
    assert figures["exports"] == 7
    assert figures["unused_exports"] == [
        "kstep_integrators.bottom.lonely",
        "kstep_integrators.middle.inner.unused_door",
    ]
    assert figures["unused_types"] == ["kstep_integrators.bottom.Result"]


def test_a_name_in_the_code_of_a_document_has_a_user(checkout: Checkout) -> None:
    (checkout.root / "README.md").write_text("Call `lonely()`.\n```python\nunused_door()\n```\n")
    assert measure(checkout)["unused_exports"] == []


def test_widths_and_files_of_an_option(checkout: Checkout) -> None:
    figures = measure(checkout, "chances")
    widest = {"function": "kstep_integrators.bottom.wide", "parameters": 6}
    assert figures["widest_functions"][0] == widest
    assert len(figures["widest_functions"]) == 8
    assert figures["option_files"] == [
        "kstep_integrators/bottom.py",
        "kstep_integrators/middle/inner.py",
        "training/kstep_training/evaluate/a.py",
    ]


def test_long_lines_of_markdown(checkout: Checkout) -> None:
    figures = measure(checkout)
    assert (figures["long_markdown_lines"], figures["long_markdown_table_lines"]) == (2, 1)


def test_side_by_side(checkout: Checkout, tmp_path: Path) -> None:
    before = measure(checkout)
    after = {**before, "checkout": "after", "flat_files": 3}
    rows = table([before, after]).splitlines()
    assert rows[0] == "| measure | project | after |"
    assert "| flat files in `kstep_integrators/` | 4 | 3 |" in rows
    output = tmp_path / "structure.json"
    command = [sys.executable, "-m", "benchmarks.structure", str(checkout.root), "--output"]
    done = subprocess.run(
        [*command, str(output)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| measure | project |\n|---|---|\n")
    assert json.loads(output.read_text())["checkouts"] == [before]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root of a checkout"):
        Checkout(tmp_path)
