"""What methods come to over all molecules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kstep_training.evaluate.motion import BANDS
from kstep_training.evaluate.noise import quantile

__all__ = ["summarize"]


def summarize(molecules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each method over all molecules, by name; a run that was lost is infinitely bad.

    Parameters
    ----------
    molecules : sequence of mapping
        From :func:`~kstep_training.evaluate.metrics.molecule_metrics`.
    """
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
