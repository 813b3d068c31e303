"""The report as plain data: numbers and verdicts of all molecules, and their summary, for JSON."""

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

from kstep_integrators.files import write_text_atomically
from kstep_training.evaluate.checks import MISS, OPEN, PASS, PROMISES, Check, overall
from kstep_training.evaluate.energy_and_spectra import BANDS
from kstep_training.evaluate.noise import quantile
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.verdict import check_molecule

__all__ = ["SYMBOLS", "build_report", "cell", "reasons", "write_json"]

FORMAT: Final = 2
SYMBOLS: Final = {PASS: "\N{CHECK MARK}", MISS: "\N{MULTIPLICATION X}", OPEN: "\N{TILDE OPERATOR}"}


def finite(value: Any) -> Any:
    """The same value with None in place of numbers that JSON does not have: infinite, or none.

    Examples
    --------
    >>> finite({"drift": (0.1, float("nan"))})
    {'drift': [0.1, None]}
    """
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
    plain: dict[str, Any] = finite(report)
    return plain


def summarize(molecules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summary of each method over all molecules, by name; a lost run counts as infinitely bad.

    Parameters
    ----------
    molecules : sequence of mapping
        From :func:`~kstep_training.evaluate.metrics.molecule_metrics`.
    """
    names = dict.fromkeys(name for m in molecules for name in m["methods"])
    return {
        name: _summary([m["methods"][name] for m in molecules if name in m["methods"]])
        for name in names
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    row: dict[str, Any] = {
        "part": first["part"],
        "role": first["role"],
        "stride_fs": first["stride_fs"],
        "length_ps": first["length_ps"],
        "molecules": len(rows),
        "runs": sum(r["runs"] for r in rows),
        "lost": sum(len(r["lost"]) for r in rows),
        "fallbacks": sum(r["reported"]["fallbacks"] for r in rows),
    }
    for key in ("evaluations", "seconds", "scf_cycles"):
        values = [r["cost"][key] for r in rows if r["cost"] and r["cost"].get(key) is not None]
        row[f"{key}_per_ps"] = float(np.mean(values)) if values else None
    residuals = [r["reported"].get("residual_rms") for r in rows]
    known = [r for r in residuals if r is not None]
    row["residual_meV_per_A"] = 1e3 * float(np.sqrt(np.mean(np.square(known)))) if known else None
    if off := [r["estimates"]["error_meV_per_atom"] for r in rows if r.get("estimates")]:
        row["estimate_error_meV_per_atom"] = {"median": float(np.median(off)), "largest": max(off)}
        row["record_evaluations"] = sum(r["reported"]["record_evaluations"] for r in rows)
        row["verifications"] = sum(r["reported"]["verifications"] for r in rows)
    for key in ("drift", "fluctuation", "distance"):
        means = [_mean(np.abs(r[key])) for r in rows if key in r]
        if means:
            row[key if key != "drift" else "abs_drift"] = {
                "median": quantile(means, 0.5), "p90": quantile(means, 0.9),
            }  # fmt: skip
    drifts = [_mean(r["drift"]) for r in rows if "drift" in r]
    drifts = [d for d in drifts if math.isfinite(d)]
    if drifts:
        row["signed_drift"] = {
            "mean": float(np.mean(drifts)),
            "error": float(np.std(drifts, ddof=1) / len(drifts) ** 0.5)
            if len(drifts) > 1
            else None,
        }
    for band in BANDS:
        shifts = [
            r["spectra"][band]["shift"] for r in rows if r.get("spectra") and band in r["spectra"]
        ]
        known = [s for s in shifts if s is not None]
        if known:
            row[band] = {
                "median": float(np.median(known)), "largest": max(known, key=abs), "of": len(known),
            }  # fmt: skip
    for what in ("bonds", "angles", "velocities"):
        errors = [(r.get("one_jump") or {}).get(what) for r in rows]
        known = [e for e in errors if e is not None]
        if known:
            row.setdefault("one_jump", {})[what] = float(np.median(known))
    overlaps = [r["spectra"]["overlap"] for r in rows if r.get("spectra")]
    if overlaps:
        row["overlap"] = float(np.median(overlaps))
    taken = [r["acceptance"]["mean"] for r in rows if r.get("acceptance")]
    if taken:
        row["acceptance"] = {"median": float(np.median(taken)), "least": min(taken)}
    each = [r["energy_samples"]["evaluations_each"] for r in rows if r.get("energy_samples")]
    if each:
        row["evaluations_per_sample"] = float(np.median(each))
    return row


def _mean(values: Iterable[float | None]) -> float:
    """Mean over runs; infinite if one has no value."""
    x = np.array([math.inf if v is None or not math.isfinite(v) else v for v in values])
    return float(x.mean()) if len(x) else math.inf


def _verdicts(checks: Sequence[Check]) -> dict[str, dict[str, str]]:
    """Status of each method, by promise."""
    verdicts: dict[str, dict[str, str]] = {}
    for promise in PROMISES:
        mine = [c for c in checks if c.promise == promise]
        for method in dict.fromkeys(c.method for c in mine):
            status = overall([c for c in mine if c.method == method])
            verdicts.setdefault(promise, {})[method] = status
    return verdicts


def _machine() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in ("kstep-integrators", "ase", "numpy", "tblite", "torch", "xtb", "pyscf"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"processor": platform.processor() or platform.machine(), "versions": versions}


def cell(molecule: Mapping[str, Any], promise: str, method: str) -> tuple[str, str] | None:
    """Status of a method of a molecule and its most telling number; None if it was not run."""
    status = molecule["verdicts"].get(promise, {}).get(method)
    if status is None:
        return None
    mine = [c for c in molecule["checks"] if c["promise"] == promise and c["method"] == method]
    if promise == "dynamics":
        ratios = [c["value"] for c in mine if c["what"] == "trajectory"]
        return status, f"{ratios[0]:.2f}" if ratios and ratios[0] is not None else ""
    if promise == "ensemble":
        kinds = ("bonds", "angles", "dihedrals", "energy")
        values = [c["value"] for c in mine if c["what"] in kinds and c["value"] is not None]
        return status, f"{min(values):.2g}" if values else ""
    missed = sum(c["status"] == MISS for c in mine)
    return status, f"{missed}/{len(mine)}" if missed else ""


def reasons(molecule: Mapping[str, Any], promise: str, method: str) -> str:
    """Checks that kept a method from passing: all misses, or all that is open."""
    mine = [c for c in molecule["checks"] if c["promise"] == promise and c["method"] == method]
    status = molecule["verdicts"].get(promise, {}).get(method)
    return "" if status == PASS else ", ".join(c["what"] for c in mine if c["status"] == status)


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report atomically."""
    write_text_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")
