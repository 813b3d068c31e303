"""Tables of exact ensembles, thermostats, and sampling under a Metropolis test."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load

KINDS = ("bonds", "angles", "torsions", "energy")
OUTSIDE = {
    "cyclohexane": "in the list",
    "hexane": "chain longer than any in the list",
    "dodecane": "likewise",
    "acetylglycine-methylamide": "outside the list",
}


def exactness() -> str:
    """Metropolized jumps where the ensemble is known."""
    rows = []
    for row in load("exactness")["rows"]:
        chances = [t["p_value"] for t in row["tests"] if t["quantity"] == "histogram"]
        rows.append([
            row["system"], f"`{row['corrector']}`", row["extra_chances"],
            f"{row['sigma_dH_kT']:.2f}", f"{row['accepted_first']:.2f} / {row['accepted']:.2f}",
            f"{row['exp_minus_dH']:.3f} ± {row['exp_minus_dH_error']:.3f}",
            f"{row['balance']:+.4f} ± {row['balance_error']:.4f}",
            f"{row['largest_deviate']:.1f} ({row['comparisons']})", f"{min(chances):.3f}",
        ])  # fmt: skip
    header = ["system", "corrector", "extra chances", "sigma(dH)/kT", "accepted first / at all",
              "mean exp(-dH/kT)", "balance", "largest deviate (of)",
              "smallest p of histograms"]  # fmt: skip
    return markdown(header, rows)


def nvt() -> str:
    """Thermostats and correctors by physical_validation."""
    rows = []
    for row in load("nvt")["rows"]:
        kinetic, ensemble = row["kinetic"], ["", ""]
        if "ensemble_potential_sigma" in row:
            ensemble = [
                f"{row['ensemble_potential_sigma']:.1f}, {row['ensemble_total_sigma']:.1f}",
                f"{row['ensemble_of_inner_potential_sigma']:.1f}",
            ]
        rows.append([
            f"{row['system']}: {row['name']}",
            ", ".join(f"{t:.0f}" for t in row["temperatures_K"]), row["samples_each"],
            ", ".join(format(k["strict_p_value"], ".2g") for k in kinetic),
            "; ".join(f"{k['mean_sigma']:.1f}, {k['width_sigma']:.1f}" for k in kinetic),
            *ensemble,
        ])  # fmt: skip
    header = ["run", "temperatures K", "samples each", "kinetic: p of all", "mean, width (sigma)",
              "ensemble by U, by U + K (sigma)", "by U of the inner potential (sigma)"]  # fmt: skip
    return markdown(header, rows)


def acceptance() -> str:
    """Acceptance by stride, without and with extra chances."""
    rows = load("acceptance")["rows"]
    lines = []
    for plain, more in zip(rows[::2], rows[1::2], strict=True):
        lines.append([
            plain["molecule"], f"{plain['stride_fs']:g}",
            f"{plain['accepted_first']:.2f} ± {plain['standard_error']:.2f}",
            f"{more['accepted']:.2f}", f"{plain['flips']} / {more['flips']}",
            f"{plain['evaluations']} / {more['evaluations']}",
            f"{plain['mean_exp_minus_dH']:.3f} ± {plain['mean_exp_minus_dH_error']:.3f}",
        ])  # fmt: skip
    header = ["molecule", "stride fs", "accepted at the first chance", "accepted with 3 extra",
              "momentum flips, 0 / 3 extra", "evaluations, 0 / 3 extra",
              "mean exp(-dH/kT)"]  # fmt: skip
    return markdown(header, lines)


def _stride(row: dict[str, Any]) -> str:
    if row["jitter"]:
        reach = row["jitter"] * row["stride_fs"]
        return f"{row['stride_fs'] - reach:g} to {row['stride_fs'] + reach:g}"
    return f"{row['stride_fs']:g}"


def _refreshment(row: dict[str, Any]) -> str:
    friction = row["friction_per_ps"]
    return friction if isinstance(friction, str) else f"{friction:g}/ps"


def _jumps(molecule: dict[str, Any]) -> list[dict[str, Any]]:
    """Fresh momenta by stride, then partial ones, then strides of random length."""
    order = [(bool(r["jitter"]), r["friction_per_ps"] != "full", r["stride_fs"])
             for r in molecule["jumps"]]  # fmt: skip
    ranks = sorted(range(len(order)), key=order.__getitem__)
    return [molecule["jumps"][rank] for rank in ranks]


def sampling_acceptance() -> str:
    """Acceptance and mean energies of the runs that sampling is judged by."""
    rows = []
    for molecule in load("sampling")["molecules"]:
        for row in _jumps(molecule):
            energy = row["mean_energy"]
            rows.append([
                molecule["molecule"], _stride(row), _refreshment(row), row["jumps"],
                f"{row['accepted_first']:.3f} ± {row['accepted_first_error']:.3f}",
                f"{row['accepted']:.3f}" if row["extra_chances"] else "",
                f"{row['mean_exp_minus_dH']:.3f} ± {row['mean_exp_minus_dH_error']:.3f}",
                f"{energy['difference_meV']:+.1f} ± {energy['error_meV']:.1f}",
            ])  # fmt: skip
    header = ["molecule", "stride fs", "refreshment", "jumps", "accepted at the first chance",
              "accepted", "mean exp(-dH/kT)",
              "mean energy less the reference's, meV"]  # fmt: skip
    return markdown(header, rows)


def _compared(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['distance']:.3f} / {row['noise_floor']:.3f}, p = {row['p_value']:.2f}"


def _samples(by_kind: dict[str, dict[str, Any]]) -> str:
    return " / ".join(f"{by_kind[kind]['effective_samples']['least']:.0f}" for kind in KINDS)


def sampling_distributions() -> str:
    """Distances of distributions from the Langevin reference."""
    rows: list[Iterable[str]] = []
    for molecule in load("sampling")["molecules"]:
        name, reference = molecule["molecule"], molecule["reference"]
        halves = [_compared(reference[kind]["halves"]) for kind in KINDS]
        alone = [_compared(molecule["network_alone"].get(kind)) for kind in KINDS]
        rows.append([name, "Langevin, halves", *halves, _samples(reference)])
        rows.append([name, "the network alone", *alone, ""])
        for row in _jumps(molecule):
            by_kind = row["distributions"]
            cells = [_compared(by_kind[kind]) for kind in KINDS]
            run = f"{_stride(row)} fs, {_refreshment(row)}"
            rows.append([name, run, *cells, _samples(by_kind)])
    header = ["molecule", "runs", "bonds", "angles", "torsions", "potential energy",
              "effective samples: bonds / angles / torsions / energy"]  # fmt: skip
    return markdown(header, [list(row) for row in rows])


def _measured(value: float, error: float) -> str:
    """One digit of the error, two if it begins with 1, and as many places of the number."""
    exponent = math.floor(math.log10(error))
    begins_with_one = error < 1.95 * 10.0**exponent
    places = max(0, -exponent + begins_with_one)
    return f"{value:.{places}f} ± {error:.{places}f}"


def _cost(row: dict[str, Any]) -> str:
    return _measured(row["evaluations_per_effective_sample"], row["error"])


def _ratio(row: dict[str, Any]) -> str:
    return _measured(row["ratio"], row["ratio_error"])


def _counted(row: dict[str, Any]) -> str:
    if not row["hops"]:
        return "0"
    each = row["per_1000_evaluations"]
    return f"{each:.{2 if each >= 1.0 else 1}g} ({row['hops']})"


def _langevin(molecule: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(molecule["langevin"], key=lambda row: float(row["friction_per_ps"]))


def _bath_name(row: dict[str, Any]) -> str:
    return f"Langevin {row['friction_per_ps']:g}/ps, {row['replicas']} x {row['ps_each']:g} ps"


def sampling_ethanol() -> str:
    """Evaluations for what ethanol forgets: its energy, and turns of its slow groups."""
    molecule = load("sampling")["molecules"][0]
    rows = []
    for row in (*_langevin(molecule), *_jumps(molecule)):
        jump, hydroxyl = "stride_fs" in row, row["hops"]["hydroxyl"]
        name = f"jumps {_stride(row)} fs, {_refreshment(row)}" if jump else _bath_name(row)
        hops = _measured(hydroxyl["per_1000_evaluations"], hydroxyl["error"])
        rows.append([
            name, _cost(row["costs"]["energy"]), _ratio(row["costs"]["energy"]) if jump else "",
            f"{hops} ({hydroxyl['hops']})", _ratio(hydroxyl) if jump else "",
            _counted(row["hops"]["methyl"]),
        ])  # fmt: skip
    header = ["ethanol", "evaluations per sample of the energy", "ratio",
              "hops of the hydroxyl group", "ratio", "hops of the methyl group"]  # fmt: skip
    return markdown(header, rows)


def sampling_malonaldehyde() -> str:
    """Evaluations for what malonaldehyde forgets: its energy and its torsions."""
    molecule = load("sampling")["molecules"][1]
    rows = []
    for row in (*_langevin(molecule), *_jumps(molecule)):
        jump = "stride_fs" in row
        name = f"jumps {_stride(row)} fs, {_refreshment(row)}" if jump else _bath_name(row)
        cells = []
        for what in ("energy", "O0-C1-C2-C3", "C2-C3-O4-H8"):
            cost = row["costs"][what]
            cells += [_cost(cost), _ratio(cost) if jump else ""]
        rows.append([name, *cells])
    header = ["malonaldehyde", "evaluations per sample of the energy", "ratio",
              "per sample of the torsion O-C-C-C", "ratio", "of C-C-O-H", "ratio"]  # fmt: skip
    return markdown(header, rows)


def sizes() -> str:
    """Acceptance against the size of the molecule."""
    rows, last = [], ""
    every = load("sizes")["rows"]
    for name in OUTSIDE:
        for row in sorted(
            (r for r in every if r["molecule"] == name), key=lambda r: r["stride_fs"]
        ):
            head = ["", "", ""]
            if name != last:
                head = [f"{name} ({OUTSIDE[name]})", row["atoms"],
                        f"{row['residual_meV_per_A']:.0f}"]  # fmt: skip
            last, first = name, row["accepted_first"]
            weight, error = row["mean_exp_minus_dH"], row["mean_exp_minus_dH_error"]
            rows.append([
                *head, f"{row['stride_fs']:g}",
                f"{first:.2f} ± {row['accepted_first_error']:.2f}" if first else "0",
                f"{row['accepted']:.2f}" if row["accepted"] else "0",
                f"{weight:.2f} ± {error:.2f}" if row["accepted_first"] > 0.02 else "",
            ])  # fmt: skip
    header = ["molecule", "atoms", "residual meV/A", "stride fs", "accepted at the first chance",
              "with 3 extra", "mean exp(-dH/kT)"]  # fmt: skip
    return markdown(header, rows)


def kinetics() -> str:
    """Dynamics under a Metropolis test against weak Langevin dynamics."""
    runs = load("sampling")["kinetics"]
    rows = []
    for row in sorted(runs, key=lambda row: row["kind"]):
        hops, error = row["hops_per_ns"]["hydroxyl"]
        turns = f"{hops:.0f} ± {error:.0f}"
        if row["kind"] != "jumps":
            rows.append(["Langevin 0.5 fs", "", "", "", turns, ""])
            continue
        rows.append([
            f"jumps {row['stride_fs']:g} fs", f"{row['accepted_first']:.3f}",
            f"{row['accepted']:.3f}", f"{row['momentum_flips_per_ps']:.1f}", turns,
            f"{row['spectral_overlap']:.2f} ({row['spectral_overlap_of_reference_halves']:.2f})",
        ])  # fmt: skip
    rows.sort(key=lambda row: row[0].startswith("Langevin"))
    header = ["run", "accepted at the first chance", "accepted", "momentum flips per ps",
              "hydroxyl hops per ns",
              "overlap of vibrational spectra with Langevin (its halves)"]  # fmt: skip
    return markdown(header, rows)
