"""Fill the tables of README and docs from the committed results.

python -m benchmarks.fill [--check]

Whatever stands between ``<!-- table NAME -->`` and ``<!-- /table -->`` is replaced by the table of
that name in `benchmarks.table`. ``--check`` changes nothing and fails if a table is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks import table
from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]
FILES = ("README.md", "benchmarks/README.md", "docs/guide.md", "docs/theory.md")
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def filled(text: str) -> str:
    """The text with all tables made anew.

    Raises
    ------
    ValueError
        If a table has no function, or no committed result.
    """

    def made(found: re.Match[str]) -> str:
        name = found.group(2)
        make = getattr(table, name, None)
        if make is None or not (RESULTS / f"{name}.json").exists():
            raise ValueError(f"no table {name!r}: expected benchmarks.table.{name} and its result")
        return f"{found.group(1)}{make()}\n{found.group(3)}"

    return BLOCK.sub(made, text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    old = []
    for name in FILES:
        path = ROOT / name
        before = path.read_text()
        after = filled(before)
        if after != before:
            old.append(name)
            if not arguments.check:
                path.write_text(after)
    print("out of date:" if arguments.check else "filled:", ", ".join(old) or "none")
    if arguments.check and old:
        sys.exit(1)


if __name__ == "__main__":
    main()
