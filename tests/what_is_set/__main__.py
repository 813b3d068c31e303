"""``python -m tests.what_is_set``: try every cell, and compare with the page or fill it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.what_is_set.sections import SECTIONS
from tests.what_is_set.table import PAGE, read_page, write_page


def _outcome(probe: Callable[[Path], str], folder: Path) -> str:
    try:
        return probe(folder)
    except Exception as error:  # noqa: BLE001 - a cell that cannot be tried is shown as such
        return f"{type(error).__name__}: {error}".replace("|", "/").replace("\n", " ")


def main() -> int:
    """Measure, and write the page with ``--fill``."""
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    sections = [s for s in SECTIONS if not wanted or any(word in s.title for word in wanted)]
    measured = read_page(PAGE.read_text()) if wanted else {}  # other sections stay as they are
    for section in sections:
        measured[section.title] = {}
        for row in section.rows:
            cells = []
            for probe in row.probes:
                with tempfile.TemporaryDirectory() as folder:
                    cells.append(_outcome(probe, Path(folder)))
            measured[section.title][row.name] = tuple(cells)
    text = write_page(measured, SECTIONS)
    if "--fill" in sys.argv:
        PAGE.write_text(text)
        return 0
    same = PAGE.exists() and read_page(PAGE.read_text()) == read_page(text)
    sys.stdout.write("every cell is as the page says\n" if same else text)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
