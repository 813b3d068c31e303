"""Tables of boxes of water that learn."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import markdown, number
from benchmarks.results import load

__all__ = ["water_cost", "water_motion"]


def water_cost() -> str:
    """Energy, labels and cost of the large box."""
    box = load("water_box")["boxes"]["large"]
    header = ["27 molecules" if box["molecules"] == 27 else f"{box['molecules']} molecules"]
    header += ["ps", "evaluations per ps", "CPU s per ps", "times less than Verlet 0.5 fs"]
    header += ["drift", "fluctuation", "labels until below 40 / 30 / 20", "residual at the end"]
    return markdown(header, (_cost(way, run) for way, run in box["runs"].items()))


def _cost(way: str, run: dict[str, Any]) -> list[str]:
    labels = " / ".join("-" if n is None else str(n) for n in run["labels_below"].values())
    last = run["last_residual"]
    return [
        way,
        number(run["ps"]),
        number(run["evaluations_per_ps"], ".0f"),
        number(run["seconds_per_ps"], ".0f"),
        number(run["times_faster"], ".1f"),
        number(run["drift"], "+.2f"),
        number(run["fluctuation"]),
        labels if last is not None else "",
        "" if last is None else number(1e3 * last, ".0f"),
    ]


def water_motion() -> str:
    """Structure and motion of the small box."""
    box = load("water_box")["boxes"]["small"]
    header = [f"{box['molecules']} molecules", "ps", "drift", "fluctuation", "residual at the end"]
    header += ["g(r) O-O", "g(r) O-H", "VDOS overlap", "diffusion of O"]
    return markdown(header, (_motion(way, run) for way, run in box["runs"].items()))


def _motion(way: str, run: dict[str, Any]) -> list[str]:
    last, overlap = run["last_residual"], run.get("vdos_overlap")
    diffusion = run["diffusion_A2_per_ps"]
    return [
        way,
        number(run["ps"]),
        number(run["drift"], "+.2f"),
        number(run["fluctuation"]),
        "" if last is None else number(1e3 * last, ".0f"),
        number(run["rdf_distance"]["O-O"]),
        number(run["rdf_distance"]["H-O"]),
        "" if overlap is None else number(overlap),
        "" if diffusion is None else f"{diffusion[0]:.2f} ± {diffusion[1]:.2f}",
    ]
