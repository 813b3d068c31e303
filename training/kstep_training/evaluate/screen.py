"""The report on the screen: one table, and the verdicts in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kstep_training.evaluate.checks import MISS, OPEN, PASS, PROMISES
from kstep_training.evaluate.report import SYMBOLS, cell

__all__ = ["print_summary"]

_COLOURS: Final = {PASS: "green", MISS: "red", OPEN: "yellow"}


def print_summary(console: Console, report: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Print a row for each molecule and a column for each method and promise."""
    columns = [
        (promise, name)
        for promise in ("dynamics", "ensemble")
        for name in dict.fromkeys(
            n for m in report["molecules"] for n in m["verdicts"].get(promise, {})
        )
    ]
    numbers = console.width > 12 * len(columns)
    title = f"kstep evaluate: {report['model']} on {report['settings']['physics']}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, int(numbers), 0, 0))
    # Where there is too little room, names of molecules give way: no verdict is to be hidden.
    table.add_column("molecule", overflow="fold")
    heads = [name.rpartition("-") for _, name in columns]
    heads = [
        f"{family[:8]}\n{stride} fs" if numbers else f"{family[:4]}\n{stride}"
        for family, _, stride in heads
    ]
    for head in [*heads, "hon-\nest", "refe-\nrence"]:
        width = max(map(len, head.split("\n")))
        table.add_column(head, justify="right", no_wrap=True, min_width=width)
    for molecule in report["molecules"]:
        row = [Text(molecule["name"])]
        for promise, name in columns:
            entry = cell(molecule, promise, name)
            number = entry[1] if entry and numbers else ""
            row.append(_shown(entry[0], number) if entry else Text(""))
        for promise in ("honesty", "references"):
            statuses = [*molecule["verdicts"].get(promise, {}).values()]
            row.append(_shown(_worst(statuses), "") if statuses else Text(""))
        table.add_row(*row)
    console.print(table)
    console.print(
        "[green]✓[/] pass  [red]✗[/] miss  [yellow]∼[/] open: within noise, or too little was run."
        f" Dynamics: distance from the fine reference over that of {report['bar']}; ensembles: "
        "smallest p-value.",
        highlight=False,
    )
    for promise, meaning in PROMISES.items():
        counts = report["totals"][promise]
        if counts:
            console.print(
                f"{meaning}: {counts.get(PASS, 0)} checks pass, {counts.get(MISS, 0)} miss, "
                f"{counts.get(OPEN, 0)} open",
                highlight=False,
            )
    console.print(
        f"Of {report['checks']} checks, at most {report['misses_by_chance']:.1f} would miss by "
        "chance.",
        highlight=False,
    )
    for name, row in report["summary"].items():
        if off := row.get("estimate_error_meV_per_atom"):
            console.print(
                f"{name}: energies are the physics at the landings, by {row['record_evaluations']} "
                "evaluations for the record alone; the runs estimate them, off by "
                f"{off['median']:.2g} meV/atom rms (median of molecules; largest "
                f"{off['largest']:.2g}), and verified {row['verifications']}, which count",
                highlight=False,
            )
    for name, why in report["not_evaluated"].items():
        console.print(f"[yellow]not evaluated[/] {name}: {next(iter(why.values()))}")
    for molecule in report["molecules"]:
        for method, why in molecule["problems"].items():
            console.print(f"[yellow]not run[/] {molecule['name']}, {method}: {why}")
    for path in files:
        console.print(f"Wrote {path}", highlight=False, soft_wrap=True)


def _worst(statuses: Sequence[str]) -> str:
    return MISS if MISS in statuses else OPEN if OPEN in statuses else PASS


def _shown(status: str, number: str) -> Text:
    return Text(f"{number} {SYMBOLS[status]}".strip(), style=_COLOURS[status])
