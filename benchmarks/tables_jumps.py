"""Tables of the standing benchmark, of direct jumps, and of runs in OpenMM."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

from benchmarks.documents import markdown, number
from benchmarks.results import load

WIDTH = 118
FAMILIES = {
    "reference": "velocity Verlet (reference)",
    "fine": "velocity Verlet (fine reference)",
    "verlet": "velocity Verlet",
    "impulse": "`organic-gfn2`, `impulse`",
    "filtered": "`organic-gfn2`, `filtered`",
    "mollified": "`organic-gfn2`, `mollified`",
    "potential-only": "`organic-gfn2` alone (control)",
    "ballistic": "free flight (control)",
    "respa": "r-RESPA with GFN-FF inside (control)",
    "langevin": "Langevin on GFN2 (reference)",
    "metropolis": "`organic-gfn2`, Metropolis",
    "untested": "`organic-gfn2` without the test (control)",
}
OPENMM = {
    "reference": "velocity Verlet (reference)",
    "direct": "**direct jump**",
    "flow impulse": "**flow**, `impulse`",
    "flow filtered": "**flow**, `filtered`",
    "flow none": "the network's potential alone",
    "flow metropolized": "**flow**, Metropolis",
    "verlet": "velocity Verlet",
    "ballistic": "free flight",
}
LANDINGS = {
    "ballistic": "ballistic",
    "verlet": "velocity Verlet at the stride",
    "mean": "mean structure",
    "organic-gfn2-direct": "**direct**",
    "organic-gfn2-direct-long": "**direct**",
    "mmff94-direct": "**direct**",
    "flow organic-gfn2": "flow, `organic-gfn2`",
}
DIRECT = {"reference": "reference (Verlet)", "verlet": "velocity Verlet"}


def _family(method: str) -> str:
    return next(name for family, name in FAMILIES.items() if method.startswith(family))


def _two(row: dict[str, Any], key: str, form: str = ".2f") -> str:
    """Median and 90th percentile; nothing where nothing was measured."""
    if key not in row:
        return ""
    return " / ".join(number(row[key][part], form) for part in ("median", "p90"))


def _passed(result: dict[str, Any], promise: str, method: str) -> str:
    """Molecules that a method passes, of those that it was judged on."""
    verdicts = [
        molecule["verdicts"][promise][method]
        for molecule in result["molecules"].values()
        if method in molecule["verdicts"].get(promise, {})
    ]
    if not verdicts:
        return ""
    return " / ".join(str(verdicts.count(status)) for status in ("pass", "miss", "open"))


def _dynamics(result: dict[str, Any]) -> str:
    rows = []
    for method, row in result["summary"].items():
        if row["part"] != "dynamics":
            continue
        shifts = (f"{round(row[b]['median']):+d}" for b in ("bends", "stretches") if b in row)
        residual, cost = row["residual_meV_per_A"], row["evaluations_per_ps"]
        # Free flight has none; of methods that were always lost there is no telling.
        paid = format(cost, ".0f") if cost is not None else "" if row["lost"] else "0"
        rows.append([
            _family(method), f"{row['stride_fs']:g}", paid, _two(row, "distance", ".4f"),
            _two(row, "fluctuation"), _two(row, "abs_drift", ".3f"), ", ".join(shifts),
            "" if residual is None else format(residual, ".0f"),
            f"{row['lost']} / {row['fallbacks']}", _passed(result, "dynamics", method),
        ])  # fmt: skip
    header = ["run", "stride fs", "evaluations per ps", "distance A, median / 90 %",
              "fluctuation meV/atom", "abs. drift meV/atom/ps", "shift of bends, stretches cm^-1",
              "residual meV/A", "lost runs / fallbacks",
              "molecules pass / miss / open"]  # fmt: skip
    return markdown(header, rows)


def _ensemble(result: dict[str, Any]) -> str:
    rows = []
    for method, row in result["summary"].items():
        if row["part"] != "ensemble":
            continue
        taken, each = row.get("acceptance"), row.get("evaluations_per_sample")
        rows.append([
            _family(method), f"{row['stride_fs']:g}", f"{row['evaluations_per_ps']:.0f}",
            f"{taken['median']:.2f} / {taken['least']:.2f}" if taken else "",
            "" if each is None else format(each, ".1f"), _passed(result, "ensemble", method),
        ])  # fmt: skip
    header = ["run", "stride fs", "evaluations per ps", "acceptance, median / least",
              "evaluations per effective sample", "molecules pass / miss / open"]  # fmt: skip
    return markdown(header, rows)


def _evaluation(name: str) -> str:
    result = load(name)
    honesty, names = result["totals"]["honesty"], list(result["molecules"])
    left = result["planned"] - len(names)
    missing = f"; {left} more of the suite have not been run yet" if left else ""
    text = (
        f"{len(names)} molecules ({', '.join(names)}{missing}). "
        f"As reported: {honesty.get('pass', 0)} checks pass, {honesty.get('miss', 0)} miss, "
        f"{honesty.get('open', 0)} open. Of all {result['checks']} checks "
        f"at most {result['misses_by_chance']:.1f} would miss by chance."
    )
    return "\n\n".join([_dynamics(result), _ensemble(result), textwrap.fill(text, WIDTH)])


def evaluate_quick() -> str:
    """The quick suite of the standing benchmark."""
    return _evaluation("evaluate_quick")


def evaluate_full() -> str:
    """The full suite of the standing benchmark."""
    return _evaluation("evaluate_full")


def _one_jump(name: str) -> str:
    rows = []
    for row in load(name)["rows"]:
        whole = row["jumps"] + row["failed"]
        errors = (row["bond_A"], row["bond_thermal"], row["angle_degrees"], row["angle_thermal"],
                  row["velocity_thermal"])  # fmt: skip
        rows.append([
            row["group"].removeprefix("molecules "), f"{row['stride_fs']:g} ({row['k']})",
            LANDINGS[row["method"]],
            *(f"{error:.2g}" for error in errors),
            f"{row['failed']} of {whole}" if row["failed"] else "0",
        ])  # fmt: skip
    header = ["molecules", "stride fs (k)", "jump", "bonds, A", "in standard deviations",
              "angles, degrees", "in standard deviations", "velocities", "failed"]  # fmt: skip
    return markdown(header, rows)


def one_jump_qm() -> str:
    """Errors of single jumps, GFN2."""
    return _one_jump("one_jump_qm")


def one_jump_mm() -> str:
    """Errors of single jumps, rigid bonds under MMFF94."""
    return _one_jump("one_jump_mm")


def _direct_runs(name: str) -> str:
    rows = []
    for row in load(name)["rows"]:
        run = DIRECT.get(row["method"].rpartition("-")[0] or row["method"], "**direct**")
        elements = (f"{symbol} {each['mean']:.0f} ± {each['error']:.0f}"
                    for symbol, each in row["temperature_K"].items())  # fmt: skip
        undone = row["fallbacks"] / row["strides"]
        rows.append([
            row["ensemble"], run, f"{row['stride_fs']:g}", ", ".join(elements),
            f"{undone:.2g}" if undone < 0.01 else f"{undone:.3g}",
            ", ".join(f"{drift:+.2g}" for drift in row["drift_meV_per_atom_per_ps"]),
            f"{row['evaluations'] / row['picoseconds']:.0f}",
        ])  # fmt: skip
    header = ["ensemble", "run", "stride fs", "temperature by element, K", "fallbacks per stride",
              "drift meV/atom/ps, each start", "evaluations per ps"]  # fmt: skip
    return markdown(header, rows)


def direct_runs_qm() -> str:
    """Runs of direct jumps under GFN2."""
    return _direct_runs("direct_runs_qm")


def direct_runs_mm() -> str:
    """Runs of direct jumps under MMFF94 with rigid bonds."""
    return _direct_runs("direct_runs_mm")


def _order(method: str) -> tuple[float, int]:
    name, _, k = method.rpartition("-")
    return (float(k), list(OPENMM).index(name)) if name else (0.0, 0)


def _distance(row: dict[str, Any] | None, kind: str) -> str:
    if row is None or kind not in row:
        return ""
    return f"{row[kind]['distance']:.2f} ({row[kind]['noise_floor']:.2f})"


def _drift(row: dict[str, Any] | None, method: str) -> str:
    # Without forces nothing binds the atoms: there is no drift to speak of.
    if row is None or row["median_abs_drift"] is None or method.startswith("ballistic"):
        return ""
    return f"{row['median_abs_drift']:.3g}"


def _openmm_rows(result: dict[str, Any], group: str) -> list[Sequence[object]]:
    """One line for each method: Langevin dynamics first, then the drift at constant energy."""
    runs = {(r["method"], r["ensemble"]): r for r in result["summary"] if r["group"] == group}
    lines: list[Sequence[object]] = []
    for method in sorted({method for method, _ in runs}, key=_order):
        bath, free = runs.get((method, "langevin")), runs.get((method, "nve"))
        row: dict[str, Any] = bath or free or {}
        seconds = statistics.median(
            r["seconds_per_ps"] for r in result["rows"]
            if (r["method"], r["group"], r["ensemble"]) == (method, group, row["ensemble"])
        )  # fmt: skip
        off = None if bath is None else bath["temperature_off_K"]
        lines.append([
            group, OPENMM[method.rpartition("-")[0] or method], f"{row['stride_fs']:g}",
            f"{row['evaluations_per_ps']:.0f}", f"{seconds:.3g}",
            "" if off is None else format(off["mean"], ".0f"), _distance(bath, "bonds"),
            _distance(bath, "angles"), _drift(free, method),
            " / ".join(f"{1000 * r['fallbacks_per_stride']:.1f}" if r else ""
                       for r in (bath, free)),
            " / ".join(str(r["runs_lost"]) if r else "" for r in (bath, free)),
        ])  # fmt: skip
    return lines


def _openmm_mm(name: str) -> str:
    result = load(name)
    groups = sorted({row["group"] for row in result["summary"]})
    header = ["molecules", "run", "stride fs", "evaluations per ps", "processor seconds per ps",
              "temperature off, mean over elements, K", "bonds: distance (noise)", "angles",
              "abs. drift meV/atom/ps", "undone of 1000 jumps, NVT / NVE",
              "runs lost, NVT / NVE"]  # fmt: skip
    return markdown(header, [line for group in groups for line in _openmm_rows(result, group)])


def openmm_mm_direct() -> str:
    """Direct jumps on rigid bonds."""
    return _openmm_mm("openmm_mm_direct")


def openmm_mm_flow() -> str:
    """Flow jumps, nothing fixed."""
    return _openmm_mm("openmm_mm_flow")


def openmm_overhead() -> str:
    """Microseconds of a step in OpenMM beyond the jump."""
    rows: list[Sequence[object]] = []
    for name, row in load("openmm_overhead")["rows"].items():
        if "step_us" in row:
            rows.append([name, 9, "", "", "", f"{row['step_us']:.0f}", "", ""])
            continue
        rows.append([
            name, row["atoms"], row["k"],
            *(f"{row[key]:.0f}" for key in ("jump_us", "jump_and_corrector_us", "rest_us")),
            *(f"{row[key]:.0f}" if key in row else ""
              for key in ("network_us", "beyond_network_us")),
        ])  # fmt: skip
    header = ["platform, run", "atoms", "k", "step", "in jump and corrector", "the rest",
              "in the network", "beyond the network"]  # fmt: skip
    return markdown(header, rows)
