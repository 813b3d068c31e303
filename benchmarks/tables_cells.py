"""Tables of crystals and liquids under Metropolized jumps and the barostat."""

from __future__ import annotations

from typing import Any

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
