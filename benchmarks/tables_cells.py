"""Tables of crystals and liquids under Metropolized jumps and the barostat."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.documents import markdown
from benchmarks.results import load


def _pm(pair: list[float], form: str) -> str:
    return f"{pair[0]:{form}} ± {pair[1]:{form}}"


def argon_averages() -> str:
    """Density and energy of liquid argon by jumps, by OpenMM, and by an equation of state."""
    result = load("argon")
    known = {(r["temperature_K"], r["pressure_bar"]): r for r in result["literature"]}
    rows = []
    for row in result["rows"]:
        state = (row["temperature_K"], row["pressure_bar"])
        mine, other, sigma = row["averages"], row["openmm"], row["sigma"]
        at = f"{state[0]:.0f} K, " + ("constant V" if state[1] is None else f"{state[1]:.0f} bar")
        cells: list[str] = []
        for name, form in (("density_g_per_cm3", ".4f"), ("energy_meV_per_atom", ".2f")):
            written = format(known[state][name], form) if state in known else ""
            if name in sigma:
                cells += [_pm(mine[name], form), _pm(other[name], form), written]
                cells.append(f"{sigma[name]:+.1f}")
            else:
                cells += [f"{mine[name][0]:{form}}", "the same", "", ""]
        accepted = "" if row["accepted"] is None else f"{row['accepted']:.2f}"
        rows.append([f"{row['jumps']}, {row['base']}", at, accepted, *cells])
    header = ["jumps, base", "state", "accepted", "density g/cm^3", "OpenMM", "literature", "sigma",
              "energy meV/atom", "OpenMM", "literature", "sigma"]  # fmt: skip
    return markdown(header, rows)


def _sigmas(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def argon_ensembles() -> str:
    """Pairs of states by physical_validation: jumps, and OpenMM beside them."""
    result = load("argon")
    kinds = {(True, False): "volume", (False, True): "enthalpy", (False, False): "energy, volume"}
    rows = []
    for mine, other in zip(result["ensembles"], result["openmm_ensembles"], strict=True):
        (one, two), same = mine["states"], [a == b for a, b in zip(*mine["states"], strict=True)]
        rows.append([
            " and ".join(_state(state) for state in (one, two)), kinds[same[0], same[1]],
            _sigmas(mine["sigma"]), _sigmas(mine["sigma_5_percent_off"]),
            _sigmas(other["sigma"]), _sigmas(other["sigma_5_percent_off"]),
        ])  # fmt: skip
    header = ["states", "by", "jumps: sigma", "declared 5 % off", "OpenMM: sigma",
              "declared 5 % off"]  # fmt: skip
    return markdown(header, rows)


def _state(state: Any) -> str:
    return f"{state[0]:.0f} K, {state[1]:.0f} bar"


def cells_cost() -> str:
    """Forces and lists of neighbours in cells, by atoms."""
    rows = []
    for row in load("cells_cost")["rows"]:
        slow = ["", ""]
        if "eager_us_per_atom" in row:
            slow = [f"{row['eager_us_per_atom']:.0f}", f"{row['eager_kB_per_atom']:,.0f}"]
        rows.append([
            row["system"], f"{row['atoms']:,}", f"{row['pairs_per_atom']:.1f}",
            f"{row['force_us_per_atom']:.1f}", f"{row['force_anew_us_per_atom']:.1f}",
            f"{row['vesin_us_per_atom']:.1f}", f"{row['kB_per_atom']:.0f}", *slow,
        ])  # fmt: skip
    header = ["cell", "atoms", "neighbours", "kernel's force, us per atom", "with a new list",
              "list by vesin", "kB per atom", "eager force, us per atom",
              "kB per atom"]  # fmt: skip
    return markdown(header, rows)


def cells_exponents() -> str:
    """Powers of the number of atoms that times grow with."""
    names = {
        "force_us_per_atom": "kernel's force", "force_anew_us_per_atom": "with a new list",
        "vesin_us_per_atom": "list by vesin",
    }  # fmt: skip
    fits = load("cells_cost")["fits"]
    cells = {(f["system"], f["what"]): f"{f['exponent']:.3f} ± {f['error']:.3f}" for f in fits}
    systems = list(dict.fromkeys(fit["system"] for fit in fits))
    rows = [[system, *(cells[system, what] for what in names)] for system in systems]
    return markdown(["cell", *names.values()], rows)


def copper_learning() -> str:
    """Labels until the residual of copper stays below a limit."""
    return _learning("copper")


def argon_learning() -> str:
    """The same of liquid argon."""
    return _learning("argon_nve")


def _learning(suite: str) -> str:
    lessons = load(suite)["lessons"]
    limits = list(lessons[0]["until"])
    rows = [
        [
            row["base"], f"{row['before']:.0f}", row["labels"],
            *("not reached" if row["until"][x] is None else row["until"][x] for x in limits),
            f"{np.sqrt(np.mean(np.square(row['residuals'][-10:]))):.1f}", row["fallbacks"],
            f"{row['cpu_seconds']:.0f}",
        ]
        for row in lessons
    ]  # fmt: skip
    header = ["base", "its residual, meV/A", "labels", *(f"below {x} after" for x in limits),
              "last ten, meV/A", "fallbacks", "CPU s"]  # fmt: skip
    return markdown(header, rows)


def _size(value: float, sign: str = "") -> str:
    return format(value, f"{sign}.3f" if abs(value) < 1e3 else f"{sign}.0e")


def copper_nve() -> str:
    """Copper at constant energy, by stride."""
    return _nve("copper")


def argon_nve() -> str:
    """Liquid argon at constant energy, by stride."""
    return _nve("argon_nve")


def _nve(suite: str) -> str:
    runs = load(suite)["nve"]
    liquid = "diffusion_A2_per_ps" in runs[0]
    rows = [
        [
            row["way"] if row["base"] is None else f"{row['way']}, {row['base']}",
            f"{row['stride_fs']:g}", row.get("corrector", "").lower(), row["evaluations"],
            f"{row['residual']:.1f}" if "residual" in row else "",
            _size(row["drift"], "+"), _size(row["fluctuation"]),
            f"{row['rdf_overlap']:.3f}", f"{row['vdos_overlap']:.3f}",
            *([_pm(row["diffusion_A2_per_ps"], ".2f")] if liquid else []),
            f"{row['cpu_seconds']:.0f}",
        ]
        for row in runs
    ]  # fmt: skip
    header = ["run", "stride fs", "corrector", "evaluations", "residual meV/A",
              "drift meV/atom/ps", "fluctuation meV/atom", "RDF overlap", "VDOS overlap",
              *(["diffusion, A^2/ps"] if liquid else []), "CPU s"]  # fmt: skip
    return markdown(header, rows)


def copper_nvt() -> str:
    """Averages of copper by Metropolized jumps, beside Langevin dynamics."""
    result = load("copper")["nvt"]
    names = {"energy_meV_per_atom": ("potential energy, meV/atom", ".2f"),
             "heat_capacity_k": ("heat capacity, k per atom", ".2f")}  # fmt: skip
    rows = [
        [title, _pm(result["averages"][name], form), _pm(result["langevin"][name], form),
         f"{result['sigma'][name]:+.1f}"]
        for name, (title, form) in names.items()
    ]  # fmt: skip
    return markdown(["average", "jumps", "Langevin, 4 fs", "sigma"], rows)
