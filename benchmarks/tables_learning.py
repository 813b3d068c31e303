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
