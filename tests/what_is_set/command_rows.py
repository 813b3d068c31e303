"""Keys of the commands: what becomes of each, and of another value for results that are there."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from kstep_integrators import Learning, named_molecule
from kstep_integrators.cli.key_help import SETTINGS
from kstep_training.dataset import make_dataset
from kstep_training.evaluate.plan import Run, make_methods, run_key
from kstep_training.fit import fit
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.keys import Key, keys_of
from kstep_training.manifest import keep_identity, open_manifest
from kstep_training.observables.labels import label
from kstep_training.options import override
from kstep_training.run import run
from kstep_training.sample import sample
from kstep_training.simulate import simulate
from tests.what_is_set.table import HONOURED, Row, Section, no_such_moment, outcome_of

__all__ = ["SECTIONS", "missing"]

OTHERS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "prep.forcefield": None,
        "prep.constraints": "HBonds",
        "simulate.physics": "GFN2-xTB",
        "simulate.production": "langevin",
        "sample.physics": "GFN1-xTB",
        "sample.twisted_fraction": 0.3,
        "sample.stretches": [0.9, 1.2],
        "sample.contacts": [0.8, 1.2],
        "sample.charges": [0, 0],
        "dataset.k": [2],
        "dataset.split": "trajectory",
        "fit.network.kind": "direct",
        "fit.network.backbone": "egnn",
        "fit.network.baseline": "plain",
        "fit.network.heads": 8,
        "fit.network.k": [4],
        "fit.fit.precision": "16-mixed",
        "fit.fit.patience": 5,
        "fit.fit.ema_decay": 0.9,
        "fit.fit.augmentation": "graph",
        "fit.fit.wandb": "runs",
        "fit.fit.padding": [12],
        "fit.fit.freeze_layers": 1,
        "run.physics": "GFN1-xTB",
        "run.thermostat": "bussi",
        "run.on_error": "warn",
        "run.device": "cpu",
        "run.metropolize": True,
        "run.corrector": "none",
        "run.verify_interval": 10,
        "run.multiplicity": 3,
        "run.charge": 1,
        **{f"{command}.lj_cutoff_A": 12.0 for command in ("simulate", "sample", "run", "evaluate")},
        "run.pressure_bar": 1.0,
        "run.barostat": "anisotropic",
        "run.barostat_scales": "atoms",
        "run.barostat_interval": 5,
        "run.learning.labels": ["mine.labels.traj"],
        "run.learning.file": "mine.labels.traj",
        "run.learning.backbone": "organic-gfn2",
        "run.learning.refit": "wait",
        "run.learning.stop": 100,
        "evaluate.physics": "GFN1-xTB",
        "evaluate.respa": "none",
        "evaluate.correctors": ["filtered"],
        "evaluate.verify_interval": 10,
        "evaluate.strides_fs": [4.0],
        "evaluate.ensemble_strides_fs": [20.0],
        "evaluate.timestep_fs": 0.25,
        "evaluate.frame_fs": 1.0,
        "evaluate.bar_fs": 2.0,
        "evaluate.compared_fs": 240.0,
        "label couplings.frames": 10,
        "label couplings.carrier": "electron",
        "label couplings.reference": "PBE0/def2-SVP",
        "label couplings.reference_2": "PBE0/def2-SVP",
        "observe.element": "C",
        "label xanes.frames": 10,
        "label xanes.element": "O",
        "label xanes.basis": "6-31g",
    }
)
"""Another value of a key, where twice the number or the other truth value is none."""

_DIRECT: Final = ["network.kind=direct", "network.k=[8]"]

_ARGON: Final = ["physics=LJ", "lj_epsilon_eV=0.01", "lj_sigma_A=3.4"]

TOGETHER: Final[Mapping[str, list[str]]] = MappingProxyType(
    {
        "xc": ["physics=pyscf"],
        "basis": ["physics=pyscf"],
        "dispersion": ["physics=pyscf", "xc=b3lyp"],
        "density_fit": ["physics=pyscf"],
        "lj_epsilon_eV": _ARGON,
        "lj_sigma_A": _ARGON,
        "lj_cutoff_A": _ARGON,
        "pressure_bar": ["thermostat=langevin"],
        **{
            name: ["thermostat=langevin", "pressure_bar=1"]
            for name in ("barostat", "barostat_scales", "barostat_interval")
        },
        "metropolize": ["thermostat=langevin"],
        "extra_chances": ["thermostat=langevin", "metropolize=true"],
        "taut_fs": ["thermostat=bussi"],
        "run.verify_interval": ["corrector=mollified"],
        "fit.freeze_layers": ["fit.init_from=organic-gfn2"],
        "fit.structure_weight": _DIRECT,
        "fit.penalty_weight": _DIRECT,
        "fit.precision": _DIRECT,
        "network.k": _DIRECT,
        "network.baseline": _DIRECT,
        "network.kind": ["network.k=[8]"],
        "learn_labels": ["learn=true"],
        "learn_refit": ["learn=true"],
        **{f"label xanes.{name}": [] for name in ("xc", "basis", "density_fit")},
        **{f"learning.{field.name}": ["learn=true"] for field in dataclasses.fields(Learning)},
    }
)
"""Keys that have a meaning beside others only."""

TEXTS: Final = {"xc": "b3lyp", "basis": "def2-svp", "dispersion": "d3bj", "name": "other",
                "description": "other", "init_from": "organic-gfn2", "time_unit": "fs",
                "velocity_unit": "A/fs", "lammps_units": "real", "backend": "eager"}  # fmt: skip


def _other(command: str, key: Key) -> Any:
    name = key.name.rpartition(".")[2]
    if f"{command}.{key.name}" in OTHERS:
        return OTHERS[f"{command}.{key.name}"]
    if name in TEXTS:
        return TEXTS[name]
    if isinstance(key.default, bool):
        return not key.default
    if isinstance(key.default, int | float):
        return 2 * key.default if key.default else type(key.default)(1)
    if isinstance(key.default, list):
        return [2.0 * one for one in key.default] if key.default else ["ethanol"]
    return 0.5


@dataclass(frozen=True)
class KeyRow:
    """A key of a command.

    Attributes
    ----------
    command : str
    key : Key
    settings : type
    again : callable
        Settings of the results that are there, other settings, and the folder: makes ready to go
        on in it.
    """

    command: str
    key: Key
    settings: type
    again: Callable[[Any, Any, Path], str]

    def row(self) -> Row:
        return Row(
            self.key.name, (self.set, self.refuse, self.between, no_such_moment, self.resumed)
        )

    def made(self, *more: str) -> Any:
        name = self.key.name
        beside = TOGETHER.get(f"{self.command}.{name}", TOGETHER.get(name, []))
        return override(self.settings, [*beside, *more])

    def value(self, settings: Any) -> Any:
        for part in self.key.name.split("."):
            settings = getattr(settings, part)
        return settings

    def changed(self) -> Any:
        other = _other(self.command, self.key)
        return self.made(f"{self.key.name}={json.dumps(other)}")

    def set(self, folder: Path) -> str:
        other = _other(self.command, self.key)
        taken = self.value(self.changed()) == other != self.value(self.made())
        return HONOURED if taken else "ignored"

    def refuse(self, folder: Path) -> str:
        wrong = "{a: 1}" if isinstance(self.key.default, list) else "[a, 1]"
        name = self.key.name.rpartition(".")[2]
        return outcome_of(lambda: self.made(f"{self.key.name}={wrong}"), (name,))

    def between(self, folder: Path) -> str:
        return self.again(self.made(), self.changed(), folder)

    def resumed(self, folder: Path) -> str:
        outcome = self.again(self.changed(), self.changed(), folder)
        return "kept" if outcome == "goes on" else outcome


def _going_on(act: Callable[[Any], Any], first: Any, second: Any) -> str:
    act(first)
    outcome = outcome_of(lambda: act(second), ("was", "length_ps"))
    if outcome != HONOURED:
        return outcome
    return "goes on" if first == second else HONOURED


def _prep(first: Any, second: Any, folder: Path) -> str:
    return _going_on(lambda settings: open_manifest(folder, settings), first, second)


def _simulate(first: Any, second: Any, folder: Path) -> str:
    return _going_on(
        lambda settings: open_manifest(folder, simulate._Made({}, settings)), first, second
    )


def _sample(first: Any, second: Any, folder: Path) -> str:
    return _going_on(
        lambda settings: open_manifest(folder, sample._Made({}, settings), (), "shards"),
        first,
        second,
    )


def _run(first: Any, second: Any, folder: Path) -> str:
    return _going_on(
        lambda settings: run._manifest(folder, run._Made("organic-gfn2", "CCO", settings, {})),
        first,
        second,
    )


def _dataset(first: Any, second: Any, folder: Path) -> str:
    def act(settings: Any) -> None:
        described = json.loads(json.dumps(dataclasses.asdict(settings)))
        make_dataset._begin(folder, described)
        make_dataset._write(folder, described, {"shards": []})

    return _going_on(act, first, second)


def _fit(first: Any, second: Any, folder: Path) -> str:
    return _going_on(
        lambda settings: keep_identity(
            folder / "fit.json", {"settings": dataclasses.asdict(settings)}, "it holds", fit._FREE
        ),
        first,
        second,
    )


OF_THE_REPORT: Final = {"resolution", "interval_fs", "backend", "time_unit", "velocity_unit",
                        "lammps_units"}  # fmt: skip
"""Keys that no frame depends on: the width of a spectrum, other programs' files, and speed."""


def _evaluate(first: Any, second: Any, folder: Path) -> str:
    """Results of an evaluation are made anew from kept runs: those of the same key are found."""
    if first == second:
        return "goes on"
    molecule = InputMolecule("ethanol", named_molecule("ethanol"))

    def keys(settings: Any) -> list[str]:
        methods = make_methods("organic-gfn2", settings)
        return [
            run_key(Run(molecule, method, seed), settings)
            for method in methods
            for seed in range(settings.seeds)
        ]

    before, now = dataclasses.asdict(first), dataclasses.asdict(second)
    changed = {name for name, value in before.items() if now[name] != value}
    reported = changed <= OF_THE_REPORT
    return HONOURED if reported or keys(first) != keys(second) else "ignored"


def _label(kind: str) -> Callable[[Any, Any, Path], str]:
    def again(first: Any, second: Any, folder: Path) -> str:
        return _going_on(
            lambda settings: open_manifest(folder, label._Made(kind, settings), reports="parts"),
            first,
            second,
        )

    return again


def _observe(first: Any, second: Any, folder: Path) -> str:
    return _going_on(
        lambda settings: keep_identity(
            folder / "observe.json", {"settings": dataclasses.asdict(settings)}, "holds"
        ),
        first,
        second,
    )


AGAIN = {"prep": _prep, "simulate": _simulate, "sample": _sample, "dataset": _dataset,
         "fit": _fit, "run": _run, "evaluate": _evaluate, "label couplings": _label("couplings"),
         "label xanes": _label("xanes"), "observe": _observe}  # fmt: skip

TEXT = {
    "prep": "Another value, for a folder that holds molecules.",
    "simulate": "Another value, for a folder that holds trajectories.",
    "sample": "Another value, for a folder that holds geometries.",
    "dataset": "Another value, for a folder that holds a whole dataset.",
    "fit": "Another value, for a folder that holds a fit, finished or not.",
    "run": "Another value, for a folder that holds a run, finished or not.",
    "evaluate": "Tables and figures are made anew; runs are kept under all that they depend on, "
    "so that another value has runs of its own.",
    "label couplings": "Another value, for a folder that holds labels.",
    "label xanes": "Another value, for a folder that holds labels.",
    "observe": "Another value, for a folder that holds an observation.",
}


def _section(command: str) -> Section:
    module, name = SETTINGS[command]
    settings = getattr(importlib.import_module(module), name)
    rows = [KeyRow(command, key, settings, AGAIN[command]).row() for key in keys_of(settings)]
    return Section(f"kstep {command}", TEXT[command], rows)


SECTIONS = tuple(_section(command) for command in AGAIN)


def missing() -> set[str]:
    """Commands with keys that have no section; a recipe has the keys of the others."""
    return {*SETTINGS} - {*AGAIN} - {"recipe"}
