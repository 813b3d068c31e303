"""The standing benchmark: `kstep evaluate` of the bundled model, in several sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.suite import Options, option
from kstep_integrators.models.molecules import named_molecules
from kstep_training.evaluate.command import evaluate
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.molecules import InputMolecule, read_molecule
from kstep_training.prep.molecules import conformers

__all__ = ["evaluate_full", "evaluate_quick", "evaluate_sampling", "evaluate_strides"]

LISTED = (
    *("ammonia", "formaldehyde", "methanol", "acetonitrile", "acetic_acid"),
    *("ethanol", "malonaldehyde", "imidazole", "glycine", "benzene"),
)
"""4 to 12 atoms. Without methane, whose fluctuation is an outlier (see nve.json)."""
OUTSIDE = {
    "propanal": "CCC=O",
    "dimethylformamide": "CN(C)C=O",
    "propane-1,3-diol": "OCCCO",
    "pyrimidine": "c1cncnc1",
    "ethyl_acetate": "CCOC(C)=O",
}
"""Unlike the molecules that the model was trained on."""
SIZES = {
    "hexane": "CCCCCC",
    "dodecane": "CCCCCCCCCCCC",
    "acetylglycine-methylamide": "CC(=O)NCC(=O)NC",
}
KEPT = ("model", "model_identity", "bar", "settings", "totals", "checks", "misses_by_chance",
        "not_evaluated", "summary")  # fmt: skip


@dataclass(frozen=True)
class EvaluationOptions(Options):
    """Which model and molecules, and how many processes."""

    model: str = option("organic-gfn2", "bundled name or model file")
    molecules: tuple[str, ...] = option((), "only these of the suite")
    workers: int = option(2, "local processes")
    length_ps: float = option(0.0, "length of each run, not that of the suite")


def _molecule(name: str) -> InputMolecule:
    if name in named_molecules():
        return read_molecule(name)
    return InputMolecule(name, conformers({**OUTSIDE, **SIZES}[name], 1)[0])


def _committed(report: dict[str, Any]) -> dict[str, Any]:
    """The part of a result that the repository keeps: all but the numbers of single runs."""
    molecules = {
        molecule["name"]: {
            "atoms": molecule["atoms"],
            "verdicts": molecule["verdicts"],
            "problems": molecule["problems"],
            "misses": [c for c in molecule["checks"] if c["status"] == "miss"],
            "trajectory": {
                c["method"]: c["value"]
                for c in molecule["checks"]
                if c["promise"] == "dynamics" and c["what"] == "trajectory"
            },
        }
        for molecule in report["molecules"]
    }
    return {key: report[key] for key in KEPT} | {"molecules": molecules}


def _evaluated(
    suite: str, names: tuple[str, ...], settings: EvaluateSettings, options: EvaluationOptions
) -> dict[str, Any]:
    """Runs are kept in the cache and never made twice; suites share references.

    The page with all pictures is ``CACHE/SUITE/evaluation.html``.
    """
    if unknown := {*options.molecules} - {*names}:
        raise ValueError(
            f"{suite} has no {', '.join(sorted(unknown))}; its molecules are {', '.join(names)}"
        )
    if options.length_ps:
        lengths = ("length_ps", "ensemble_length_ps")
        changed = {key: options.length_ps for key in lengths if getattr(settings, key)}
        settings = replace(settings, **changed)
    chosen = [_molecule(name) for name in options.molecules or names]
    report = evaluate(
        options.model, chosen, settings, options.cache / suite, options.cache, options.workers
    )
    return {"suite": suite, "planned": len(names), **_committed(report)}


def evaluate_quick(options: EvaluationOptions) -> dict[str, Any]:
    """Two small molecules and short runs, for a look after a change."""
    settings = EvaluateSettings(
        length_ps=1.25,
        strides_fs=[2.0, 4.0],
        ensemble_length_ps=2.0,
        ensemble_strides_fs=[20.0],
    )
    return _evaluated("quick", ("water", "methanol"), settings, options)


def evaluate_full(options: EvaluationOptions) -> dict[str, Any]:
    """Fifteen molecules, half as long as `kstep evaluate` runs them by default."""
    settings = EvaluateSettings(length_ps=1.25, ensemble_length_ps=5.0)
    return _evaluated("full", (*LISTED, *OUTSIDE), settings, options)


def evaluate_strides(options: EvaluationOptions) -> dict[str, Any]:
    """Long strides at constant energy; ``--model`` sets a tuned model beside the bundled one."""
    settings = EvaluateSettings(
        length_ps=10.0, strides_fs=[2.0, 4.0, 6.0, 8.0], compared_fs=168.0,
        ensemble_length_ps=0.0,
    )  # fmt: skip
    return _evaluated("strides", LISTED, settings, options)


def evaluate_sampling(options: EvaluationOptions) -> dict[str, Any]:
    """Exact sampling at strides of 8 to 100 fs, of small molecules and of larger ones."""
    settings = EvaluateSettings(
        length_ps=0.0, ensemble_length_ps=20.0, ensemble_strides_fs=[8.0, 20.0, 50.0, 100.0]
    )
    names = ("ethanol", "malonaldehyde", "cyclohexane", *SIZES)
    return _evaluated("sampling", names, settings, options)
