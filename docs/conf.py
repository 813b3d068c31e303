"""Sphinx: the guides and, from the docstrings, the reference."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "training")]

from kstep_integrators import __version__  # noqa: E402

project = "kstep-integrators"
author = "The kstep-integrators developers"
copyright = f"2026, {author}"  # noqa: A001  (Sphinx's own word for it)
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"kstep-integrators {release}"
html_show_sourcelink = False

_PAGES = {
    "README.md": "index.md",
    "docs/guide.md": "guide.md",
    "docs/theory.md": "theory.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Where the files that GitHub shows stand among these pages."""


def _relinked(text: str, folder: Path) -> str:
    """Links between files of the repository as links between pages, or to the file itself."""

    def replaced(found: re.Match[str]) -> str:
        target, anchor = found["target"], found["anchor"] or ""
        path = (folder / target).resolve()
        if not path.exists() or path.is_dir():
            return found[0]
        inside = path.relative_to(ROOT).as_posix()
        if inside in _PAGES:
            return f"]({_PAGES[inside]}{anchor})"
        if inside.startswith("docs/"):
            return f"]({inside.removeprefix('docs/')}{anchor})"
        return f"](path:../{inside})"

    return re.sub(r"\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)", replaced, text)


def _included(_: Any, path: Any, __: str, lines: list[str]) -> None:
    lines[:] = [_relinked(line, (ROOT / "docs" / path).resolve().parent) for line in lines]


def _read(_: Any, name: str, lines: list[str]) -> None:
    lines[0] = _relinked(lines[0], (ROOT / "docs" / name).parent)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("include-read", _included)
    app.connect("source-read", _read)
