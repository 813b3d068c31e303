"""Tables of strides with averaged kicks: energies, ensembles, and what they cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load

__all__ = [
    "mollified_cost", "mollified_distances", "mollified_distributions", "mollified_molecules",
    "mollified_nve", "mollified_nvt", "peers_mts",
]  # fmt: skip

NAMES = {
    "verlet": "velocity Verlet",
    "mollified": "`mollified`",
    "impulse": "`impulse`",
    "none": "potential alone",
}
Runs = list[tuple[str, dict[str, Any]]]


def _runs(rows: list[dict[str, Any]]) -> dict[str, Runs]:
    """By method: the molecule and what one run of it was."""
    methods = [key for key, value in rows[0].items() if isinstance(value, dict)]
    return {m: [(row["molecule"], row[m]) for row in rows if m in row] for m in methods}


def _by_molecule(runs: Runs, key: str) -> dict[str, float]:
    """Mean over the starts of each molecule; infinite if one of them was lost."""
    found: dict[str, list[float]] = {}
    for molecule, run in runs:
        value = run.get(key)
        if "lost" not in run and value is None:
            continue
        found.setdefault(molecule, []).append(float("inf") if "lost" in run else float(value))
    return {molecule: statistics.mean(values) for molecule, values in found.items()}


def _median(values: list[float], form: str = ".2f") -> str:
    return format(statistics.median(values), form) if values else ""


def _signed(values: list[float], form: str = "+.2f") -> str:
    """Mean and its standard error."""
    if len(values) < 2:
        return ""
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):{form}} ± {error:{form[1:]}}"


def _below(runs: Runs, other: Runs, key: str) -> str:
    """Molecules in which the mean over starts is below that of another method, of all."""
    mine, theirs = _by_molecule(runs, key), _by_molecule(other, key)
    both = mine.keys() & theirs.keys()
    return f"{sum(mine[one] < theirs[one] for one in both)} / {len(both)}" if both else ""


def _name(method: str) -> str:
    kind, _, fs = method.partition("-")
    return f"{NAMES[kind]}, {fs} fs"


def _order(methods: dict[str, Runs]) -> list[str]:
    kinds = list(NAMES)
    return sorted(methods, key=lambda m: (kinds.index(m.split("-")[0]), float(m.split("-")[1])))


def _warmer(runs: Runs, others: Runs, element: str) -> str:
    """Temperature of an element less that of all others, over the same of other runs."""

    def gap(run: dict[str, Any]) -> float:
        rest = [kelvin for e, kelvin in run["kelvin"].items() if e != element]
        return float(run["kelvin"][element] - statistics.mean(rest))

    pairs = [(run, other) for (_, run), (_, other) in zip(runs, others, strict=True)
             if "lost" not in run and len(run["kelvin"]) > 1]  # fmt: skip
    return _signed([gap(run) - gap(other) for run, other in pairs], "+.0f")


def mollified_nve() -> str:
    """Energies of all runs by method."""
    methods = _runs(load("mollified_nve")["rows"])
    verlet, fine, lines = methods.get("verlet-1", []), methods.get("verlet-0.5", []), []
    for method in _order(methods):
        runs = methods[method]
        whole = [run for _, run in runs if "lost" not in run]
        ours = not method.startswith("verlet")
        shifts = [s for run in whole if (s := run.get("stretch_shift_per_cm")) is not None]
        errors = [e for run in whole if (e := run.get("estimate_error_meV_per_atom")) is not None]
        lines.append([
            _name(method), f"{len(runs)} / {len(runs) - len(whole)}",
            sum(run.get("fallbacks", 0) for _, run in runs) if ours else "",
            _median([run["fluctuation"] for run in whole]), _below(runs, verlet, "fluctuation"),
            _median([abs(run["drift"]) for run in whole]),
            _signed([run["drift"] for run in whole]),
            f"{_median([run['conserved_fluctuation'] for run in whole])} / "
            f"{_signed([run['conserved_drift'] for run in whole])}" if ours else "",
            _median(errors),
            _median([run["residual_meV_per_A"] for run in whole], ".0f") if ours else "",
            f"{statistics.median(shifts):+.1f} / {max(map(abs, shifts)):.0f}" if shifts else "",
            _below(runs, verlet, "distance_A"),
            _warmer(runs, fine, "H") if fine and runs is not fine else "",
        ])  # fmt: skip
    header = ["run", "runs / lost", "fallbacks", "fluctuation meV/atom, median",
              "molecules below Verlet at 1 fs", "abs. drift meV/atom/ps, median",
              "signed mean drift", "conserved: fluctuation / signed mean drift",
              "error of estimated energy meV/atom, median of rms", "residual meV/A",
              "shift of stretches cm^-1, median / largest",
              "molecules nearer to the reference at 160 fs than Verlet at 1 fs",
              "H warmer than the rest by K, beside 0.5 fs"]  # fmt: skip
    return markdown(header, lines)


def _molecules(key: str, form: str) -> str:
    """Mean over starts of one quantity by molecule and method."""
    rows = load("mollified_nve")["rows"]
    methods = _runs(rows)
    found = {method: _by_molecule(methods[method], key) for method in _order(methods)}
    about = {row["molecule"]: row for row in rows}
    lines = [
        [molecule, row["atoms"], f"{row['last_residual_meV_per_A']:.0f}",
         *(format(v[molecule], form) if molecule in v else "" for v in found.values())]
        for molecule, row in about.items()
    ]  # fmt: skip
    header = ["molecule", "atoms", "residual of the last labels meV/A", *map(_name, found)]
    return markdown(header, lines)


def mollified_molecules() -> str:
    """Fluctuation of the true energy by molecule, meV/atom."""
    return _molecules("fluctuation", ".2f")


def mollified_distances() -> str:
    """Distance from the reference after 160 fs by molecule, angstrom."""
    return _molecules("distance_A", ".4f")


def mollified_cost() -> str:
    """Milliseconds of the parts of a stride."""
    lines = []
    for row in load("mollified_cost")["rows"]:
        us = {way: one["us"] for way, one in row["ways"].items()}
        ms: Callable[[str], str] = lambda way, us=us: f"{1e-3 * us[way]:.3g}"  # type: ignore[misc]  # noqa: E731
        forces: Callable[[str], str] = lambda way, us=us: (  # type: ignore[misc]  # noqa: E731
            f"{1e-3 * us[way]:.3g} ({us[way] / us['force']:.0f})"
        )
        lines.append([
            row["molecule"], row["atoms"], ms("force"), ms("gfn2"),
            *(" / ".join(forces(f"{part} {fs}") for fs in (4, 8))
              for part in ("flow", "average", "pull back")),
            f"{ms('impulse 4')} / {ms('mollified 4')} / {ms('mollified 8')}",
            f"{row['impulse_4_over_mollified_8']:.2f}",
            f"{row['break_even_ms']:.3g} ms, {row['break_even_gfn2']:.2g} x GFN2",
        ])  # fmt: skip
    header = ["molecule", "atoms", "force ms", "GFN2 ms", "flow, 4 / 8 fs: ms (forces)",
              "average", "pull back", "whole stride, impulse 4 / mollified 4 / mollified 8 fs: ms",
              "GFN2: time per ps of impulse 4 over mollified 8",
              "8 fs pay from a gradient of"]  # fmt: skip
    return markdown(header, lines)


def _measured(value: dict[str, float] | None, form: str = "+.2f") -> str:
    return f"{value['mean']:{form}} ± {value['error']:{form.strip('+')}}" if value else ""


def mollified_nvt() -> str:
    """Mean energies and temperatures of canonical runs."""
    lines = [
        [
            row["molecule"], f"`{row['run']}`", f"{row['stride_fs']:g}",
            f"{row['residual_meV_per_A']:.0f}",
            _measured(row.get("bias_meV_per_atom")),
            _measured(row.get("reweighted_bias_meV_per_atom"), "+.3f"),
            ", ".join(f"{e} {_measured(t, '.0f')}" for e, t in row["kelvin"].items()),
            row["fallbacks"],
        ]
        for row in load("mollified_nvt")["rows"]
    ]  # fmt: skip
    header = ["molecule", "run", "stride fs", "residual meV/A",
              "mean potential energy less the exact one meV/atom",
              "of averaged kicks alone, by reweighting", "kelvin", "fallbacks"]  # fmt: skip
    return markdown(header, lines)


def mollified_distributions() -> str:
    """Distances of distributions from those of exact runs, over their noise."""
    kinds = ("bonds", "angles", "dihedrals", "energy")
    lines = []
    for row in load("mollified_nvt")["rows"]:
        if (by_kind := row.get("distributions")) is None:
            continue
        cells = [
            f"{one['distance']:.3f} / {one['noise_floor']:.3f}, p = {one['p_value']:.2f}"
            if (one := by_kind.get(kind)) else ""
            for kind in kinds
        ]  # fmt: skip
        lines.append([row["molecule"], f"`{row['run']}`", *cells])
    return markdown(["molecule", "run", *kinds], lines)


def peers_mts() -> str:
    """i-PI's multiple time stepping beside impulses and mollified impulses from the same start."""
    lines = [
        [row["molecule"], f"{row['stride_fs']:g}",
         *(f"{row[run]['fluctuation']:.2f} / {row[run]['drift']:+.2f}"
           for run in ("i-PI", "impulse", "mollified")),
         f"{row['apart_meV_at_100_fs']:.1g}"]
        for row in load("peers_mts")["rows"]
    ]  # fmt: skip
    header = ["molecule", "stride fs", "i-PI 3.3: fluctuation meV/atom / drift meV/atom/ps",
              "`impulse`", "`mollified`",
              "i-PI and `impulse` apart after 100 fs, meV"]  # fmt: skip
    return markdown(header, lines)
