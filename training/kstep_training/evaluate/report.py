"""The report as plain data: JSON, and the summary that fits on a screen."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kstep_integrators.atomic_file import write_text_atomically
from kstep_training.evaluate.motion import BANDS
from kstep_training.evaluate.noise import quantile
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.verdict import (
    MISS,
    OPEN,
    PASS,
    PROMISES,
    Check,
    check_molecule,
    overall,
)

__all__ = ["SYMBOLS", "build_report", "cell", "finite", "print_summary", "reasons", "write_json"]

FORMAT: Final = 1
SYMBOLS: Final = {PASS: "\N{CHECK MARK}", MISS: "\N{MULTIPLICATION X}", OPEN: "\N{TILDE OPERATOR}"}
_COLOURS: Final = {PASS: "green", MISS: "red", OPEN: "yellow"}


def finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def build_report(
    model: str,
    identity: str,
    molecules: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Mapping[str, str]],
    settings: EvaluateSettings,
    bar: str | None,
) -> dict[str, Any]:
    """Numbers and verdicts of all molecules.

    Parameters
    ----------
    model, identity : str
        Name, and hash or the like.
    molecules : sequence of mapping
        From :func:`~kstep_training.evaluate.metrics.molecule_metrics`.
    problems : mapping of str to mapping
        By molecule and method, what could not be run and why.
    settings : EvaluateSettings
    bar : str or None
    """
    rows, every = [], list[Check]()
    for metrics in molecules:
        checks = check_molecule(metrics, bar)
        every += checks
        rows.append(
            {
                **metrics,
                "checks": [asdict(check) for check in checks],
                "verdicts": _verdicts(checks),
                "problems": dict(problems.get(metrics["name"], {})),
            }
        )
    tests = [c for c in every if c.value is not None and c.status != OPEN]
    report = {
        "format": FORMAT,
        "model": model,
        "model_identity": identity,
        "bar": bar,
        "settings": asdict(settings),
        "promises": PROMISES,
        "machine": _machine(),
        "molecules": rows,
        "not_evaluated": {
            name: dict(why) for name, why in problems.items()
            if name not in {m["name"] for m in molecules}
        },
        "totals": {
            promise: dict(Counter(c.status for c in every if c.promise == promise))
            for promise in PROMISES
        },
        "checks": len(tests),
        "misses_by_chance": sum(c.chance for c in tests),
        "summary": _summary(rows),
    }  # fmt: skip
    found: dict[str, Any] = finite(report)
    return found


def _verdicts(checks: Sequence[Check]) -> dict[str, dict[str, str]]:
    """Status of each method, by promise."""
    found: dict[str, dict[str, str]] = {}
    for promise in PROMISES:
        mine = [c for c in checks if c.promise == promise]
        for method in dict.fromkeys(c.method for c in mine):
            status = overall([c for c in mine if c.method == method])
            found.setdefault(promise, {})[method] = status
    return found


def _machine() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in ("kstep-integrators", "ase", "numpy", "tblite", "torch", "xtb", "pyscf"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"processor": platform.processor() or platform.machine(), "versions": versions}


def _summary(molecules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each method over all molecules; a run that was lost is infinitely bad."""
    names = dict.fromkeys(name for m in molecules for name in m["methods"])
    return {
        name: _over([m["methods"][name] for m in molecules if name in m["methods"]])
        for name in names
    }


def _over(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    found: dict[str, Any] = {
        "part": first["part"],
        "role": first["role"],
        "stride_fs": first["stride_fs"],
        "picoseconds": first["picoseconds"],
        "molecules": len(rows),
        "runs": sum(r["runs"] for r in rows),
        "lost": sum(len(r["lost"]) for r in rows),
        "fallbacks": sum(r["reported"]["fallbacks"] for r in rows),
    }
    for key in ("evaluations", "seconds", "scf_cycles"):
        values = [r["cost"][key] for r in rows if r["cost"] and r["cost"].get(key) is not None]
        found[f"{key}_per_ps"] = float(np.mean(values)) if values else None
    residuals = [r["reported"].get("residual_rms") for r in rows]
    known = [r for r in residuals if r is not None]
    found["residual_meV_per_A"] = 1e3 * float(np.sqrt(np.mean(np.square(known)))) if known else None
    for key in ("drift", "fluctuation", "distance"):
        means = [_mean(np.abs(r[key])) for r in rows if key in r]
        if means:
            found[key if key != "drift" else "abs_drift"] = {
                "median": quantile(means, 0.5), "p90": quantile(means, 0.9),
            }  # fmt: skip
    drifts = [_mean(r["drift"]) for r in rows if "drift" in r]
    drifts = [d for d in drifts if math.isfinite(d)]
    if drifts:
        found["signed_drift"] = {
            "mean": float(np.mean(drifts)),
            "error": float(np.std(drifts, ddof=1) / len(drifts) ** 0.5)
            if len(drifts) > 1
            else None,
        }
    for band in BANDS:
        shifts = [
            r["spectra"][band]["shift"] for r in rows if r.get("spectra") and band in r["spectra"]
        ]
        told = [s for s in shifts if s is not None]
        if told:
            found[band] = {
                "median": float(np.median(told)), "largest": max(told, key=abs), "of": len(told),
            }  # fmt: skip
    for what in ("bonds", "angles", "velocities"):
        errors = [(r.get("one_jump") or {}).get(what) for r in rows]
        known = [e for e in errors if e is not None]
        if known:
            found.setdefault("one_jump", {})[what] = float(np.median(known))
    overlaps = [r["spectra"]["overlap"] for r in rows if r.get("spectra")]
    if overlaps:
        found["overlap"] = float(np.median(overlaps))
    taken = [r["acceptance"]["mean"] for r in rows if r.get("acceptance")]
    if taken:
        found["acceptance"] = {"median": float(np.median(taken)), "least": min(taken)}
    each = [r["energy_samples"]["evaluations_each"] for r in rows if r.get("energy_samples")]
    if each:
        found["evaluations_per_sample"] = float(np.median(each))
    return found


def _mean(values: Iterable[float | None]) -> float:
    """Infinite if a run has none."""
    x = np.array([math.inf if v is None or not math.isfinite(v) else v for v in values])
    return float(x.mean()) if len(x) else math.inf


def cell(molecule: Mapping[str, Any], promise: str, method: str) -> tuple[str, str] | None:
    """Status of a method of a molecule and the number that says most; None if it was not run."""
    status = molecule["verdicts"].get(promise, {}).get(method)
    if status is None:
        return None
    mine = [c for c in molecule["checks"] if c["promise"] == promise and c["method"] == method]
    if promise == "dynamics":
        told = [c for c in mine if c["what"] == "trajectory" and c["value"] is not None]
        return status, f"{told[0]['value']:.2f}" if told else ""
    if promise == "ensemble":
        told = [c for c in mine if c["what"] in ("bonds", "angles", "dihedrals", "energy")]
        values = [c["value"] for c in told if c["value"] is not None]
        return status, f"{min(values):.2g}" if values else ""
    missed = sum(c["status"] == MISS for c in mine)
    return status, f"{missed}/{len(mine)}" if missed else ""


def reasons(molecule: Mapping[str, Any], promise: str, method: str) -> str:
    """What kept a method from passing: all misses, or all that is open."""
    mine = [c for c in molecule["checks"] if c["promise"] == promise and c["method"] == method]
    status = molecule["verdicts"].get(promise, {}).get(method)
    return "" if status == PASS else ", ".join(c["what"] for c in mine if c["status"] == status)


def print_summary(console: Console, report: Mapping[str, Any], files: Sequence[Path]) -> None:
    """One screen: a row for each molecule, a column for each method and promise."""
    columns = [
        (promise, name)
        for promise in ("dynamics", "ensemble")
        for name in dict.fromkeys(
            n for m in report["molecules"] for n in m["verdicts"].get(promise, {})
        )
    ]
    numbers = console.width > 12 * len(columns)
    title = f"kstep evaluate: {report['model']} on {report['settings']['physics']}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("molecule", no_wrap=True)
    for _, name in columns:
        family, _, stride = name.rpartition("-")
        table.add_column(f"{family[:8]}\n{stride} fs", justify="right", no_wrap=True)
    table.add_column("told\ntrue", justify="right")
    table.add_column("refe-\nrence", justify="right")
    for molecule in report["molecules"]:
        row = [Text(molecule["name"])]
        for promise, name in columns:
            found = cell(molecule, promise, name)
            words = found[1] if found and numbers else ""
            row.append(_shown(found[0], words) if found else Text(""))
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
    for promise, words in PROMISES.items():
        counts = report["totals"][promise]
        if counts:
            console.print(
                f"{words}: {counts.get(PASS, 0)} checks pass, {counts.get(MISS, 0)} miss, "
                f"{counts.get(OPEN, 0)} open",
                highlight=False,
            )
    console.print(
        f"Of {report['checks']} checks, at most {report['misses_by_chance']:.1f} would miss by "
        "chance.",
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


def _shown(status: str, words: str) -> Text:
    return Text(f"{words} {SYMBOLS[status]}".strip(), style=_COLOURS[status])


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report atomically."""
    write_text_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")
