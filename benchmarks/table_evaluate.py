"""The tables of the standing benchmark, from its committed results; see `benchmarks.table`."""

from __future__ import annotations

import textwrap
from typing import Any

from benchmarks.common import load, or_infinite

FAMILIES = {
    "reference": "velocity Verlet (reference)",
    "fine": "velocity Verlet (fine reference)",
    "verlet": "velocity Verlet",
    "impulse": "`organic-gfn2`, `impulse`",
    "filtered": "`organic-gfn2`, `filtered`",
    "potential-only": "`organic-gfn2` alone (control)",
    "ballistic": "free flight (control)",
    "respa": "r-RESPA with GFN-FF inside (control)",
    "langevin": "Langevin on GFN2 (reference)",
    "metropolis": "`organic-gfn2`, Metropolis",
    "untested": "`organic-gfn2` without the test (control)",
}


def _family(method: str) -> str:
    return next(name for family, name in FAMILIES.items() if method.startswith(family))


def _two(row: dict[str, Any], key: str, form: str = ".2f") -> str:
    """Median and 90th percentile; nothing where nothing was measured."""
    if key not in row:
        return ""
    return " / ".join(or_infinite(row[key][part], form) for part in ("median", "p90"))


def _passed(result: dict[str, Any], promise: str, method: str) -> str:
    """How many molecules a method passes, of those that it was judged on."""
    found = [
        molecule["verdicts"][promise][method]
        for molecule in result["molecules"].values()
        if method in molecule["verdicts"].get(promise, {})
    ]
    if not found:
        return ""
    return " / ".join(str(found.count(status)) for status in ("pass", "miss", "open"))


def _evaluation(name: str) -> str:
    result = load(name)
    summary = result["summary"]
    lines = [
        "| run | stride fs | evaluations per ps | distance A, median / 90 % | fluctuation meV/atom "
        "| abs. drift meV/atom/ps | shift of bends, stretches cm^-1 | residual meV/A | lost runs / "
        "fallbacks | molecules pass / miss / open |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method, row in summary.items():
        if row["part"] != "dynamics":
            continue
        shifts = [
            f"{round(row[b]['median']):+d}" if b in row else "" for b in ("bends", "stretches")
        ]
        residual = row["residual_meV_per_A"]
        cost = row["evaluations_per_ps"]
        # Free flight has none; of methods that were always lost there is no telling.
        paid = format(cost, ".0f") if cost is not None else "" if row["lost"] else "0"
        lines.append(
            f"| {_family(method)} | {row['stride_fs']:g} | "
            f"{paid} | {_two(row, 'distance', '.4f')} | "
            f"{_two(row, 'fluctuation')} | {_two(row, 'abs_drift', '.3f')} | "
            f"{', '.join(filter(None, shifts))} | "
            f"{'' if residual is None else format(residual, '.0f')} | "
            f"{row['lost']} / {row['fallbacks']} | {_passed(result, 'dynamics', method)} |"
        )
    lines += [
        "",
        "| run | stride fs | evaluations per ps | acceptance, median / least | evaluations per "
        "effective sample | molecules pass / miss / open |",
        "|---|---|---|---|---|---|",
    ]
    for method, row in summary.items():
        if row["part"] != "ensemble":
            continue
        taken = row.get("acceptance")
        each = row.get("evaluations_per_sample")
        lines.append(
            f"| {_family(method)} | {row['stride_fs']:g} | {row['evaluations_per_ps']:.0f} | "
            + (f"{taken['median']:.2f} / {taken['least']:.2f}" if taken else "")
            + f" | {'' if each is None else format(each, '.1f')} | "
            f"{_passed(result, 'ensemble', method)} |"
        )
    told, names = result["totals"]["honesty"], list(result["molecules"])
    left = result["planned"] - len(names)
    missing = f"; {left} more of the suite have not been run yet" if left else ""
    lines += [
        "",
        textwrap.fill(
            f"{len(names)} molecules ({', '.join(names)}{missing}). "
            f"As reported: {told.get('pass', 0)} checks pass, {told.get('miss', 0)} miss, "
            f"{told.get('open', 0)} open. Of all {result['checks']} checks "
            f"at most {result['misses_by_chance']:.1f} would miss by chance.",
            118,
        ),
    ]
    return "\n".join(lines)


def evaluate_quick() -> str:
    """The quick suite of the standing benchmark."""
    return _evaluation("evaluate_quick")


def evaluate_full() -> str:
    """The full suite of the standing benchmark."""
    return _evaluation("evaluate_full")
