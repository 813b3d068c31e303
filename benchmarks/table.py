"""Print the committed results as the Markdown tables that the README and the docs show.

python -m benchmarks.table
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common import RESULTS, load, or_infinite
from benchmarks.table_dft import dft, dft_tuned, pyscf_accuracy, pyscf_memory, scf_cycles
from benchmarks.table_evaluate import evaluate_full, evaluate_quick
from benchmarks.table_openmm import openmm_mm_direct, openmm_mm_flow, openmm_overhead

NAMES = {
    "verlet-1": "velocity Verlet",
    "kstep-2": "`organic-gfn2`, k = 4, base 0.5 fs",
    "plain": "`organic-gfn2`, k = 8, base 0.25 fs (the plain call)",
    "gfnff-2": "GFN-FF inside, k = 4, base 0.5 fs (ethanol only)",
    "potential-only-2": "`organic-gfn2` alone, corrector `none` (control)",
}


def nve() -> str:
    """Energy conservation."""
    result = load("nve")
    strides = {row["method"]: row["stride_fs"] for row in result["rows"] if "error" not in row}
    lines = [
        "| run | stride fs | molecules | length ps | evaluations per ps | fluctuation meV/atom, "
        "median / 90 % | abs. drift meV/atom/ps, median / 90 % | signed mean drift | fallbacks |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, name in NAMES.items():
        if key not in result["summary"]:
            continue
        row = result["summary"][key]
        width, drift = row["fluctuation_meV_per_atom"], row["abs_drift_meV_per_atom_per_ps"]
        lines.append(
            f"| {name} | {strides[key]:g} | {row['molecules']} | "
            f"{' and '.join(f'{ps:g}' for ps in row['picoseconds'])} | "
            f"{row['evaluations_per_ps']:.0f} | "
            f"{width['median']:.2f} / {width['p90']:.2f} | "
            f"{drift['median']:.3f} / {drift['p90']:.3f} | "
            f"{row['signed_mean_drift_meV_per_atom_per_ps']:+.3f} | {row['fallbacks']} |"
        )
    return "\n".join(lines)


def residuals() -> str:
    """Force errors."""
    result = load("residuals")
    lines = ["| molecules | rms residual meV/A | worst |", "|---|---|---|"]
    for key, name in (("inside", "48 of the list"), ("outside", "5 outside")):
        part = result[key]
        worst = ", ".join(
            f"{row['molecule']} {row['residual_meV_per_A']:.0f}" for row in part["rows"][:5]
        )
        lines.append(f"| {name} | {part['rms_over_molecules_meV_per_A']:.0f} | {worst} |")
    return "\n".join(lines)


def backbones() -> str:
    """Accuracy against cost."""
    lines = [
        "| backbone | channels | layers | force rms meV/A | microseconds per force | fit s |",
        "|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {row['backbone']} | {row['channels']} | {row['layers']} | "
        f"{row['validation_force_rms_meV_per_A']:.0f} | "
        f"{row['force_microseconds_ethanol']:.0f} | {row['fit_seconds']:.0f} |"
        for row in load("backbones")["rows"]
    )
    return "\n".join(lines)


def jump_cost() -> str:
    """Where the time of a step goes."""
    result = load("jump_cost")
    lines = [
        "| | force us | jump us | jump / GFN2 evaluation | rest of a step us |",
        "|---|---|---|---|---|",
    ]
    for key in ("eager", "compiled"):
        row = result[key]
        lines.append(
            f"| {key} | {row['force_us']:.0f} | {row['jump_us']:.0f} | "
            f"{row['jump_over_gfn2_evaluation']:.1f} | {row['step_rest_us']:.0f} |"
        )
    lines.append(f"\nOne GFN2 evaluation: {result['gfn2_evaluation_us']:.0f} us.")
    return "\n".join(lines)


def _shift(part: dict[str, Any] | None) -> str:
    if not part or not part["of"]:
        return ""
    return f"{part['median']:+.0f} / {part['abs_max']:.0f}"


def _distances(by_start: dict[str, Any]) -> list[str]:
    """Distances from the starts that every method was run from, by stride."""
    shared = set.intersection(*(set(starts) for starts in by_start.values()))
    found: dict[str, dict[str, str]] = {}
    for key, starts in by_start.items():
        run, stride = key.rsplit("-", 1)
        gaps = [starts[seed]["mean_A"] for seed in shared]
        whole = None not in gaps and not any(starts[seed]["lost"] for seed in shared)
        text = f"{sum(gaps) / len(gaps):.4f}" if whole else "inf"
        found.setdefault(run, {})[stride] = text
    strides = sorted({stride for row in found.values() for stride in row}, key=float)
    return [
        f"| rmsd at 160 fs, A, {len(shared)} starts of each | "
        + " | ".join(f"{stride} fs" for stride in strides)
        + " |",
        "|---" * (len(strides) + 1) + "|",
        *(
            f"| {run} | " + " | ".join(row.get(stride, "") for stride in strides) + " |"
            for run, row in found.items()
        ),
    ]


def long_strides() -> str:
    """Drift, fluctuation, distance and spectra by stride and corrector."""
    result = load("long_strides")
    lines = [
        "| run | stride fs | ps | lost / fallbacks | evaluations per ps | fluctuation meV/atom, "
        "median / 90 % | abs. drift meV/atom/ps, median / 90 % | signed mean drift | "
        "rmsd at 160 fs, A | shift of bends cm^-1, median / largest | shift of stretches | overlap "
        "of spectra |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in result["summary"].items():
        run, stride = key.rsplit("-", 1)
        model, _, corrector = run.partition(".")
        name = f"`{model}`, `{corrector}`" if corrector else "velocity Verlet"
        width, drift = row["fluctuation_meV_per_atom"], row["abs_drift_meV_per_atom_per_ps"]
        signed = row.get("signed_drift_meV_per_atom_per_ps")
        lines.append(
            f"| {name} | {stride} | {row['picoseconds']:.2f} | "
            f"{len(row['lost'])} / {row['fallbacks']} | "
            f"{row['evaluations_per_ps']:.0f} | "
            f"{or_infinite(width['median'])} / {or_infinite(width['p90'])} | "
            f"{or_infinite(drift['median'])} / {or_infinite(drift['p90'])} | "
            + (f"{signed['mean']:+.2f} ± {signed['standard_error']:.2f}" if signed else "")
            + f" | {or_infinite(row['rmsd_A']['mean'], '.4f')} | "
            f"{_shift(row.get('bends_shift_per_cm'))} | "
            f"{_shift(row.get('stretches_shift_per_cm'))} | "
            + (f"{row['overlap']:.2f} |" if "overlap" in row else "|")
        )
    lines += ["", *_distances(result["rmsd_by_start"])]
    lines += [
        "",
        "| molecule | force meV/A | residual before | after tuning |",
        "|---|---|---|---|",
    ]
    lines.extend(
        f"| {name} | {row['force_meV_per_A']:.0f} | {row['before_meV_per_A']:.1f} | "
        f"{row['after_meV_per_A']:.1f} |"
        for name, row in result["tuning"]["molecules"].items()
    )
    return "\n".join(lines)


def exactness() -> str:
    """Metropolized jumps where the ensemble is known."""
    lines = [
        "| system | corrector | extra chances | sigma(dH)/kT | accepted first / at all "
        "| mean exp(-dH/kT) | balance | largest deviate (of) | smallest p of histograms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in load("exactness")["rows"]:
        chances = [t["p_value"] for t in row["tests"] if t["quantity"] == "histogram"]
        lines.append(
            f"| {row['system']} | `{row['corrector']}` | {row['extra_chances']} | "
            f"{row['sigma_dH_kT']:.2f} | {row['accepted_first']:.2f} / {row['accepted']:.2f} | "
            f"{row['exp_minus_dH']:.3f} ± {row['exp_minus_dH_error']:.3f} | "
            f"{row['balance']:+.4f} ± {row['balance_error']:.4f} | "
            f"{row['largest_deviate']:.1f} ({row['comparisons']}) | {min(chances):.3f} |"
        )
    return "\n".join(lines)


def nvt() -> str:
    """Thermostats and correctors by physical_validation."""
    lines = [
        "| run | temperatures K | samples each | kinetic: p of all | mean, width (sigma) "
        "| ensemble by U, by U + K (sigma) | by U of the inner potential (sigma) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in load("nvt")["rows"]:
        kinetic = row["kinetic"]
        ensemble = "| |"
        if "ensemble_potential_sigma" in row:
            ensemble = (
                f"{row['ensemble_potential_sigma']:.1f}, {row['ensemble_total_sigma']:.1f} | "
                f"{row['ensemble_of_inner_potential_sigma']:.1f} |"
            )
        lines.append(
            f"| {row['system']}: {row['name']} | "
            f"{', '.join(f'{t:.0f}' for t in row['temperatures_K'])} | {row['samples_each']} | "
            f"{', '.join(format(k['strict_p_value'], '.2g') for k in kinetic)} | "
            + "; ".join(f"{k['mean_sigma']:.1f}, {k['width_sigma']:.1f}" for k in kinetic)
            + f" | {ensemble}"
        )
    return "\n".join(lines)


def transfer() -> str:
    """Tuning a pretrained network against training from scratch."""
    rows = load("transfer")["rows"]
    lines = [
        "| QM frames | optimizer steps | from scratch meV/A | transfer meV/A | ratio "
        "| epochs until transfer is where scratch ends |",
        "|---|---|---|---|---|---|",
    ]
    for n in sorted({row["frames"] for row in rows}):
        fits = {
            kind: [row for row in rows if (row["frames"], row["kind"]) == (n, kind)]
            for kind in ("scratch", "transfer")
        }
        ends = {k: [row["force_rms_meV_per_A"] for row in own] for k, own in fits.items()}
        mean = {k: statistics.mean(values) for k, values in ends.items()}
        said = {
            k: f"{mean[k]:.0f} ({min(values):.0f} to {max(values):.0f})"
            for k, values in ends.items()
        }
        curves = [row["curve"] for row in fits["transfer"]]
        course = zip(*(curve["force_rms_meV_per_A"] for curve in curves), strict=True)
        there = [
            epoch
            for epoch, errors in enumerate(course, 1)
            if statistics.mean(errors) <= mean["scratch"]
        ]
        steps = [row["steps"] for row in fits["scratch"]]
        lines.append(
            f"| {n} | {' to '.join(map(str, sorted({*steps})))} | {said['scratch']} "
            f"| {said['transfer']} | {mean['transfer'] / mean['scratch']:.2f} "
            f"| {there[0] if there else 'more than'} of {len(curves[0]['step'])} |"
        )
    return "\n".join(lines)


def fit_throughput() -> str:
    """Frames per second of fits."""
    lines = [
        "| network | batch | frames/s | waiting for data | load of the machine |",
        "|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {row['network']} | {row['batch_size']} | {row['frames_per_second']:.0f} "
        f"| {row['loader_share']:.1%} | {row['load_before']:.1f} to {row['load_after']:.1f} |"
        for row in load("fit_throughput")["rows"]
    )
    return "\n".join(lines)


if __name__ == "__main__":
    for table in (
        *(evaluate_quick, evaluate_full),
        *(nve, long_strides, residuals, backbones, jump_cost),
        *(dft, dft_tuned, scf_cycles, pyscf_accuracy, pyscf_memory),
        *(exactness, nvt, openmm_overhead, openmm_mm_direct, openmm_mm_flow),
        *(transfer, fit_throughput),
    ):
        if (RESULTS / f"{table.__name__}.json").exists():
            print(f"\n## {table.__name__}\n\n{table()}")
