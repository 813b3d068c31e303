"""Tables of what is learned from the labels of a run."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load

PEERS = {"sgdml": "sGDML", "mace": "MACE (small)"}


def learning_peers() -> str:
    """Fits of other packages to the first labels of a run."""
    rows = load("learning_peers")["rows"]
    counts = sorted({row["labels"] for row in rows})
    fits: dict[tuple[str, str], dict[int, Any]] = {}
    for row in rows:
        fits.setdefault((row["molecule"], row["peer"]), {})[row["labels"]] = row
    lines = []
    for (molecule, peer), by_count in fits.items():
        errors = (f"{by_count[n]['test_meV_per_A']:.0f}" if n in by_count else "" for n in counts)
        last = by_count[max(by_count)]
        seconds = " / ".join(f"{by_count[n]['cpu_seconds']:.0f}" for n in sorted(by_count))
        lines.append([
            molecule, last["atoms"], f"{last['temperature_K']:.0f}",
            f"{PEERS[peer]} {last['version']}", *errors, f"{last['train_meV_per_A']:.0f}", seconds,
            f"{last['microseconds']:.0f}",
        ])  # fmt: skip
    header = ["molecule", "atoms", "run at K", "method",
              *(f"{n} labels: residual meV/A" for n in counts), "on the last labels themselves",
              "CPU seconds of these fits", "microseconds per force after the last"]  # fmt: skip
    return markdown(header, lines)


def _rms(values: list[float]) -> str:
    return f"{(sum(x * x for x in values) / len(values)) ** 0.5:.0f}" if values else ""


def _median(values: list[int | None]) -> str:
    """Median of numbers of labels; those never reached count as more than any."""
    ordered = sorted(values, key=lambda one: (one is None, one or 0))
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return "not reached" if low is None or high is None else f"{(low + high) / 2:.0f}"


def learning_residuals() -> str:
    """Residuals of landings before they are learned."""
    result = load("learning_residuals")
    windows = ((0, 5), (5, 20), (20, 60), (60, 100), (100, 200), (200, 300))
    longest = max(len(row["residuals"]) for row in result["rows"])
    windows = tuple(one for one in windows if one[0] < longest)
    lines = []
    bases = list(dict.fromkeys(row["base"] for row in result["rows"]))
    for base in bases:
        rows = [row for row in result["rows"] if row["base"] == base]
        lines += [
            [
                row["molecule"], row["atoms"], base, f"{row['before']:.0f}",
                *(_rms(row["residuals"][a:b]) for a, b in windows),
                *(row["until"][x] or "" for x in ("40", "25", "15", "10")),
            ]
            for row in rows
        ]  # fmt: skip
        lines.append([
            f"**median of {len(rows)}**", "", base, "", *("" for _ in windows),
            *(_median([row["until"][x] for row in rows]) for x in ("40", "25", "15", "10")),
        ])  # fmt: skip
    header = ["molecule", "atoms", "base", "before", *(f"labels {a}-{b}" for a, b in windows),
              *(f"below {x} for good after" for x in (40, 25, 15, 10))]  # fmt: skip
    return markdown(header, lines)


def learning_nve() -> str:
    """Energy of strides of 4 fs before and after learning."""
    rows = load("learning_nve")["rows"]
    runs = [key for key in rows[0] if isinstance(rows[0][key], dict)]
    lines = [
        [row["molecule"], row["atoms"], row["labels"],
         *(f"{row[key]['fluctuation']:.2f} / {row[key]['drift']:+.2f}" for key in runs)]
        for row in rows
    ]  # fmt: skip
    return markdown(["molecule", "atoms", "labels", *runs], lines)


def learning_metropolis() -> str:
    """Acceptance before and after a burn-in that learned."""
    rows = load("learning_metropolis")["rows"]
    lines = [
        [row["molecule"], row["atoms"], f"{100 * row['base']:.0f} %", row["burn-in learned"],
         f"{row['stride_fs learned']:.0f}", f"{100 * row['learned']:.0f} %"]
        for row in rows
    ]  # fmt: skip
    header = ["molecule", "atoms", "base, strides of 100 fs", "strides of the burn-in",
              "stride fs that it came to", "learned"]  # fmt: skip
    return markdown(header, lines)


def learning_dft() -> str:
    """A run that learns under DFT, beside velocity Verlet and r-RESPA from the same start."""
    rows = load("learning_dft")["rows"]
    lines = [
        [row["run"], row["stride_fs"], f"{row['length_fs']:.0f}", row["gradients"],
         f"{row['cpu_s_per_gradient']:.1f}", f"{row['cpu_h_per_ps']:.2f}", f"{row['faster']:.1f}",
         f"{row['fluctuation']:.2f}", f"{row['drift']:+.2f}", row["residuals"]]
        for row in rows
    ]  # fmt: skip
    header = ["run", "stride fs", "length fs", "gradients", "CPU s per gradient, all included",
              "CPU hours per ps", "times faster", "fluctuation meV/atom", "drift meV/atom/ps",
              "residual meV/A"]  # fmt: skip
    return markdown(header, lines)


def learning_dft_mollified() -> str:
    """A run that learns under DFT at strides of 8 fs, beside velocity Verlet."""
    lines = [
        [row["run"], row["stride_fs"], f"{row['length_fs']:.0f}", row["gradients"],
         f"{row['cpu_s_per_gradient']:.1f}", f"{row['cpu_h_per_ps']:.2f}", f"{row['faster']:.1f}",
         f"{row['fluctuation']:.2f}", f"{row['drift']:+.2f}",
         f"{row['distance_60_fs_A']:.4f}" if "distance_60_fs_A" in row else ""]
        for row in load("learning_dft")["mollified"]["rows"]
    ]  # fmt: skip
    header = ["run", "stride fs", "length fs", "gradients", "CPU s per gradient, all included",
              "CPU hours per ps", "times faster", "fluctuation meV/atom", "drift meV/atom/ps",
              "distance after 60 fs, A"]  # fmt: skip
    return markdown(header, lines)


def learning_dft_bases() -> str:
    """Other bases on the labels of the DFT run."""
    lines = [
        [row["base"], f"{row['before']:.0f}", *(f"{one:.0f}" for one in row["windows"])]
        for row in load("learning_dft")["bases"]
    ]
    header = ["base", "before", "labels 0-5", "5-20", "20-60", "60-150"]
    return markdown(header, lines)
