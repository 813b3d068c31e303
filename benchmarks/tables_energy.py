"""Tables of energy conservation, long strides, force errors, cost of a jump, and fits."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.documents import markdown, number
from benchmarks.results import load

RUNS = {
    "verlet-1": "velocity Verlet",
    "kstep-2": "`organic-gfn2`, k = 4, base 0.5 fs",
    "plain": "`organic-gfn2`, k = 8, base 0.25 fs (the plain call)",
    "gfnff-2": "GFN-FF inside, k = 4, base 0.5 fs (ethanol only)",
    "potential-only-2": "`organic-gfn2` alone, corrector `none` (control)",
}
KICKS = {
    "impulse": "R(x)",
    "bonds": "R(x) without what changes bonds of hydrogen",
    "octic-1.5": "f R(x), 1/(1 + (wh/1.5)^8)",
    "octic-1.2": "f R(x), 1.2: `filtered`, the default",
    "octic": "`filtered`, octic",
    "octic-1.0": "f R(x), 1.0",
    "octic-0.7": "f R(x), 0.7",
    "octic-0.5": "f R(x), 0.5",
    "quartic-1.5": "f R(x), 1/(1 + (wh/1.5)^4): `quartic`",
    "gauss-1.2": "f R(x), exp(-(wh/1.2)^2)",
    "gauss-0.7": "f R(x), exp(-(wh/0.7)^2)",
    "mean": "A_x^T R(x), window of one stride",
    "hat": "A_x^T R(x), window of two, falling weights",
    "molly-mean": "A_x^T R(A(x)), window of one stride",
    "molly-hat": "A_x^T R(A(x)), window of two, falling weights",
    "held": "R(x_n) at each base step of the next stride",
    "none": "nothing: the potential alone",
}


def nve() -> str:
    """Energy conservation."""
    result = load("nve")
    strides = {row["method"]: row["stride_fs"] for row in result["rows"] if "error" not in row}
    rows = []
    for key in RUNS:
        if key not in result["summary"]:
            continue
        row = result["summary"][key]
        width, drift = row["fluctuation_meV_per_atom"], row["abs_drift_meV_per_atom_per_ps"]
        rows.append([
            RUNS[key], f"{strides[key]:g}", row["molecules"],
            " and ".join(f"{ps:g}" for ps in row["picoseconds"]),
            f"{row['evaluations_per_ps']:.0f}", f"{width['median']:.2f} / {width['p90']:.2f}",
            f"{drift['median']:.3f} / {drift['p90']:.3f}",
            f"{row['signed_mean_drift_meV_per_atom_per_ps']:+.3f}", row["fallbacks"],
        ])  # fmt: skip
    header = ["run", "stride fs", "molecules", "length ps", "evaluations per ps",
              "fluctuation meV/atom, median / 90 %", "abs. drift meV/atom/ps, median / 90 %",
              "signed mean drift", "fallbacks"]  # fmt: skip
    return markdown(header, rows)


def residuals() -> str:
    """Force errors."""
    result, rows = load("residuals"), []
    for key, name in (("inside", "48 of the list"), ("outside", "5 outside")):
        worst = (
            f"{row['molecule']} {row['residual_meV_per_A']:.0f}" for row in result[key]["rows"][:5]
        )
        rms = result[key]["rms_over_molecules_meV_per_A"]
        rows.append([name, f"{rms:.0f}", ", ".join(worst)])
    return markdown(["molecules", "rms residual meV/A", "worst"], rows)


def network_sizes() -> str:
    """Errors and times by size of the network."""
    result, rows = load("network_sizes"), []
    for row in sorted(result["rows"], key=lambda row: (row["epochs"], row["weights"])):
        squares = [[x * x for x in run["residuals"][-20:]] for run in row["learned"]]
        learned = (f"{statistics.fmean(square) ** 0.5:.0f}" for square in squares)
        size = f"{row['channels']}x{row['layers']}"
        rows.append([
            size if row["model"] == size else f"{size}, {row['model']}",
            row["weights"], row["frames"], row["epochs"],
            f"{row['validation_meV_per_A']:.0f}",
            f"{row['inside']['rms_over_molecules_meV_per_A']:.1f}",
            f"{row['outside']['median']:.0f} / {row['outside']['p90']:.0f}", " / ".join(learned),
            " / ".join(f"{value:.0f}" for value in row["microseconds"].values()),
            " / ".join(f"{8 * value / result['gfn2_microseconds'][name]:.2f}"
                       for name, value in row["microseconds"].items()),
        ])  # fmt: skip
    learners = " / ".join(run["molecule"] for run in result["rows"][0]["learned"])
    header = ["network", "weights", "frames", "epochs", "validation force rms meV/A",
              "residual meV/A at 300 K, list", "outside, median / 90 %",
              f"after {result['labels']} labels: {learners}",
              "microseconds per force, 9 / 21 / 39 atoms",
              "eight of them over one GFN2 evaluation"]  # fmt: skip
    return markdown(header, rows)


def filtered() -> str:
    """Drift and fluctuation of ethanol by corrector and stride."""
    runs = {(row["method"], row["stride_fs"]): row for row in load("filtered")["summary"]}
    names = {
        "verlet": "velocity Verlet (control)",
        "impulse": "`impulse`",
        "quartic": "`filtered`, `quartic`",
        "octic": "`filtered`, `octic`",
        "none": "`none` (control: the potential alone)",
    }
    strides = sorted({stride for _, stride in runs})

    def cell(method: str, stride: float) -> str:
        row = runs.get((method, stride))
        if row is None:
            return ""
        drift, width = row["abs_drift_meV_per_atom_per_ps"], row["fluctuation_meV_per_atom"]
        return f"{drift:.2f} / {width:.2f}"

    rows = [[name, *(cell(method, stride) for stride in strides)] for method, name in names.items()]
    return markdown(["corrector", *(f"{stride:g} fs" for stride in strides)], rows)


def _kick_table(rows: list[dict[str, Any]], names: list[str], signed: bool) -> str:
    runs = {(row["method"], row["stride_fs"]): row for row in rows}

    def cell(method: str, stride: float) -> str:
        row = runs.get((method, stride))
        if row is None:
            return "not run"
        lost, drift = row.get("blew_up", 0), row["signed_mean_drift_meV_per_atom_per_ps"]
        if drift is None or lost > 1:
            return f"{lost} of {row['replicas']} blew up"
        text = [f"{drift:+.2f}"]
        if signed:
            text = [f"{drift:+.2f} ± {row['standard_error']:.2f}",
                    f"{row['abs_drift_meV_per_atom_per_ps']:.2f}"]  # fmt: skip
        text += [f"{row['fluctuation_meV_per_atom']:.2f}", f"{1e3 * row['rmsd_160_fs_A']:.0f}"]
        return " / ".join(text) + (f" ({lost} blew up)" if lost else "")

    lines = [[KICKS[name], cell(name, 4.0), cell(name, 8.0)] for name in names]
    return markdown(["kick", "4 fs", "8 fs"], lines)


def correctors_explored() -> str:
    """Kicks that were tried on small networks."""
    names = [name for name in KICKS if name != "octic"]
    return _kick_table(load("correctors")["explored"], names, signed=True)


def correctors_confirmed() -> str:
    """Kicks that were tried on GFN2."""
    names = ["impulse", "octic", "octic-0.7", "molly-mean", "bonds", "none"]
    return _kick_table(load("correctors")["confirmed"], names, signed=False)


def _shift(part: dict[str, Any] | None) -> str:
    if not part or not part["of"]:
        return ""
    return f"{part['median']:+.0f} / {part['abs_max']:.0f}"


def long_strides() -> str:
    """Drift, fluctuation, distance and spectra by stride and corrector."""
    rows = []
    for key, row in load("long_strides")["summary"].items():
        run, stride = key.rsplit("-", 1)
        model, _, corrector = run.partition(".")
        width, drift = row["fluctuation_meV_per_atom"], row["abs_drift_meV_per_atom_per_ps"]
        signed = row.get("signed_drift_meV_per_atom_per_ps")
        rows.append([
            f"`{model}`, `{corrector}`" if corrector else "velocity Verlet", stride,
            f"{row['picoseconds']:.2f}", f"{len(row['lost'])} / {row['fallbacks']}",
            f"{row['evaluations_per_ps']:.0f}",
            f"{number(width['median'])} / {number(width['p90'])}",
            f"{number(drift['median'])} / {number(drift['p90'])}",
            f"{signed['mean']:+.2f} ± {signed['standard_error']:.2f}" if signed else "",
            number(row["rmsd_A"]["mean"], ".4f"), _shift(row.get("bends_shift_per_cm")),
            _shift(row.get("stretches_shift_per_cm")),
            f"{row['overlap']:.2f}" if "overlap" in row else "",
        ])  # fmt: skip
    header = ["run", "stride fs", "ps", "lost / fallbacks", "evaluations per ps",
              "fluctuation meV/atom, median / 90 %", "abs. drift meV/atom/ps, median / 90 %",
              "signed mean drift", "rmsd at 160 fs, A", "shift of bends cm^-1, median / largest",
              "shift of stretches", "overlap of spectra"]  # fmt: skip
    return markdown(header, rows)


def long_strides_distances() -> str:
    """Distances from the starts that every method was run from, by stride."""
    by_start = load("long_strides")["rmsd_by_start"]
    shared = set.intersection(*(set(starts) for starts in by_start.values()))
    cells: dict[str, dict[str, str]] = {}
    for key, starts in by_start.items():
        run, stride = key.rsplit("-", 1)
        gaps = [starts[seed]["mean_A"] for seed in shared]
        whole = None not in gaps and not any(starts[seed]["lost"] for seed in shared)
        mean = sum(gaps) / len(gaps) if whole else None
        cells.setdefault(run, {})[stride] = number(mean, ".4f")
    strides = sorted({stride for row in cells.values() for stride in row}, key=float)
    header = [f"rmsd at 160 fs, A, {len(shared)} starts of each", *(f"{s} fs" for s in strides)]
    return markdown(
        header, ([run, *(row.get(s, "") for s in strides)] for run, row in cells.items())
    )


def long_strides_tuning() -> str:
    """Residuals before and after the tuning."""
    return markdown(
        ["molecule", "force meV/A", "residual before", "after tuning"],
        (
            [name, f"{row['force_meV_per_A']:.0f}", f"{row['before_meV_per_A']:.1f}",
             f"{row['after_meV_per_A']:.1f}"]
            for name, row in load("long_strides")["tuning"]["molecules"].items()
        ),
    )  # fmt: skip


def backbones() -> str:
    """Accuracy against cost."""
    return markdown(
        ["backbone", "channels", "layers", "force rms meV/A", "microseconds per force", "fit s"],
        (
            [row["backbone"], row["channels"], row["layers"],
             f"{row['validation_force_rms_meV_per_A']:.0f}",
             f"{row['force_microseconds_ethanol']:.0f}", f"{row['fit_seconds']:.0f}"]
            for row in load("backbones")["rows"]
        ),
    )  # fmt: skip


def correctors_cost() -> str:
    """Milliseconds of a jump with each corrector."""
    header = ["molecule", "replicas", "force", "`none`", "`impulse`", "`filtered`",
              "first `filtered` jump, s"]  # fmt: skip
    return markdown(
        header,
        (
            [f"{row['molecule']}, {row['atoms']} atoms", row["replicas"],
             row.get("backend", "compiled" if row.get("compiled") else "eager"),
             *(f"{row[f'{name}_ms']:.1f}" for name in ("none", "impulse", "filtered")),
             f"{row['filtered_first_call_seconds']:.1f}"]
            for row in load("correctors_cost")["rows"]
        ),
    )  # fmt: skip


def transfer() -> str:
    """Tuning a pretrained network against training from scratch."""
    rows, lines = load("transfer")["rows"], []
    for n in sorted({row["frames"] for row in rows}):
        fits = {
            kind: [row for row in rows if (row["frames"], row["kind"]) == (n, kind)]
            for kind in ("scratch", "transfer")
        }
        ends = {k: [row["force_rms_meV_per_A"] for row in own] for k, own in fits.items()}
        mean = {k: statistics.mean(values) for k, values in ends.items()}
        curves = [row["curve"] for row in fits["transfer"]]
        course = zip(*(curve["force_rms_meV_per_A"] for curve in curves), strict=True)
        better = (e for e, errors in enumerate(course, 1)
                  if statistics.mean(errors) <= mean["scratch"])  # fmt: skip
        steps = sorted({row["steps"] for row in fits["scratch"]})
        lines.append([
            n, " to ".join(map(str, steps)),
            *(f"{mean[k]:.0f} ({min(v):.0f} to {max(v):.0f})" for k, v in ends.items()),
            f"{mean['transfer'] / mean['scratch']:.2f}",
            f"{next(better, 'more than')} of {len(curves[0]['step'])}",
        ])  # fmt: skip
    header = ["QM frames", "optimizer steps", "from scratch meV/A", "transfer meV/A", "ratio",
              "epochs until transfer is where scratch ends"]  # fmt: skip
    return markdown(header, lines)


def fit_throughput() -> str:
    """Frames per second of fits."""
    return markdown(
        ["network", "batch", "frames/s", "waiting for data", "load of the machine"],
        (
            [row["network"], row["batch_size"], f"{row['frames_per_second']:.0f}",
             f"{row['loader_share']:.1%}", f"{row['load_before']:.1f} to {row['load_after']:.1f}"]
            for row in load("fit_throughput")["rows"]
        ),
    )  # fmt: skip


def recipes() -> str:
    """Seconds of recipes, and their errors."""
    rows = []
    for row in load("recipes")["rows"]:
        seconds, run, validation = row["seconds"], row["run"], row["validation"]
        stages = ("prep", "simulate", "dataset", "fit", "run")
        error = (
            f"{100 * validation['val_increment']:.0f} % of the increments"
            if "val_increment" in validation
            else f"{validation['val_force_rms']:.0f} meV/A"
        )
        rows.append([
            f"`{row['recipe']}`", " / ".join(f"{seconds[stage]:.0f}" for stage in stages),
            f"{row['frames']} x {row['epochs']}", error,
            f"{run['molecule']}, {run['simulated_ps']:.0f} ps at {run['stride_fs']:g} fs: "
            f"{run['evaluations']} evaluations, {run['fallbacks']} fallbacks",
        ])  # fmt: skip
    header = ["recipe", "prep / simulate / dataset / fit / run, s", "items x epochs",
              "validation error", "run"]  # fmt: skip
    return markdown(header, rows)
