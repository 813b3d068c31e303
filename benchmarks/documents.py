"""Tables of README and docs, filled from the committed results.

Whatever stands between ``<!-- table NAME -->`` and ``<!-- /table -->`` is replaced by what the
function NAME of the modules in ``TABLES`` returns.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.suite import SUITES

__all__ = ["DOCUMENTS", "ROOT", "fill", "filled", "markdown", "number", "suites"]

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *("README.md", "benchmarks/README.md", "docs/guide.md", "docs/observables.md"),
    *("docs/potentials.md", "docs/theory.md"),
)
TABLES = (
    *("adapters", "documents", "tables_cells", "tables_cost", "tables_energy"),
    *("tables_ensembles", "tables_jumps"),
    *(
        "tables_learning",
        "tables_mollified",
        "tables_observables",
        "tables_physics",
        "tables_water",
    ),
)
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines).replace(
        "| --- ", "|---"
    )


def number(value: float | None, form: str = ".2f") -> str:
    """A number of a table; what JSON has no number for was infinite."""
    return "inf" if value is None else format(value, form)


def suites() -> str:
    """Every suite and what it measures."""
    return markdown(
        ["suite", "what it measures"], ([f"`{s.name}`", s.measures] for s in SUITES.values())
    )


def maker(name: str) -> Callable[[], str]:
    """The function that makes a table.

    ValueError: if there is none.
    """
    for module in TABLES:
        make = getattr(importlib.import_module(f"benchmarks.{module}"), name, None)
        if make is not None:
            function: Callable[[], str] = make
            return function
    raise ValueError(f"no table {name!r}: expected a function of that name in {', '.join(TABLES)}")


def filled(text: str) -> str:
    """The text with all tables made anew.

    ValueError: if a table has no function, or no committed result.
    """

    def made(match: re.Match[str]) -> str:
        try:
            table = maker(match.group(2))()
        except FileNotFoundError as error:
            raise ValueError(
                f"table {match.group(2)!r} has no committed result: {error}"
            ) from error
        return f"{match.group(1)}{table}\n{match.group(3)}"

    return BLOCK.sub(made, text)


def fill(check: bool = False) -> list[str]:
    """Fill all documents, or only find those whose tables are out of date; their names."""
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text()
        after = filled(before)
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after)
    return stale
