"""The tables of DFT and of the PySCF calculator, from their committed results."""

from __future__ import annotations

from benchmarks.common import load

RUNS = {
    "verlet": "velocity Verlet",
    "organic-gfn2": "`organic-gfn2` inside",
    "GFN2-xTB": "GFN2-xTB inside",
    "tuned": "`organic-gfn2` tuned on 288 gradients inside",
}


def _dft(name: str) -> str:
    lines = [
        "| run | stride fs | seconds | times faster | gradients | SCF cycles | "
        "fluctuation meV/atom | rmsd from Verlet 0.5 fs after 100 fs, A | residual meV/A | "
        "fallbacks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in load(name)["rows"]:
        apart = row.get("rmsd_from_verlet_0.5_A", {}).get("100fs", 0.0)
        lines.append(
            f"| {RUNS[row['run'].rsplit('-', 1)[0]]} | {row['stride_fs']:g} | "
            f"{row['seconds']:.0f} | {row['speedup_over_verlet_0.5']:.2f} | {row['gradients']} | "
            f"{row['scf_cycles']} | {row['fluctuation_meV_per_atom']:.2f} | "
            f"{f'{apart:.4f}' if apart else ''} | "
            + (
                f"{row['residual_meV_per_A']:.0f} | {row['fallbacks']} |"
                if "residual_meV_per_A" in row
                else "| |"
            )
        )
    return "\n".join(lines)


def dft() -> str:
    """Ethanol under B3LYP, nothing trained on it."""
    return _dft("dft")


def dft_tuned() -> str:
    """The same with a network tuned on B3LYP."""
    return _dft("dft_tuned")


def scf_cycles() -> str:
    """SCF cycles per call, by stride and guess."""
    rows = load("scf_cycles")["rows"]
    guesses = list(dict.fromkeys(row["guess"] for row in rows))
    lines = [f"| stride fs | {' | '.join(guesses)} |", "|---" * (len(guesses) + 1) + "|"]
    for stride in dict.fromkeys(row["stride_fs"] for row in rows):
        found = {row["guess"]: row["cycles_per_call"] for row in rows if row["stride_fs"] == stride}
        lines.append(
            f"| {stride:g} | "
            + " | ".join(f"{found[g]:.1f}" if g in found else "" for g in guesses)
            + " |"
        )
    return "\n".join(lines)


def pyscf_memory() -> str:
    """Resident memory of one process."""
    lines = []
    for row in load("pyscf_memory")["rows"]:
        used = row["resident_MiB_after_calls"]
        lines.append(
            f"- {', '.join(f'{k}={v}' for k, v in row['settings'].items())}: "
            + ", ".join(f"{mib:.0f} MiB after {calls}" for calls, mib in used.items())
            + f"; {row['open_files']} open files at the end"
        )
    return "\n".join(lines)


def pyscf_accuracy() -> str:
    """Largest deviations from PySCF and from finite differences."""
    largest = load("pyscf_accuracy")["largest"]
    lines = ["| | energy, hartree | force, hartree/bohr |", "|---|---|---|"]
    lines.extend(
        f"| {start} start, conv_tol {tolerance} | {found['dE']:.0e} | {found['max_dF']:.0e} |"
        for key, found in largest.items()
        if key != "finite_differences"
        for start, tolerance in [key.split("_")]
    )
    finite = largest["finite_differences"]
    lines.append(
        f"| finite differences, Hartree-Fock | | {finite['max_error_hartree_fock']:.0e} |\n"
        f"| finite differences, DFT | | {finite['max_error']:.0e} |\n"
        f"| the same with grid response | | {finite['max_error_with_grid_response']:.0e} |"
    )
    return "\n".join(lines)
