"""Tables of DFT, of the PySCF calculator, of failures and killed runs, of ensembles' cost."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load
from benchmarks.structure import table

RUNS = {
    "verlet": "velocity Verlet",
    "organic-gfn2": "`organic-gfn2` inside",
    "GFN2-xTB": "GFN2-xTB inside",
    "tuned": "`organic-gfn2` tuned on 288 gradients inside",
}
KILLED = {
    "morse": "Morse springs",
    "gfn2-fresh": "GFN2, a new calculator object for each geometry",
    "gfn2": "GFN2 as usual (tblite starts from the last SCF)",
    "pyscf": "HF/STO-3G, water",
    "ensemble": "Morse springs, an ensemble of 16",
    "learning": "Morse springs, a run that learns",
}
SHOWN = 67
"""Characters of a message."""


def _dft(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        apart = row.get("rmsd_from_verlet_0.5_A", {}).get("100fs", 0.0)
        jumps = "residual_meV_per_A" in row
        lines.append([
            RUNS[row["run"].rsplit("-", 1)[0]], f"{row['stride_fs']:g}", f"{row['seconds']:.0f}",
            f"{row['speedup_over_verlet_0.5']:.2f}", row["gradients"], row["scf_cycles"],
            f"{row['fluctuation_meV_per_atom']:.2f}", f"{apart:.4f}" if apart else "",
            f"{row['residual_meV_per_A']:.0f}" if jumps else "", row["fallbacks"] if jumps else "",
        ])  # fmt: skip
    header = ["run", "stride fs", "seconds", "times faster", "gradients", "SCF cycles",
              "fluctuation meV/atom", "rmsd from Verlet 0.5 fs after 100 fs, A", "residual meV/A",
              "fallbacks"]  # fmt: skip
    return markdown(header, lines)


def dft() -> str:
    """Ethanol under B3LYP, nothing trained on it."""
    return _dft(load("dft")["rows"])


def dft_tuned() -> str:
    """The same with a network tuned on B3LYP, and its own reference."""
    return _dft(load("dft_tuned")["rows"])


def dft_both() -> str:
    """All runs under B3LYP in one table; the reference is that of the first sitting."""
    tuned = [row for row in load("dft_tuned")["rows"] if row["run"].startswith("tuned")]
    return _dft([*load("dft")["rows"], *tuned])


def scf_cycles() -> str:
    """SCF cycles per call, by stride and guess."""
    rows = load("scf_cycles")["rows"]
    guesses = list(dict.fromkeys(row["guess"] for row in rows))
    cycles = {(row["stride_fs"], row["guess"]): row["cycles_per_call"] for row in rows}
    strides = dict.fromkeys(row["stride_fs"] for row in rows)
    return markdown(
        ["stride fs", *guesses],
        (
            [f"{s:g}", *(f"{cycles[s, g]:.1f}" if (s, g) in cycles else "" for g in guesses)]
            for s in strides
        ),
    )


def pyscf_memory() -> str:
    """Resident memory of one process."""
    header = ["settings", "MiB after calls: 1", "25", "50", "100", "250", "500",
              "open files at the end"]  # fmt: skip
    rows = []
    for row in load("pyscf_memory")["rows"]:
        used = row["resident_MiB_after_calls"]
        settings = ", ".join(f"{key}={value}" for key, value in row["settings"].items())
        rows.append([settings, *(f"{mib:.0f}" for mib in used.values()), row["open_files"]])
    return markdown(header, rows)


def pyscf_accuracy() -> str:
    """Largest deviations from PySCF and from finite differences."""
    largest = load("pyscf_accuracy")["largest"]
    finite = largest["finite_differences"]
    rows = [
        [f"{key.split('_')[0]} start, conv_tol {key.split('_')[1]}", f"{worst['dE']:.0e}",
         f"{worst['max_dF']:.0e}"]
        for key, worst in largest.items()
        if key != "finite_differences"
    ]  # fmt: skip
    for name, key in (
        ("finite differences, Hartree-Fock", "max_error_hartree_fock"),
        ("finite differences, DFT", "max_error"),
        ("the same with grid response", "max_error_with_grid_response"),
    ):
        rows.append([name, "", f"{finite[key]:.0e}"])
    return markdown(["", "energy, hartree", "force, hartree/bohr"], rows)


def _short(message: str | None) -> str:
    if not message:
        return ""
    return message if len(message) <= SHOWN + 3 else f"{message[:SHOWN]}..."


def failures() -> str:
    """Failures that were provoked, and what became of the data."""
    rows = []
    for row in load("failures")["rows"]:
        ended = row["ended"].partition(":")[0]
        reason = row["ended"].partition(": ")[2] if ended != "finished" else row["reason"]
        went_on = ""
        if "went_on" in row:
            end = row["went_on"].partition(":")[0]
            went_on = f"from step {row['resumed_at']}: {end}, {row['frames_in_the_end']} frames"
        rows.append([
            row["case"], ended, row["steps"], row["frames"], row["evaluations"],
            f"{row['fallbacks']} / {row['shrinks']} / {row['exceeded']}",
            _short(reason or row["reason"]), went_on,
        ])  # fmt: skip
    header = ["provoked", "ended", "steps", "frames", "evaluations",
              "undone / halved / let stand", "what it said", "after resuming"]  # fmt: skip
    return markdown(header, rows)


def kill() -> str:
    """Largest differences between killed runs and those that were left alone."""
    result = {**load("kill"), **load("kill_ensemble"), **load("kill_learning")}
    rows = []
    for key, name in KILLED.items():
        worst = result[key]["largest"]
        rows.append([
            name, result[key]["steps"], result[key]["kills"],
            *(f"{worst[part]:.2g}" for part in ("position_A", "energy_eV", "forces_eV_per_A")),
        ])  # fmt: skip
    header = ["physics", "strides", "kills", "largest difference: position A", "energy eV",
              "forces eV/A"]  # fmt: skip
    return markdown(header, rows)


def ensemble() -> str:
    """Milliseconds per replica and stride."""
    return markdown(
        ["replicas", "workers", "jump", "physics"],
        (
            [row["replicas"], row["workers"], f"{row['jump_ms_per_replica_stride']:.2f}",
             f"{row['physics_ms_per_replica_stride']:.2f}"]
            for row in load("ensemble")["rows"]
        ),
    )  # fmt: skip


def step_overhead() -> str:
    """Milliseconds of a step beyond model and physics, before and after."""
    rows = {case: row for case, row in load("overhead").items() if case != "machine"}
    medians = {case: row["median_ms"] for case, row in rows.items()}
    return markdown(
        ["run", "before, ms", "now, ms"],
        ([case, f"{ms['old']:.3f}", f"{ms['new']:.3f}"] for case, ms in medians.items()),
    )


def system_size() -> str:
    """Milliseconds of a step by the number of atoms."""
    systems: dict[str, list[str]] = {}
    for row in load("system_size")["rows"]:
        systems.setdefault(row["system"], []).append(f"{row['step_ms']:.0f} ({row['atoms']:,})")
    return markdown(["system", *["ms (atoms)"] * 3], ([n, *row] for n, row in systems.items()))


def house() -> str:
    """Size and shape of the code, before and after it was set up in rooms."""
    return table(load("structure")["checkouts"])


def contract() -> str:
    """Largest deviations from symmetry, reversibility, conservation and the oracle."""
    result = load("contract")
    rows = [
        [f"forces, {what} (eV/A)", f"{result['forces_eV_per_A'][what]:.1e}"]
        for what in ("rotation", "reflection", "permutation", "translation")
    ]
    checks = {
        "rotation": "rotation", "reflection": "reflection", "translation": "translation",
        "permutation": "permutation", "reversed_positions_A": "reversed positions A",
        "total_momentum": "total momentum", "angular_momentum": "angular momentum",
    }  # fmt: skip
    for key, jump in result.items():
        if key.startswith("jump_"):
            name = key.replace("_", " ")
            rows += [[f"{name}, {text}", f"{jump[check]:.1e}"] for check, text in checks.items()]
    for corrector, distance in result["oracle_vs_verlet_A"].items():
        rows.append([f"oracle flow against Verlet, {corrector} (A)", f"{distance:.1e}"])
    return markdown(["check", "largest deviation"], rows)
