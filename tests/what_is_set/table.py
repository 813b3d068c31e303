"""A table of what becomes of a setting: measured cell by cell, and kept as a page of the docs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HONOURED", "MOMENTS", "NONE", "Row", "Section", "outcome_of", "read_page", "write_page"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/what_is_set.md"

MOMENTS = (
    "set", "set to nonsense", "changed between runs", "changed in an observer", "saved and resumed",
)  # fmt: skip
"""Columns of the table."""

HONOURED = "honoured"
NONE = "-"
"""Outcome where there is no such moment: an ensemble has no observers."""

Probe = Callable[[Path], str]
"""Sets something in an empty folder, and says what became of it."""


@dataclass(frozen=True)
class Row:
    """What becomes of one setting, at each moment.

    Attributes
    ----------
    name : str
    probes : tuple of callables
        One for each of :data:`MOMENTS`.
    """

    name: str
    probes: tuple[Probe, ...]

    def __post_init__(self) -> None:
        if len(self.probes) != len(MOMENTS):
            raise ValueError(f"{self.name} has {len(self.probes)} cells, expected {len(MOMENTS)}")


@dataclass(frozen=True)
class Section:
    """Rows of one door of the library.

    Attributes
    ----------
    title, text : str
        Heading of the section, and what stands under it.
    rows : sequence of Row
    """

    title: str
    text: str
    rows: Sequence[Row]


def no_such_moment(folder: Path) -> str:
    """The probe of a moment that this setting does not have."""
    return NONE


def outcome_of(act: Callable[[], Any], names: Sequence[str]) -> str:
    """``"honoured"``, or ``"refused"`` by an error of ours that names what was set.

    Parameters
    ----------
    act : callable
    names : sequence of str
        Words of which the message must have one: an error from inside numpy or torch has none.
    """
    try:
        act()
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        text = str(error)
        if any(name in text for name in names) and len(text.split()) >= 6:
            return "refused"
        return f"error that does not say what is wrong: {type(error).__name__}: {text}"
    return HONOURED


HEAD = """# What becomes of what you set

Everything that can be set is honoured or refused with the reason; nothing is taken in silence. This
page is made by a test (`python -m tests.what_is_set --fill`), which tries every cell.

*honoured*: what follows is what a run would do that had this value from here on, number by number.
*kept*: a resumed run has it, and goes on as the uninterrupted one does. *refused*: an error names
it, what was given and what to do. *-*: there is no such moment.
"""


def write_page(measured: dict[str, dict[str, tuple[str, ...]]], sections: Sequence[Section]) -> str:
    """The page: a heading, a text and a table for each section."""
    parts = [HEAD]
    for section in sections:
        lines = [f"## {section.title}", "", section.text, ""] if section.text else [
            f"## {section.title}", ""]  # fmt: skip
        lines += [f"| | {' | '.join(MOMENTS)} |", "|---" * (len(MOMENTS) + 1) + "|"]
        for row in section.rows:
            cells = measured[section.title][row.name]
            lines.append(f"| `{row.name}` | {' | '.join(cells)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def read_page(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """The cells of a page, by section and row."""
    cells: dict[str, dict[str, tuple[str, ...]]] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        cells[title] = {}
        for line in part.splitlines():
            if found := re.match(r"\| `(.+?)` \| (.*) \|$", line):
                cells[title][found.group(1)] = tuple(found.group(2).split(" | "))
    return cells
