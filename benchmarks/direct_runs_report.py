"""What hybrid runs of direct jumps come to: temperatures, drifts, distributions."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.one_jump import GROUPS
from benchmarks.references import Reference
from kstep_integrators.diagnostics import (
    bond_angles,
    bond_lengths,
    compare_runs,
    energy_drift,
    temperature_per_element,
)
from kstep_integrators.files import atomic_file
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom

__all__ = ["REFERENCE", "Job", "keep", "row_of", "summary"]

REFERENCE = "reference"
RIGID = 1e-3
"""angstrom; bonds that vary less are of fixed length."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes
    ----------
    molecule : str
    method : str
        ``reference``, or ``verlet``, ``flow NAME`` or the stem of a model file, with ``-k``.
    ensemble : str
    start : int
    """

    molecule: str
    method: str
    ensemble: str
    start: int

    def path(self, cache: Path) -> Path:
        """Its file."""
        name = f"{self.molecule}.{self.method}.{self.ensemble}.{self.start}"
        return cache / f"{name.replace(' ', '_')}.npz"


def keep(job: Job, cache: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Write a run into the cache; what it did, without its frames."""
    facts: dict[str, Any] = made.pop("facts")
    with atomic_file(job.path(cache)) as handle:
        np.savez_compressed(handle, facts=np.array(json.dumps(facts)), **made)
    return facts


def _read(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as data:
        record: dict[str, Any] = {name: data[name] for name in data.files if name != "facts"}
        return {**record, **json.loads(str(data["facts"]))}


def row_of(
    reference: Reference, method: str, ensemble: str, arguments: argparse.Namespace
) -> dict[str, Any] | None:
    """One molecule, method and ensemble over all its starts; None where one is missing."""

    def records(name: str) -> list[dict[str, Any]] | None:
        jobs = [Job(reference.name, name, ensemble, i) for i in range(arguments.starts)]
        paths = [job.path(arguments.cache) for job in jobs]
        return [_read(path) for path in paths] if all(path.exists() for path in paths) else None

    mine, base = records(method), records(REFERENCE)
    if mine is None or base is None:
        return None
    done = [record for record in mine if not record["error"]]
    row: dict[str, Any] = {
        "molecule": reference.name,
        "group": GROUPS[reference.trained],
        "method": method,
        "ensemble": ensemble,
        "stride_fs": mine[0]["stride_fs"],
        "runs": len(mine),
        "errors": [record["error"] for record in mine if record["error"]],
        **{
            key: sum(record[key] for record in mine)
            for key in ("picoseconds", "strides", "evaluations", "fallbacks", "bond_changes",
                        "seconds")
        },
    }  # fmt: skip
    row["last_problems"] = sorted({r["last_problem"] for r in mine if r["last_problem"]})[:2]
    if not done:
        return row
    row["temperature_K"] = temperatures(reference, done, ensemble)
    row["temperature_of_reference_K"] = temperatures(reference, base, ensemble)
    drifts = [
        energy_drift(r["time"], r["conserved"], len(reference.atoms))
        for r in done
        if np.isfinite(r["conserved"]).all()
    ]
    row["drift_meV_per_atom_per_ps"] = [drift.drift for drift in drifts]
    row["fluctuation_meV_per_atom"] = [drift.fluctuation for drift in drifts]
    if method != REFERENCE and ensemble == "langevin" and len(done) > 1 and len(base) > 1:
        row["distributions"] = distributions(reference, done, base)
    return row


def temperatures(
    reference: Reference, records: list[dict[str, Any]], ensemble: str
) -> dict[str, Any]:
    """Mean and standard error over runs, of each element."""
    atoms, isolated = reference.atoms, ensemble == "nve"
    bonds = atoms.constraints[0].pairs if atoms.constraints else None
    found = []
    for record in records:
        share = atomic_degrees_of_freedom(
            atoms.get_masses(),
            momentum_conserved=isolated,
            bonds=bonds,
            bond_positions=None if bonds is None else record["x"],
        )
        share = np.broadcast_to(share, record["p"].shape[:2])
        found.append(temperature_per_element(record["p"], atoms.get_masses(), atoms.numbers, share))
    table = {symbol: np.array([each[symbol] for each in found]) for symbol in found[0]}
    error = {
        s: float(t.std(ddof=1) / len(t) ** 0.5) if len(t) > 1 else None for s, t in table.items()
    }
    return {s: {"mean": float(t.mean()), "error": error[s]} for s, t in table.items()}


def distributions(
    reference: Reference, mine: list[dict[str, Any]], base: list[dict[str, Any]]
) -> dict[str, Any]:
    """Distances of bonds and of angles from the reference, beside the noise floor."""
    found = {}
    for kind, measure in (("bonds", bond_lengths), ("angles", bond_angles)):
        members = np.array(reference.coordinates[kind]).reshape(-1, 2 if kind == "bonds" else 3)
        values = [[measure(r["x"], members) for r in records] for records in (mine, base)]
        moving = np.concatenate(values[1]).std(axis=0) > RIGID
        if not moving.any():
            continue
        first, second = ([value[:, moving] for value in one] for one in values)
        compared = compare_runs(first, second)
        found[kind] = {
            "distance": float(compared.distance.mean()),
            "noise_floor": float(compared.floor.mean()),
            "largest": float(compared.distance.max()),
            "p_value": compared.p_value,
        }
    return found


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over the molecules of a group."""
    found = []
    for key in sorted({(r["group"], r["ensemble"], r["method"]) for r in rows}):
        mine = [r for r in rows if (r["group"], r["ensemble"], r["method"]) == key]
        drifts = [abs(d) for r in mine for d in r.get("drift_meV_per_atom_per_ps", [])]
        off = [
            abs(value["mean"] - r["temperature_of_reference_K"][symbol]["mean"])
            for r in mine
            for symbol, value in r.get("temperature_K", {}).items()
        ]
        compared = [r["distributions"] for r in mine if "distributions" in r]
        picoseconds = sum(r["picoseconds"] for r in mine)
        strides = sum(r["strides"] for r in mine)
        found.append(
            {
                **dict(zip(("group", "ensemble", "method"), key, strict=True)),
                "stride_fs": mine[0]["stride_fs"],
                "molecules": len(mine),
                "picoseconds": picoseconds,
                "runs_lost": sum(len(r["errors"]) for r in mine),
                "fallbacks_per_stride": sum(r["fallbacks"] for r in mine) / max(1, strides),
                "bond_changes": sum(r["bond_changes"] for r in mine),
                "evaluations_per_ps": sum(r["evaluations"] for r in mine) / max(picoseconds, 1e-9),
                "median_abs_drift": float(np.median(drifts)) if drifts else None,
                "temperature_off_K": {
                    "mean": float(np.mean(off)), "largest": float(np.max(off))
                } if off else None,
                **{
                    kind: {
                        name: float(np.mean([c[kind][name] for c in compared if kind in c]))
                        for name in ("distance", "noise_floor")
                    }
                    for kind in ("bonds", "angles")
                    if any(kind in c for c in compared)
                },
            }
        )  # fmt: skip
        print(json.dumps(found[-1]))
    return found
