"""Suites: their names, what each measures, the module that it is in, and its options.

A suite is a function ``run(options) -> dict`` named after it, whose result is JSON. Its options are
a frozen dataclass derived from :class:`Options`; fields are made with :func:`option`, and become
flags of the command line. ``smoke()`` of the options, where they have it, is a size for tests.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SUITES", "Options", "Suite", "add_options", "option", "options_from"]


def option(default: Any, help: str) -> Any:  # noqa: A002
    """A field of options with its default and a line of help."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Options:
    """Options that every suite has."""

    cache: Path = option(Path("runs/benchmarks"), "folder for finished parts of long runs")


@dataclass(frozen=True)
class Suite:
    """A benchmark: its name, also of function and result, its module, and a line about it."""

    name: str
    module: str
    measures: str

    @property
    def run(self) -> Callable[[Any], dict[str, Any]]:
        """The function that makes the result."""
        function: Callable[[Any], dict[str, Any]] = getattr(
            importlib.import_module(f"benchmarks.{self.module}"), self.name
        )
        return function

    @property
    def options(self) -> type[Options]:
        """The class of its options."""
        kind: type[Options] = typing.get_type_hints(self.run)["options"]
        return kind


MODULES = {
    "evaluation": {
        "evaluate_quick": "the standing benchmark in small: water and methanol; minutes",
        "evaluate_full": "the standing benchmark: `kstep evaluate` of the bundled model with every "
        "control, fifteen molecules; hours",
        "evaluate_strides": "strides of 2 to 8 fs with every corrector: drift, fluctuation, "
        "distance from the reference, vibrational spectra; hours",
        "evaluate_sampling": "Metropolized jumps of 8 to 100 fs against Langevin dynamics, by "
        "size of molecule; hours",
    },
    "energy": {
        "nve": "drift and fluctuation over 10 ps of every molecule of the list; hours",
        "residuals": "force error on unseen configurations, inside and outside the list",
    },
    "ensembles": {
        "exactness": "Metropolized jumps with bad potentials against known ensembles; an hour",
        "nvt": "thermostats and correctors by `physical_validation`",
    },
    "argon": {
        "argon": "liquid argon at constant pressure and volume: Metropolized jumps on wrong bases "
        "against OpenMM, equations of state and `physical_validation`; an hour",
    },
    "argon_nve": {
        "argon_nve": "liquid argon at constant energy: strides that learned from nothing and from "
        "weak wells beside velocity Verlet; a quarter of an hour",
    },
    "water_box": {
        "water_box": "boxes of water under periodic GFN1-xTB: runs that learn from nothing, beside "
        "velocity Verlet; hours",
    },
    "copper": {
        "copper": "crystalline copper under EMT: strides that learned from nothing "
        "and from a Morse potential beside velocity Verlet; Metropolized averages; minutes",
    },
    "cells_cost": {
        "cells_cost": "time and memory of network forces and neighbour lists in periodic cells of "
        "100 to 20,000 atoms",
    },
    "one_jump": {
        "one_jump_qm": "bonds, angles and velocities after one direct jump, one flow jump and the "
        "controls, GFN2",
        "one_jump_mm": "the same with rigid bonds under MMFF94",
    },
    "cost": {
        "correctors_cost": "time of a jump with each corrector, Hessians included, by backend",
        "ensemble": "seconds of jumps and physics per replica and stride, by batch and workers",
        "system_size": "time of a step of 2,000 to 20,000 atoms beyond forces, by constraints",
    },
    "adapters": {
        "adapters": "time of a jump on models of metatomic and torch-sim, beside the same models "
        "through ASE, and whether the trajectories agree",
    },
    "gpu_flow": {
        "gpu_flow": "time of a recorded jump on a GPU by replicas and atoms, and what differs from "
        "the CPU in float64; needs a CUDA device",
    },
    "kernel": {
        "kernel": "force and jump of the native kernel beside compiled, eager and GFN2: 3 to 500 "
        "atoms, replicas, periodic water of up to 10,000 atoms",
    },
    "wall_clock": {
        "wall_clock": "seconds per ps under GFN2 by the plain call, r-RESPA and velocity Verlet",
        "mollified_cost": "time of flow, average, pull back and GFN2 at strides of 4 and 8 fs",
    },
    "openmm_overhead": {
        "openmm_overhead": "time of a jump in OpenMM beyond jump and corrector, and beyond the "
        "network of a direct jump"
    },
    "learning": {
        "learning_residuals": "runs that learn: residual of each landing by label, ten molecules, "
        "several bases; an hour",
        "learning_nve": "energy of strides of 4 fs after learning, beside velocity Verlet",
        "learning_metropolis": "acceptance at long strides after a burn-in that learned",
        "learning_dft": "a run that learns under DFT from its first step; an hour",
    },
    "mollified": {
        "mollified_nve": "strides of 4 to 12 fs on potentials that learned: true energy, distance, "
        "stretches, beside r-RESPA and velocity Verlet; an hour",
        "peers_mts": "i-PI's multiple time stepping with a learned potential inside",
    },
    "mollified_nvt": {
        "mollified_nvt": "Langevin and Bussi at 8 fs on potentials that learned, against exact "
        "ensembles: energies, bonds, angles, dihedrals, temperatures",
    },
    "learning_peers": {
        "learning_peers": "sGDML and MACE fitted from scratch to labels of a run, in environments "
        "of their own; an hour",
        "peers_speed": "one call for energy and forces through ASE: this project's network, MACE, "
        "SchNetPack, TorchANI, sGDML",
    },
    "dft": {
        "dft": "DFT, ethanol, 100 fs: seconds, SCF cycles, energy, distance; an hour of one core",
        "dft_tune": "errors of a network before and after tuning on DFT gradients; an hour",
        "scf_cycles": "SCF cycles per call by stride and starting density",
    },
    "pyscf_calculator": {
        "pyscf_memory": "memory of the PySCF calculator over 500 calls",
        "pyscf_gpu": "PySCF on a GPU: agreement with the CPU, seconds per gradient, memory",
    },
    "kill": {"kill": "runs killed at random moments, resumed, and compared with others"},
    "recipes": {
        "recipes": "seconds of each stage of recipes that were run, and their errors",
        "network_sizes": "force error, time per force and what learning adds, by size of the "
        "network; files of models at equal data",
    },
    "observable_fits": {
        "coupling_fits": "errors of couplings of dimers: ablations, learning curve, a second "
        "reference method; minutes for each variant",
        "spectrum_fits": "errors of absorption spectra: ablations, learning curve; an hour or so "
        "for each variant",
    },
    "observed_run": {
        "observed_coupling": "a coupling averaged along 100 ps of Metropolized jumps: error bars, "
        "labels of some of the frames beside it, and what each costs",
        "observed_spectrum": "the same of an absorption spectrum",
    },
}
"""All suites, with the function that runs each and its subject."""
SUITES = {
    name: Suite(name, module, measures)
    for module, suites in MODULES.items()
    for name, measures in suites.items()
}
"""By name."""


def add_options(parser: argparse.ArgumentParser, options: type[Options]) -> None:
    """Flags for all fields of options."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        kind, flag = hints[field.name], f"--{field.name.replace('_', '-')}"
        text = f"{field.metadata['help']} (default {field.default})"
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=field.metadata["help"])
            continue
        many = typing.get_origin(kind) is tuple
        if many or isinstance(kind, types.UnionType):
            kind = typing.get_args(kind)[0]
        parser.add_argument(
            flag, type=kind, nargs="+" if many else None, default=field.default, help=text
        )


def options_from(arguments: argparse.Namespace, options: type[Options]) -> Options:
    """Options from a parsed command line."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(arguments, field.name)
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return options(**values)
