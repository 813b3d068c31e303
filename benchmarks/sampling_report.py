"""What the runs of `benchmarks.sampling` say: acceptance, distributions, effective samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.coordinates import SLOW, Coordinates, folded, slow_wells, torsion_names
from benchmarks.sampling_runs import SAMPLE_FS, Plan, Run, load
from kstep_integrators.diagnostics import (
    Correlation,
    block_error,
    compare_runs,
    correlation,
    on_circle,
    well_changes,
)
from kstep_integrators.units import MEV

__all__ = ["molecule_report"]

BURN_IN = 0.1
"""Part of each run that is left out: they start from the ensemble of the network."""
RELABELLINGS = 20_000
"""More than there are for eight runs against eight."""

Array = np.ndarray  # type: ignore[type-arg]


def equilibrated(series: Array) -> Array:
    """Without the first frames; (B, F, ...)."""
    return series[:, round(BURN_IN * series.shape[1]) :]


class Sample:
    """The equilibrated part of a run, as numbers to compare."""

    def __init__(self, run: Run, coordinates: Coordinates) -> None:
        self.run = run
        self.energies = equilibrated(run.energies)
        positions = equilibrated(run.positions)
        self.kinds = coordinates.of(folded(run.plan.name, positions))
        self.energy = correlation(self.energies)
        self.torsions = [
            correlation(on_circle(angles))
            for angles in np.moveaxis(coordinates.of(positions)["torsions"], -1, 0)
        ]
        part = self.energies.shape[1] / run.energies.shape[1]
        self.evaluations = float(run.evaluations.sum()) * part

    def effective(self, kind: str) -> list[float]:
        """Effective samples of each quantity of a kind.

        A vibration swings back, and its mean is known better than from as many independent frames;
        a distribution is not. For bonds and angles it is the variance that counts, if it is slower.
        """
        if kind == "energy":
            return [self.energy.effective_samples]
        if kind == "torsions":
            angles = np.moveaxis(self.kinds[kind], -1, 0)
            return [correlation(on_circle(a)).effective_samples for a in angles]
        found = []
        for values in np.moveaxis(self.kinds[kind], -1, 0):
            moments = (values, np.square(values - values.mean()))
            found.append(min(correlation(m).effective_samples for m in moments))
        return [min(effective, float(self.energies.size)) for effective in found]

    def units(self, kind: str) -> list[Array]:
        """The frames (F, Q) of each run."""
        values = self.energies[..., None] if kind == "energy" else self.kinds[kind]
        return list(values)


def cost(found: Correlation, evaluations: float) -> dict[str, Any]:
    """Evaluations for one effective sample."""
    each = evaluations / found.effective_samples
    return {
        "effective_samples": found.effective_samples,
        "evaluations_per_effective_sample": each,
        "error": each * found.error / found.inefficiency,
        "resolved": found.resolved,
    }


def events(sample: Sample) -> dict[str, dict[str, float]]:
    """Changes of what is slow, for each thousand evaluations; the error is that of counts."""
    found = {}
    run = sample.run
    for what, group in SLOW[run.plan.name].items():
        count = well_changes(slow_wells(run.positions, group))
        each = 1000.0 / float(run.evaluations.sum())
        found[what] = {
            "hops": count,
            "per_1000_evaluations": each * count,
            "error": float(each * np.sqrt(max(count, 1))),
        }
    return found


def acceptance(run: Run) -> dict[str, Any]:
    """Acceptance over all jumps of all replicas; errors over replicas."""
    first, accepted = run.accepted_at == 1, run.accepted_at > 0
    weights = np.exp(-run.first_change)
    travelled = run.plan.stride_fs * run.accepted_at.sum() / 1000.0
    finite = run.first_change[np.isfinite(run.first_change)]
    return {
        "jumps": int(accepted.size),
        "accepted_first": float(first.mean()),
        "accepted_first_error": float(block_error(first)),
        "accepted": float(accepted.mean()),
        "accepted_error": float(block_error(accepted)),
        "evaluations": int(run.evaluations.sum()),
        "flips_per_ps": float((~accepted).sum() / travelled),
        "mean_exp_minus_dH": float(weights.mean()),
        "mean_exp_minus_dH_error": float(block_error(weights)),
        "rms_dH_kT": float(np.sqrt(np.mean(finite**2))),
    }


def pooled(references: list[Sample], kind: str) -> list[Array]:
    """The reference as one set of runs: replica i of all frictions is one unit."""
    return [np.concatenate(same) for same in zip(*(s.units(kind) for s in references), strict=True)]


def spread(effective: list[float]) -> dict[str, float]:
    """Effective samples of many quantities in two numbers."""
    return {"least": float(np.min(effective)), "median": float(np.median(effective))}


def comparison(sample: list[Array], reference: list[Array], kind: str) -> dict[str, Any]:
    """Distances in standard deviations (torsions: radians) and the p-value of the kind."""
    found = compare_runs(sample, reference, kind == "torsions", RELABELLINGS)
    return {
        "distance": float(found.distance.mean()),
        "noise_floor": float(found.floor.mean()),
        "largest_distance": float(found.distance.max()),
        "p_value": found.p_value,
    }


def molecule_report(name: str, atoms: Atoms, plans: list[Plan], cache: Path) -> dict[str, Any]:
    """Everything about one molecule, of the plans that have been run."""
    coordinates = Coordinates(atoms)
    names = torsion_names(atoms, coordinates)
    runs = [load(cache / plan.file) for plan in plans if (cache / plan.file).exists()]
    samples = [Sample(run, coordinates) for run in runs]
    references = [s for s in samples if s.run.plan.kind == "langevin"]
    # One torsion for each bond that they turn about.
    about = {group[1:3]: q for q, group in reversed(list(enumerate(coordinates.quadruples)))}
    turning = {names[q]: q for q in sorted(about.values())}

    def costs(sample: Sample) -> dict[str, dict[str, Any]]:
        found = {"energy": sample.energy, **{n: sample.torsions[q] for n, q in turning.items()}}
        return {what: cost(c, sample.evaluations) for what, c in found.items()}

    langevin = [
        {
            "friction_per_ps": s.run.plan.friction,
            "replicas": len(s.energies),
            "ps_each": s.run.energies.shape[1] * SAMPLE_FS / 1000.0,
            "evaluations": int(s.run.evaluations.sum()),
            "costs": costs(s),
            "hops": events(s),
        }
        for s in references
    ]
    each = "evaluations_per_effective_sample"
    best = {
        what: min(
            (row["costs"][what] for row in langevin),
            key=lambda found: (not found["resolved"], found[each]),
        )
        for what in ("energy", *turning)
    }
    most = {
        what: max((row["hops"][what] for row in langevin), key=lambda h: h["per_1000_evaluations"])
        for what in SLOW[name]
    }
    units = {kind: pooled(references, kind) for kind in ("bonds", "angles", "torsions", "energy")}
    reference = {
        kind: {
            "effective_samples": spread(
                np.sum([s.effective(kind) for s in references], axis=0).tolist()
            ),
            "halves": comparison(whole[::2], whole[1::2], kind),
        }
        for kind, whole in units.items()
    }
    network = [s for s in samples if s.run.plan.kind == "pilot"]
    control = {
        kind: comparison(pooled(network, kind), units[kind], kind)
        for kind in units
        # Its energies are not those of the physics.
        if network and kind != "energy"
    }
    jumps = [
        {
            "stride_fs": s.run.plan.stride_fs,
            "friction_per_ps": s.run.plan.friction if np.isfinite(s.run.plan.friction) else "full",
            "extra_chances": s.run.plan.chances,
            "jitter": s.run.plan.jitter,
            **acceptance(s.run),
            "mean_energy": energy_difference(s, references),
            "distributions": {
                kind: comparison(s.units(kind), units[kind], kind)
                | {"effective_samples": spread(s.effective(kind))}
                for kind in units
            },
            "costs": {what: against(mine, best[what]) for what, mine in costs(s).items()},
            "hops": {what: oftener(mine, most[what]) for what, mine in events(s).items()},
        }
        for s in samples
        if s.run.plan.kind == "jumps"
    ]
    return {
        "molecule": name,
        "langevin": langevin,
        "reference": reference,
        "network_alone": control,
        "jumps": jumps,
    }


def against(mine: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
    """With the ratio to the best Langevin run."""
    key = "evaluations_per_effective_sample"
    ratio = best[key] / mine[key]
    relative = np.hypot(mine["error"] / mine[key], best["error"] / best[key])
    return mine | {"ratio": ratio, "ratio_error": float(ratio * relative)}


def oftener(mine: dict[str, float], most: dict[str, float]) -> dict[str, float]:
    """With the ratio to the best Langevin run; slow torsions have samples in proportion to it."""
    ratio = mine["per_1000_evaluations"] / most["per_1000_evaluations"]
    relative = np.hypot(*(1.0 / np.sqrt(max(h["hops"], 1)) for h in (mine, most)))
    return mine | {"ratio": ratio, "ratio_error": float(ratio * relative)}


def energy_difference(sample: Sample, references: list[Sample]) -> dict[str, float]:
    """Mean potential energy less that of the reference, meV; the error is over runs."""
    reference = np.array([run.mean() for run in pooled(references, "energy")])
    mine = sample.energies.mean(axis=1)
    error = np.hypot(*(x.std(ddof=1) / np.sqrt(len(x)) for x in (mine, reference)))
    return {
        "difference_meV": float((mine.mean() - reference.mean()) / MEV),
        "error_meV": float(error / MEV),
        "deviation_meV": float(sample.energies.std() / MEV),
    }
