"""The report as plain data."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from kstep_integrators.files import write_text_atomically
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.summary import summarize
from kstep_training.evaluate.verdict import (
    MISS,
    OPEN,
    PASS,
    PROMISES,
    Check,
    check_molecule,
    overall,
)

__all__ = ["SYMBOLS", "build_report", "cell", "finite", "reasons", "write_json"]

FORMAT: Final = 1
SYMBOLS: Final = {PASS: "\N{CHECK MARK}", MISS: "\N{MULTIPLICATION X}", OPEN: "\N{TILDE OPERATOR}"}


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
        "summary": summarize(rows),
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


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report atomically."""
    write_text_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")
