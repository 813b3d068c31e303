"""Every cell of the table in ``docs/what_is_set.md`` is tried, and none is silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.what_is_set import calculator_rows, command_rows, openmm_rows
from tests.what_is_set.sections import PARTS, SECTIONS
from tests.what_is_set.table import MOMENTS, NONE, PAGE, read_page, write_page

CELLS = [
    (section, row, moment)
    for section in SECTIONS
    for row in section.rows
    for moment in range(len(MOMENTS))
]
ALLOWED = {"honoured", "kept", "refused", "warned of", NONE}


@pytest.fixture(scope="module")
def page() -> dict[str, dict[str, tuple[str, ...]]]:
    return read_page(PAGE.read_text())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("section", "row", "moment"),
    CELLS,
    ids=[f"{s.title}-{r.name}-{MOMENTS[m]}".replace(" ", "_") for s, r, m in CELLS],
)
def test_a_cell_is_as_the_page_says(section, row, moment, page, tmp_path: Path) -> None:
    outcome = row.probes[moment](tmp_path)
    assert outcome == page[section.title][row.name][moment]
    assert outcome.partition(" (")[0] in ALLOWED


def test_the_page_has_these_rows_and_no_others(page) -> None:
    assert write_page(page, SECTIONS) == PAGE.read_text()
    assert {s.title: {r.name for r in s.rows} for s in SECTIONS} == {
        title: set(rows) for title, rows in page.items()
    }


@pytest.mark.parametrize(
    "part", [*PARTS, openmm_rows, calculator_rows, command_rows], ids=lambda p: p.__name__
)
def test_nothing_that_can_be_set_is_missing(part) -> None:
    assert part.missing() == set()
