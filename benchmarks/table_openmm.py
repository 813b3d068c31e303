"""The tables of OpenMM, from their committed results; see `benchmarks.table`."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common import load

NAMES = {
    "reference": "velocity Verlet (reference)",
    "direct": "**direct jump**",
    "flow impulse": "**flow**, `impulse`",
    "flow filtered": "**flow**, `filtered`",
    "flow none": "the network's potential alone",
    "flow metropolized": "**flow**, Metropolis",
    "verlet": "velocity Verlet",
    "ballistic": "free flight",
}


def _order(method: str) -> tuple[float, int]:
    name, _, k = method.rpartition("-")
    if not name:
        return 0.0, 0
    return float(k), list(NAMES).index(name)


def _distance(row: dict[str, Any] | None, kind: str) -> str:
    if row is None or kind not in row:
        return ""
    return f"{row[kind]['distance']:.2f} ({row[kind]['noise_floor']:.2f})"


def _drift(row: dict[str, Any] | None, method: str) -> str:
    # Without forces nothing binds the atoms: there is no drift to speak of.
    if row is None or row["median_abs_drift"] is None or method.startswith("ballistic"):
        return ""
    return f"{row['median_abs_drift']:.3g}"


def _rows(result: dict[str, Any], group: str) -> list[str]:
    """One line for each method: Langevin dynamics first, then the drift at constant energy."""
    found = {(row["method"], row["ensemble"]): row for row in result["summary"]
             if row["group"] == group}  # fmt: skip
    lines = []
    for method in sorted({method for method, _ in found}, key=_order):
        bath, free = found.get((method, "langevin")), found.get((method, "nve"))
        row: dict[str, Any] = bath or free or {}
        seconds = statistics.median(
            r["seconds_per_ps"] for r in result["rows"]
            if (r["method"], r["group"], r["ensemble"]) == (method, group, row["ensemble"])
        )  # fmt: skip
        off = None if bath is None else bath["temperature_off_K"]
        lost = " / ".join(str(r["runs_lost"]) if r else "" for r in (bath, free))
        undone = " / ".join(
            f"{1000 * r['fallbacks_per_stride']:.1f}" if r else "" for r in (bath, free)
        )
        name = method.rpartition("-")[0] or method
        lines.append(
            f"| {group} | {NAMES[name]} | {row['stride_fs']:g} | {row['evaluations_per_ps']:.0f} | "
            f"{seconds:.3g} | {'' if off is None else format(off['mean'], '.0f')} | "
            f"{_distance(bath, 'bonds')} | {_distance(bath, 'angles')} | {_drift(free, method)} | "
            f"{undone} | {lost} |"
        )
    return lines


def _openmm_mm(name: str) -> str:
    result = load(name)
    lines = [
        "| molecules | run | stride fs | evaluations per ps | processor seconds per ps | "
        "temperature off, mean over elements, K | bonds: distance (noise) | angles | "
        "abs. drift meV/atom/ps | undone of 1000 jumps, NVT / NVE | runs lost, NVT / NVE |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for group in sorted({row["group"] for row in result["summary"]}):
        lines += _rows(result, group)
    return "\n".join(lines)


def openmm_mm_direct() -> str:
    """Direct jumps on rigid bonds."""
    return _openmm_mm("openmm_mm_direct")


def openmm_mm_flow() -> str:
    """Flow jumps, nothing fixed."""
    return _openmm_mm("openmm_mm_flow")


def openmm_overhead() -> str:
    """What a jump in OpenMM costs beyond the jump, microseconds."""
    lines = [
        "| platform, run | atoms | k | step | in jump and corrector | the rest | in the network "
        "| beyond the network |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in load("openmm_overhead")["rows"].items():
        if "step_us" in row:
            lines.append(f"| {name} | 9 | | | | {row['step_us']:.0f} | | |")
            continue
        network = (
            f"{row['network_us']:.0f} | {row['beyond_network_us']:.0f}"
            if "network_us" in row
            else "|"
        )
        lines.append(
            f"| {name} | {row['atoms']} | {row['k']} | {row['jump_us']:.0f} | "
            f"{row['jump_and_corrector_us']:.0f} | {row['rest_us']:.0f} | {network} |"
        )
    return "\n".join(lines)
