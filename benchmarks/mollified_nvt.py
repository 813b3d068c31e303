"""Canonical runs with averaged kicks against the exact ensemble, from Metropolized jumps.

The ensemble of averaged kicks is that of the potential plus D at averaged positions, D being what
the physics is above the potential. How far its mean energy is from that of the physics is found
twice: from the difference of independent runs, and with much less noise by reweighting the frames
of one run, which know both energies. The base step's own bias is in the first alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from benchmarks.mollified import BASE_FS, drawn, learned
from benchmarks.suite import Options, option
from kstep_integrators import KStepDynamics
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import temperature_per_element
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.potentials import Potential
from kstep_training.dataset.internal_coordinates import internal_coordinates
from kstep_training.evaluate.record import Record, read_record, record_of, write_record
from kstep_training.evaluate.structure import compare_shapes, shape_values

__all__ = ["mollified_nvt"]

Array = NDArray[np.float64]
FRAME_FS, KELVIN = 40.0, 300.0
LANGEVIN = {"friction": 0.01 / units.fs}
RUNS: dict[str, dict[str, Any]] = {
    "exact": {"k": 40, "corrector": "none", "metropolize": True, **LANGEVIN},
    "mollified-langevin-8": {"k": 16, "corrector": "mollified", **LANGEVIN},
    "mollified-bussi-8": {
        "k": 16, "corrector": "mollified", "thermostat": "bussi", "taut": 100 * units.fs
    },
    "impulse-langevin-4": {"k": 8, "corrector": "impulse", **LANGEVIN},
}  # fmt: skip
"""Settings of each; 20 fs for the exact one, which the others are compared with."""
EQUILIBRATION_FS = 400.0
"""Left out: positions are in equilibrium at the start, overall rotation is not."""


def _run(key: str, start: Atoms, potential: Potential, length_ps: float, seed: int) -> Record:
    """One run; its facts hold what its ensemble has for energies, above the true ones, eV."""
    settings = dict(RUNS[key])
    if settings["corrector"] == "mollified":
        settings["verify_interval"] = 0
    atoms, aside = start.copy(), start.copy()
    atoms.calc, aside.calc = xtb_calculator("GFN2-xTB"), xtb_calculator("GFN2-xTB")
    dynamics = KStepDynamics(
        atoms, potential, timestep=BASE_FS * units.fs, temperature_K=KELVIN,
        rng=np.random.default_rng([8, seed, *key.encode()]), **settings,
    )  # fmt: skip
    each = round(FRAME_FS / (settings["k"] * BASE_FS))
    dynamics.run(round(EQUILIBRATION_FS / FRAME_FS) * each)
    frames, above = [], []
    for _ in range(round(1000.0 * length_ps / FRAME_FS)):
        dynamics.run(each)
        aside.positions = atoms.positions
        energy = float(aside.get_potential_energy())
        frames.append((atoms.get_positions(), atoms.get_momenta(), energy))
        kept_energy = dynamics.get_conserved_energy() + dynamics.transferred_energy
        above.append(float(kept_energy - atoms.get_kinetic_energy() - energy))
    stats = dynamics.stats
    facts = {
        "error": "", "above": above, "evaluations": stats.physics_evaluations,
        "fallbacks": stats.fallbacks, "accepted": stats.accepted / max(stats.jumps, 1),
        "residual_rms": stats.residual_rms,
    }  # fmt: skip
    return record_of(atoms, FRAME_FS, frames, facts)


def _mean(values: Array) -> dict[str, float]:
    """Mean over runs and its standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return {"mean": float(values.mean()), "error": float(error)}


def _reweighted(record: Record) -> float:
    """Mean energy of a run less that of its frames weighted to the ensemble of the physics, eV."""
    above = np.array(record.facts["above"])
    weights = np.exp((above - above.mean()) / (units.kB * KELVIN))
    mean = float(record.energies @ weights) / float(weights.sum())
    return float(record.energies.mean()) - mean


def _kelvin(record: Record, conserved: bool) -> dict[str, float]:
    share = atomic_degrees_of_freedom(
        record.masses,
        momentum_conserved=conserved,
        angular_momentum_positions=record.positions if conserved else None,
    )
    return temperature_per_element(record.momenta, record.masses, record.numbers, share)


def _row(key: str, records: list[Record], exact: list[Record]) -> dict[str, Any]:
    """Energies, temperatures and distributions of all runs of one kind."""
    n, settings = len(records[0].numbers), RUNS[key]
    energies, others = (1e3 / n * np.array([r.energies.mean() for r in part])
                        for part in (records, exact))  # fmt: skip
    kelvin = [_kelvin(r, settings.get("thermostat") == "bussi") for r in records]
    row: dict[str, Any] = {
        "run": key,
        "stride_fs": settings["k"] * BASE_FS,
        "kelvin": {e: _mean(np.array([one[e] for one in kelvin])) for e in kelvin[0]},
        "fallbacks": sum(r.facts["fallbacks"] for r in records),
        "evaluations": sum(r.facts["evaluations"] for r in records),
        "residual_meV_per_A": 1e3 * float(np.mean([r.facts["residual_rms"] or 0 for r in records])),
    }
    if key == "exact":
        row["accepted"] = float(np.mean([r.facts["accepted"] for r in records]))
        return row
    mine, theirs = _mean(energies), _mean(others)
    row["bias_meV_per_atom"] = {
        "mean": mine["mean"] - theirs["mean"],
        "error": float(np.hypot(mine["error"], theirs["error"])),
    }
    if settings["corrector"] == "mollified":
        row["reweighted_bias_meV_per_atom"] = _mean(
            1e3 / n * np.array([_reweighted(r) for r in records])
        )
    coordinates = internal_coordinates(exact[0].numbers, exact[0].positions[0])
    shapes = [shape_values(part, coordinates) for part in (records, exact)]
    compared = compare_shapes(*shapes)
    compared.pop("kinetic", None)  # by temperatures: the numbers of degrees of freedom differ
    return {**row, "distributions": compared}


@dataclass(frozen=True)
class MollifiedNVTOptions(Options):
    """Molecules, runs and their length."""

    molecules: tuple[str, ...] = option(
        ("ethanol", "pyrimidine", "propane-1,3-diol"), "of either list"
    )
    runs: tuple[str, ...] = option(tuple(RUNS), "some of them; exact is always made")
    starts: int = option(8, "runs of each kind")
    learned: int = option(300, "labels of the run before")
    length_ps: float = option(20.0, "of each run")

    @classmethod
    def smoke(cls, cache: Path) -> MollifiedNVTOptions:
        """A few frames of one molecule."""
        return cls(cache, ("methanol",), ("mollified-bussi-8",), 2, 26, 0.4)


def mollified_nvt(options: MollifiedNVTOptions) -> dict[str, Any]:
    """Bias of energies and distances of distributions of canonical runs at long strides."""
    folder, rows = options.cache / "mollified_nvt", list[dict[str, Any]]()
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.molecules:
        potential, frames, about = learned(
            name, options.learned, "no", options.starts, options.cache
        )
        exact: list[Record] = []
        for key in dict.fromkeys(("exact", *options.runs)):
            records = []
            for seed in range(options.starts):
                file = folder / f"{key}-{name}-{options.learned}-{options.length_ps:g}-{seed}.npz"
                if not file.exists():
                    start = drawn(frames[seed], seed)
                    write_record(file, _run(key, start, potential, options.length_ps, seed))
                    print(file.stem, flush=True)
                records.append(read_record(file))
            exact = exact or records
            row = _row(key, records, exact)
            rows.append({"molecule": name, "atoms": len(frames[0]), **about, **row})
    lengths = {"starts": options.starts, "length_ps": options.length_ps}
    return {"physics": "GFN2-xTB", "base_fs": BASE_FS, **lengths, "rows": rows}
