"""Tables of boxes of water that learn."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import markdown, number
from benchmarks.results import load

__all__ = ["water_cost", "water_learned", "water_motion"]


def _boxes() -> dict[str, Any]:
    boxes: dict[str, Any] = load("water_box")["boxes"]
    return boxes


def water_learned() -> str:
    """Equilibrations: residuals as labels came, and what they cost."""
    header = ["box", "begins with", "ps", "labels", "residual in sixths of them", "until below 40"]
    header += ["CPU s of GFN1", "CPU s in all", "seconds of refits"]
    return markdown(header, (_learned(name, box) for name, box in _boxes().items()))


def _learned(name: str, box: dict[str, Any]) -> list[str]:
    found = box["equilibration"]
    below = found["labels_below"]["0.04"]
    return [
        f"{box['molecules']} molecules",
        "what 27 learned" if name == "measured" else "nothing",
        number(found["ps"]),
        str(found["labels"]),
        ", ".join(number(1e3 * one, ".0f") for one in found["residual_in_sixths"]),
        "-" if below is None else str(below),
        number(found["physics_seconds"], ".0f"),
        number(found["seconds"], ".0f"),
        " + ".join(number(one["seconds"], ".0f") for one in found["refits"]),
    ]


def water_cost() -> str:
    """Energy and cost of the box of which an evaluation takes a second."""
    box = _boxes()["measured"]
    header = [f"{box['molecules']} molecules", "ps", "median stride, fs", "evaluations per ps"]
    header += ["CPU s per ps", "times less than Verlet 0.5 fs", "drift", "fluctuation", "residual"]
    return markdown(header, (_cost(way, run) for way, run in box["runs"].items()))


def _cost(way: str, run: dict[str, Any]) -> list[str]:
    last = run["last_residual"]
    return [
        way,
        number(run["ps"]),
        number(run["stride_fs"], ".1f"),
        number(run["evaluations_per_ps"], ".0f"),
        number(run["seconds_per_ps"], ".0f"),
        number(run["times_faster"], ".1f"),
        number(run["drift"], "+.2f"),
        number(run["fluctuation"]),
        "" if last is None else number(1e3 * last, ".0f"),
    ]


def water_motion() -> str:
    """Structure and motion of both boxes that run at constant energy."""
    header = ["molecules", "run", "median stride, fs", "drift", "fluctuation", "residual"]
    header += ["g(r) O-O", "g(r) O-H", "VDOS overlap", "diffusion of O"]
    boxes = [box for box in _boxes().values() if box["runs"]]
    rows = (_motion(box, way, run) for box in boxes for way, run in box["runs"].items())
    return markdown(header, rows)


def _motion(box: dict[str, Any], way: str, run: dict[str, Any]) -> list[str]:
    last, overlap = run["last_residual"], run.get("vdos_overlap")
    diffusion = run["diffusion_A2_per_ps"]
    return [
        str(box["molecules"]),
        way,
        number(run["stride_fs"], ".1f"),
        number(run["drift"], "+.2f"),
        number(run["fluctuation"]),
        "" if last is None else number(1e3 * last, ".0f"),
        number(run["rdf_distance"]["O-O"]),
        number(run["rdf_distance"]["H-O"]),
        "" if overlap is None else number(overlap),
        "" if diffusion is None else f"{diffusion[0]:.2f} ± {diffusion[1]:.2f}",
    ]
