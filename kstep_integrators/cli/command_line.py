"""The arguments of the command ``kstep``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from kstep_integrators.cli.key_help import CommandParser

__all__ = ["build_parser", "override_word"]


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line.

    Returns
    -------
    argparse.ArgumentParser
        Its result has ``command``, one of the sub-commands, and that one's arguments.
    """
    parser = argparse.ArgumentParser(
        prog="kstep",
        description="k-step molecular dynamics: a learned jump, then one physics evaluation.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)

    commands.add_parser("doctor", help="versions, devices, native kernel, missing extras")
    _add_demo(commands)
    _add_prep(commands)
    _add_simulate(commands)
    _add_sample(commands)
    _add_dataset(commands)
    _add_fit(commands)
    _add_run(commands)
    _add_evaluate(commands)
    _add_label(commands)
    _add_observe(commands)
    _add_recipe(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="one molecule under GFN2-xTB: velocity Verlet and k-step dynamics side by side",
    )
    molecule = demo.add_mutually_exclusive_group()
    # Not argparse's default: a value equal to it by identity would slip past the exclusion.
    molecule.add_argument(
        "--name",
        help="a bundled molecule (if none is given ethanol, or dimethylformamide with --learn)",
    )
    molecule.add_argument("--xyz", type=Path, metavar="FILE", help="any geometry ASE can read")
    molecule.add_argument("--smiles", help="needs the extra 'prep'")
    demo.add_argument("--model", default="organic-gfn2", help="bundled name or model file")
    demo.add_argument(
        "--learn",
        action="store_true",
        help="the model learns a molecule that it was not fitted to, while it runs: a picture of "
        "the residual falling, in under a minute",
    )
    demo.add_argument("-k", type=_positive_int, help="base steps per jump (4; 8 with --learn)")
    demo.add_argument(
        "--timestep", type=_positive_float, default=0.5, metavar="FS", help="base step in fs"
    )
    demo.add_argument(
        "--time",
        type=_positive_float,
        metavar="FS",
        help="simulated time in fs (2000; 400 with --learn)",
    )
    demo.add_argument(
        "--temperature", type=_positive_float, default=300.0, metavar="K", help="in kelvin"
    )
    demo.add_argument("--seed", type=int, default=0, help="of the starting momenta")
    demo.add_argument(
        "--output", type=Path, default=Path("kstep_demo"), metavar="DIR", help="folder"
    )
    demo.add_argument(
        "--engine",
        choices=("ase", "openmm"),
        default="ase",
        help="who makes the jumps; openmm needs the extra 'openmm'",
    )
    demo.add_argument(
        "--backend",
        choices=("auto", "native", "eager", "compiled"),
        default="auto",
        help="what computes the forces of the network",
    )


def _add_prep(commands: Any) -> None:
    prep = commands.add_parser(
        "prep",
        help="SMILES to conformers, topologies and OpenMM Systems; resumes where interrupted",
    )
    prep.add_argument("list", metavar="LIST", help="a .smi file or a bundled molecule list")
    prep.add_argument(
        "overrides", nargs="*", type=override_word, metavar="key=value", help="e.g. conformers=5"
    )
    prep.add_argument("--output", type=Path, metavar="DIR", help="folder (kstep_LIST if none)")


def _add_simulate(commands: Any) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="MM or QM trajectories of what prep has made; resumes where interrupted",
    )
    simulate.add_argument("prepared", type=Path, metavar="FOLDER", help="made by kstep prep")
    simulate.add_argument(
        "overrides",
        nargs="*",
        type=override_word,
        metavar="key=value",
        help="e.g. physics=GFN2-xTB",
    )
    simulate.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (FOLDER_PHYSICS if none is given)"
    )
    where = simulate.add_mutually_exclusive_group()
    _add_workers(where, "processes, one trajectory each")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does it")


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample",
        help="labelled geometries of molecules of prep and clusters of them; resumes where "
        "interrupted",
    )
    sample.add_argument("prepared", type=Path, metavar="FOLDER", help="made by kstep prep")
    sample.add_argument(
        "overrides", nargs="*", type=override_word, metavar="key=value", help="e.g. frames=100"
    )
    sample.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (FOLDER_samples if none is given)"
    )
    where = sample.add_mutually_exclusive_group()
    _add_workers(where, "processes, one molecule or cluster each")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does it")


def _add_dataset(commands: Any) -> None:
    dataset = commands.add_parser(
        "dataset",
        help="trajectories to a dataset that fits read; resumes where interrupted, and grows",
    )
    dataset.add_argument(
        "overrides",
        nargs="*",
        metavar="TRAJECTORIES or key=value",
        help="folders made by kstep simulate or of NPZ files, and settings, e.g. k=[4,8]",
    )
    dataset.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (TRAJECTORIES_dataset if none is given)"
    )
    dataset.add_argument(
        "--verify",
        action="store_true",
        help="compare every shard with its hash; without TRAJECTORIES nothing else is done",
    )


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        help="a network fitted to a dataset, or to labels; resumes where interrupted",
    )
    fit.add_argument(
        "dataset", type=Path, metavar="DATASET", help="made by kstep dataset or kstep label"
    )
    fit.add_argument(
        "overrides",
        nargs="*",
        type=override_word,
        metavar="key=value",
        help="e.g. network.kind=direct",
    )
    fit.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (DATASET_fit if none is given)"
    )


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="dynamics of one molecule in the jumps of a model; resumes where interrupted",
    )
    run.add_argument("model", metavar="MODEL", help="bundled name, model file, or GFN-FF")
    run.add_argument(
        "molecule",
        metavar="MOLECULE",
        help="a folder of kstep prep (OUT/NAME), a bundled name, a geometry file, or SMILES",
    )
    run.add_argument(
        "overrides", nargs="*", type=override_word, metavar="key=value", help="e.g. length_ps=50"
    )
    run.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (kstep_run if none is given)"
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="is a model right, and what does it save: runs, references, controls, a report",
    )
    evaluate.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="MODEL MOLECULES key=value",
        help="a model, then a .smi file, geometries (periodic ones too), a bundled list or names; "
        "e.g. seeds=16",
    )
    evaluate.add_argument(
        "--output", type=Path, default=Path("kstep_evaluation"), metavar="DIR", help="folder"
    )
    evaluate.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder that keeps runs (DIR/runs if none)"
    )
    for option, what in (
        ("--trajectory", "a run made elsewhere, to be judged; may be given several times"),
        ("--reference", "a run that it is compared with; likewise"),
    ):
        evaluate.add_argument(
            option, type=Path, action="append", default=[], metavar="FILE", help=what
        )
    evaluate.add_argument(
        "--topology", type=Path, metavar="FILE", help="of DCD files and the like: PDB or PSF"
    )
    place = evaluate.add_mutually_exclusive_group()
    _add_workers(place, "processes, one method of one molecule each")
    place.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does it")


def _add_label(commands: Any) -> None:
    label = commands.add_parser(
        "label",
        help="an observable of frames of trajectories, computed; resumes where interrupted",
    )
    kinds = label.add_subparsers(
        dest="kind", metavar="KIND", required=True, parser_class=CommandParser
    )
    for kind, what in (
        ("couplings", "electronic couplings of pairs of molecules, cheap and expensive"),
        ("xanes", "core-level excitations, for X-ray absorption spectra near an edge"),
    ):
        one = kinds.add_parser(kind, help=what)
        one.add_argument(
            "overrides",
            nargs="*",
            metavar="TRAJECTORY or key=value",
            help="files that ASE reads, and settings, e.g. stride=10",
        )
        one.add_argument(
            "--output", type=Path, metavar="DIR", help="folder (kstep_KIND if none is given)"
        )
        where = one.add_mutually_exclusive_group()
        _add_workers(where, "processes, one part of a trajectory each")
        where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does it")


def _add_observe(commands: Any) -> None:
    observe = commands.add_parser(
        "observe",
        help="couplings or spectra along trajectories, averages and a picture; resumes",
    )
    observe.add_argument("model", type=Path, metavar="MODEL", help="made by kstep fit of labels")
    observe.add_argument(
        "trajectory", metavar="TRAJECTORY", help="a file that ASE reads, NPZ or DCD"
    )
    observe.add_argument(
        "overrides",
        nargs="*",
        metavar="TRAJECTORY or key=value",
        help="further runs of the same molecules, and settings, e.g. every=10",
    )
    observe.add_argument(
        "--output", type=Path, default=Path("kstep_observed"), metavar="DIR", help="folder"
    )
    observe.add_argument(
        "--topology", type=Path, metavar="FILE", help="of DCD files and the like: PDB or PSF"
    )


def _add_recipe(commands: Any) -> None:
    recipe = commands.add_parser(
        "recipe",
        help="all of it, from SMILES to a run with a model; resumes where it was interrupted",
    )
    recipe.add_argument("recipe", metavar="NAME_OR_FILE", help="a bundled recipe or a YAML file")
    recipe.add_argument(
        "overrides", nargs="*", type=override_word, metavar="key=value", help="e.g. fit.epochs=10"
    )
    recipe.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (kstep_NAME if none is given)"
    )
    where = recipe.add_mutually_exclusive_group()
    _add_workers(where, "processes that simulate")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that simulates")


def _add_workers(parser: argparse._ActionsContainer, purpose: str) -> None:
    # Text, which argparse reads as if it had been given: a number could be the very object that the
    # user's becomes, and would slip past an exclusion.
    default = str(os.cpu_count() or 1)
    parser.add_argument("--workers", type=_positive_int, default=default, metavar="N", help=purpose)


def _positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    # The first comparison is false for NaN as well.
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive finite number")
    return value


def override_word(text: str) -> str:
    """A ``key=value`` word, as it is.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not of that form.
    """
    key, equals, _ = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return text
