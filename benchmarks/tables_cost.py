"""Tables of time: the native kernel, runs under GFN2, and forces of other packages."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load

__all__ = [
    "kernel_boxes", "kernel_forces", "kernel_jumps", "kernel_replicas", "peers_speed", "wall_clock",
]  # fmt: skip

LEVELS = {"x86_64_v4": "v4", "x86_64_v3": "v3", "x86_64": "baseline"}
RUNS = {
    "verlet-0.5": "velocity Verlet, 0.5 fs",
    "verlet-1": "velocity Verlet, 1 fs",
    "respa": "r-RESPA, GFN-FF inside, 8 x 0.5 fs",
    "kstep": "**k-step, plain call, 8 x 0.5 fs**",
}
PEERS = {
    "kstep": "**this project, kernel**",
    "eager": "the same network in PyTorch",
    "mace": "MACE",
    "schnetpack": "SchNetPack, PaiNN",
    "torchani": "TorchANI, one network",
    "sgdml": "sGDML",
}


def _time(us: float) -> str:
    """Three digits, with the unit that suits them."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3g} {unit}"
    return f"{us:.3g} us"


def _times(ratio: float) -> str:
    """Three digits, or all before the point."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _of(ways: dict[str, Any], way: str) -> str:
    """The ratio of one way to the kernel's force, if it was measured."""
    return _times(ways[way]["ratio"]) if way in ways else ""


def kernel_forces() -> str:
    """Times of one force, over the kernel's."""
    result = load("kernel")
    levels = [
        level for level in LEVELS if any(f"force {level}" in r["ways"] for r in result["rows"])
    ]
    rows = []
    for row in result["rows"]:
        ways = row["ways"]
        others = ("float64", *levels, "compiled", "eager", "gfn2")
        rows.append([
            row["system"], row["atoms"], row["pairs"], _time(ways["force kernel"]["us"]),
            *(_of(ways, f"force {way}") for way in others),
            f"{row['compile_s']:.0f}" if "compile_s" in row else "",
        ])  # fmt: skip
    best = LEVELS.get(result["rows"][0]["level"], result["rows"][0]["level"])
    header = ["system", "atoms", "pairs", f"kernel, float32, {best}", "float64, times as long",
              *(LEVELS[level] for level in levels), "compiled", "eager", "one GFN2 evaluation",
              "compiling took, s"]  # fmt: skip
    return markdown(header, rows)


def kernel_jumps() -> str:
    """Times of a jump, and over those of one GFN2 evaluation."""
    rows = []
    for row in load("kernel")["rows"]:
        ways = row["ways"]
        made = [f"jump {way}" for way in ("kernel", "model", "compiled", "eager")]
        physics = ways.get("force gfn2")
        shares = [
            f"{ways[way]['ratio'] / physics['ratio']:.2g}" if physics and way in ways else ""
            for way in made
        ]
        times = [_time(ways[way]["us"]) if way in ways else "" for way in made]
        rows.append([row["system"], row["atoms"], *times, *shares])
    header = ["system", "atoms", "kernel alone", "as runs make it", "compiled", "eager",
              "kernel alone / GFN2 evaluation", "as runs make it", "compiled", "eager"]  # fmt: skip
    return markdown(header, rows)


def kernel_boxes() -> str:
    """Time and memory of periodic water for each atom."""
    header = ["atoms", "pairs per atom", "force, us per atom", "jump of 8, us per atom",
              "memory, kB per atom"]  # fmt: skip
    return markdown(
        header,
        (
            [f"{row['atoms']:,}", f"{row['pairs_per_atom']:.1f}", f"{row['force_us_per_atom']:.1f}",
             f"{row['jump_us_per_atom']:.0f}", f"{1e-3 * row['system_bytes'] / row['atoms']:.0f}"]
            for row in load("kernel")["boxes"]
        ),
    )  # fmt: skip


def kernel_replicas() -> str:
    """Microseconds of a jump for each replica."""
    header = ["replicas of ethanol", "threads", "jump of 8, wall-clock us per replica",
              "processor us per replica", "memory, kB"]  # fmt: skip
    return markdown(
        header,
        (
            [row["replicas"], row["threads"], f"{row['wall_us_per_replica']:.0f}",
             f"{row['cpu_us_per_replica']:.0f}", f"{1e-3 * row['system_bytes']:.0f}"]
            for row in load("kernel")["replicas"]
        ),
    )  # fmt: skip


def wall_clock() -> str:
    """Time per picosecond, over that of the k-step run, and the parts of a stride."""
    result = load("wall_clock")
    rows = []
    for row in result["rows"]:
        ours = row["runs"]["kstep"]
        for key, name in RUNS.items():
            run = row["runs"][key]
            ratios = [
                "1" if key == "kstep" else f"{row[f'{clock}_of_{key}_over_kstep']:.2f}"
                for clock in ("cpu", "wall")
            ]
            stride = 1e-3 * run["stride_fs"]
            spent = (run.get(f"{part}_ms_per_ps") for part in ("physics", "jump", "rest"))
            parts = ("" if ms is None else f"{stride * ms:.3g}" for ms in spent)
            rows.append([
                f"{row['molecule']}, {row['atoms']} atoms, {row['picoseconds']:.3g} ps"
                if run is row["runs"]["verlet-0.5"] else "",
                name, f"{1e-3 * run['cpu_ms_per_ps']:.3g}", *ratios,
                f"{row['cpu_of_verlet-0.5_over_kstep'] / result['k']:.2f} k" if run is ours else "",
                f"{stride * run['cpu_ms_per_ps']:.3g}", *parts,
                f"{run.get('fallbacks', '')}{', then lost' if 'lost' in run else ''}",
            ])  # fmt: skip
    header = ["molecule", "run", "processor s per ps", "over k-step's", "wall clock, over k-step's",
              "gain over Verlet at 0.5 fs", "one step, ms", "physics", "jump", "rest",
              "fallbacks"]  # fmt: skip
    return markdown(header, rows)


def peers_speed() -> str:
    """Time of one call, and how many times the kernel's that is."""
    rows = load("peers_speed")["rows"]
    names = list(dict.fromkeys(row["molecule"] for row in rows))
    found = {(row["peer"], row["molecule"]): row for row in rows}
    lines = []
    for peer, title in PEERS.items():
        own = [row for row in rows if row["peer"] == peer]
        if not own:
            continue
        cells = []
        for name in names:
            row = found.get((peer, name))
            ratio = row["us"] / found["kstep", name]["us"] if row else 0.0
            cells.append(f"{_time(row['us'])} ({_times(ratio)})" if row else "")
        size = f"{own[0]['weights']:,}" if "weights" in own[0] else f"{own[0]['labels']} frames"
        lines.append([title if peer in ("kstep", "eager") else f"{title} {own[0]['version']}", size,
                      *cells])  # fmt: skip
    atoms = {row["molecule"]: row["atoms"] for row in rows}
    return markdown(["package", "weights", *(f"{n}, {atoms[n]} atoms" for n in names)], lines)
