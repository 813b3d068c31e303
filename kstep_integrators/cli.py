"""The command ``kstep``: each sub-command loads what it needs when it runs.

Exit status: 0 done, 1 the dynamics failed, 2 the request cannot be met (one line on standard error
says why), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kstep_integrators import DynamicsFailed, __version__

if TYPE_CHECKING:
    from kstep_integrators.demo import DemoSettings

__all__ = ["build_parser", "main"]

_FAILED: Final = 1
_USER_ERROR: Final = 2
_INTERRUPTED: Final = 130


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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    commands.add_parser("doctor", help="versions, devices, and which extras are missing")

    demo = commands.add_parser(
        "demo",
        help="one molecule under GFN2-xTB: velocity Verlet and k-step dynamics side by side",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    molecule = demo.add_mutually_exclusive_group()
    # Not argparse's default: a value equal to it by identity would slip past the exclusion.
    molecule.add_argument("--name", help="a bundled molecule (ethanol if none is given)")
    molecule.add_argument("--xyz", type=Path, metavar="FILE", help="any geometry ASE can read")
    molecule.add_argument("--smiles", help="needs the extra 'prep'")
    demo.add_argument("--model", default="organic-gfn2", help="bundled name or model file")
    demo.add_argument("-k", type=_positive_int, default=4, help="base steps per jump")
    demo.add_argument(
        "--timestep", type=_positive_float, default=0.5, metavar="FS", help="base step in fs"
    )
    demo.add_argument(
        "--time", type=_positive_float, default=2000.0, metavar="FS", help="simulated time in fs"
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
        "--no-compile", action="store_true", help="run the network eagerly (slower; no compiler)"
    )

    prep = commands.add_parser(
        "prep",
        help="SMILES to conformers, topologies and OpenMM Systems; resumes where interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    prep.add_argument("list", metavar="LIST", help="a .smi file or a bundled molecule list")
    prep.add_argument(
        "overrides", nargs="*", type=_override, metavar="key=value", help="e.g. conformers=5"
    )
    prep.add_argument("--output", type=Path, metavar="DIR", help="folder (kstep_LIST if none)")

    simulate = commands.add_parser(
        "simulate",
        help="MM or QM trajectories of what prep has made; resumes where interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    simulate.add_argument("prepared", type=Path, metavar="FOLDER", help="made by kstep prep")
    simulate.add_argument(
        "overrides", nargs="*", type=_override, metavar="key=value", help="e.g. method=GFN2-xTB"
    )
    simulate.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (FOLDER_METHOD if none is given)"
    )
    where = simulate.add_mutually_exclusive_group()
    _add_workers(where, "processes, one trajectory each")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does it")

    dataset = commands.add_parser(
        "dataset",
        help="trajectories to a dataset that fits read; resumes where interrupted, and grows",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    dataset.add_argument(
        "overrides",
        nargs="*",
        metavar="TRAJECTORIES or key=value",
        help="folders made by kstep simulate or of NPZ files, and settings, e.g. strides=[4,8]",
    )
    dataset.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (TRAJECTORIES_dataset if none is given)"
    )
    dataset.add_argument(
        "--verify",
        action="store_true",
        help="compare every shard with its hash; without TRAJECTORIES nothing else is done",
    )

    fit = commands.add_parser(
        "fit",
        help="a network fitted to a dataset; resumes where interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    fit.add_argument("dataset", type=Path, metavar="DATASET", help="made by kstep dataset")
    fit.add_argument(
        "overrides", nargs="*", type=_override, metavar="key=value", help="e.g. network.kind=direct"
    )
    fit.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (DATASET_fit if none is given)"
    )

    run = commands.add_parser(
        "run",
        help="dynamics of one molecule in the jumps of a model; resumes where interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    run.add_argument("model", metavar="MODEL", help="bundled name, model file, or GFN-FF")
    run.add_argument(
        "molecule",
        metavar="MOLECULE",
        help="a folder of kstep prep (OUT/NAME), a bundled name, a geometry file, or SMILES",
    )
    run.add_argument(
        "overrides", nargs="*", type=_override, metavar="key=value", help="e.g. length_ps=50"
    )
    run.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (kstep_run if none is given)"
    )

    evaluate = commands.add_parser(
        "evaluate",
        help="is a model right, and what does it save: runs, references, controls, a report",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    evaluate.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="MODEL MOLECULES key=value",
        help="a model, then a .smi file, geometries, a bundled list or names; e.g. seeds=16",
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

    recipe = commands.add_parser(
        "recipe",
        help="all of it, from SMILES to a run with a model; resumes where it was interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    recipe.add_argument("recipe", metavar="NAME_OR_FILE", help="a bundled recipe or a YAML file")
    recipe.add_argument(
        "overrides", nargs="*", type=_override, metavar="key=value", help="e.g. fit.epochs=10"
    )
    recipe.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (kstep_NAME if none is given)"
    )
    where = recipe.add_mutually_exclusive_group()
    _add_workers(where, "processes that simulate")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that simulates")
    return parser


def _add_workers(parser: argparse._ActionsContainer, purpose: str) -> None:
    # Text, which argparse reads as if it had been given: a number could be the very object that the
    # user's becomes, and would slip past an exclusion.
    default = str(os.cpu_count() or 1)
    parser.add_argument("--workers", type=_positive_int, default=default, metavar="N", help=purpose)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 1 for dynamics that failed, 2 for a request that cannot be met, 130 after
        Ctrl-C.

    Raises
    ------
    SystemExit
        From argparse: status 2 for arguments it cannot read, 0 after ``--help``.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if hasattr(arguments, "overrides") and not any(word.startswith("-") for word in rest):
        # argparse gives all positional words one place; overrides may stand behind options too.
        try:
            arguments.overrides += [_override(word) for word in rest]
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.version:
        return _version()
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return _USER_ERROR
    run = _COMMANDS[arguments.command]
    try:
        run(arguments)
    except KeyboardInterrupt:
        # Start on a new line: the terminal has just echoed ^C behind a progress bar.
        print(f"\nkstep: interrupted; {_RESUME[arguments.command]}", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, ImportError, DynamicsFailed) as error:
        if arguments.debug:
            raise
        print(f"kstep: error: {_one_line(error)}", file=sys.stderr)
        return _FAILED if isinstance(error, DynamicsFailed) else _USER_ERROR
    return 0


_RESUME: Final = {
    "doctor": "run the command again",
    "demo": "a demonstration starts from the beginning when it is run again",
    "prep": "run the same command again to resume where it stopped",
    "simulate": "run the same command again to resume where it stopped",
    "evaluate": "run the same command again to resume where it stopped",
    "dataset": "run the same command again to resume where it stopped",
    "run": "run the same command again to resume where it stopped",
    "fit": "run the same command again to resume where it stopped",
    "recipe": "run the same command again to resume where it stopped",
}


def _version() -> int:
    print(f"kstep-integrators {__version__}")
    return 0


def _doctor(arguments: argparse.Namespace) -> None:
    from kstep_integrators.doctor import collect, render

    del arguments
    render(collect())


def _demo(arguments: argparse.Namespace) -> None:
    from kstep_integrators.demo import run_demo

    run_demo(_demo_settings(arguments))


def _demo_settings(arguments: argparse.Namespace) -> DemoSettings:
    from kstep_integrators.demo import DemoSettings

    common: dict[str, Any] = {
        "model": arguments.model,
        "k": arguments.k,
        "timestep_fs": arguments.timestep,
        "time_fs": arguments.time,
        "temperature_K": arguments.temperature,
        "seed": arguments.seed,
        "output": arguments.output,
        "compile": not arguments.no_compile,
        "engine": arguments.engine,
    }
    if arguments.xyz is not None:
        return DemoSettings(source="xyz", value=str(arguments.xyz), **common)
    if arguments.smiles is not None:
        return DemoSettings(source="smiles", value=arguments.smiles, **common)
    return DemoSettings(source="name", value=arguments.name or "ethanol", **common)


def _prep(arguments: argparse.Namespace) -> None:
    from kstep_training.prep.prepare import run_prep

    output = arguments.output or Path(f"kstep_{Path(arguments.list).stem}")
    run_prep(arguments.list, list(arguments.overrides), output)


def _evaluate(arguments: argparse.Namespace) -> None:
    names = [word for word in arguments.overrides if "=" not in word]
    overrides = [word for word in arguments.overrides if "=" in word]
    if arguments.trajectory or arguments.reference:
        from kstep_training.evaluate.outside import run_outside

        if names:
            raise ValueError(
                f"{names[0]!r} and trajectories were given; evaluate a model on molecules, or "
                "trajectories that were made elsewhere"
            )
        run_outside(
            arguments.trajectory,
            arguments.reference,
            overrides,
            arguments.output,
            arguments.topology,
        )
        return
    from kstep_training.evaluate.command import run_evaluate

    if len(names) != 2:
        raise ValueError(
            f"{len(names)} names were given ({', '.join(names) or 'none'}), expected a model and "
            "molecules, such as: kstep evaluate organic-gfn2 ethanol,glycine"
        )
    run_evaluate(
        names[0],
        names[1],
        overrides,
        arguments.output,
        arguments.cache,
        arguments.workers,
        arguments.scheduler,
    )


def _recipe(arguments: argparse.Namespace) -> None:
    from kstep_training.recipe import run_recipe

    output = arguments.output or Path(f"kstep_{Path(arguments.recipe).stem}")
    run_recipe(
        arguments.recipe,
        list(arguments.overrides),
        output,
        arguments.workers,
        arguments.scheduler,
    )


def _fit(arguments: argparse.Namespace) -> None:
    from kstep_training.fit.fit import run_fit

    output = arguments.output or Path(f"{arguments.dataset.resolve().name}_fit")
    run_fit(arguments.dataset, list(arguments.overrides), output)


def _run(arguments: argparse.Namespace) -> None:
    from kstep_training.run.run import run_dynamics

    output = arguments.output or Path("kstep_run")
    run_dynamics(arguments.model, arguments.molecule, list(arguments.overrides), output)


def _simulate(arguments: argparse.Namespace) -> None:
    from kstep_training.simulate.simulate import run_simulate

    run_simulate(
        arguments.prepared,
        list(arguments.overrides),
        arguments.output,
        arguments.workers,
        arguments.scheduler,
    )


def _dataset(arguments: argparse.Namespace) -> None:
    from kstep_training.dataset.make_dataset import run_dataset

    words = arguments.overrides
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    folders = [Path(word) for word in words if word not in overrides]
    if not folders and (arguments.output is None or overrides or not arguments.verify):
        raise ValueError(
            "no trajectories are given; name folders made by kstep simulate, or a finished dataset "
            "with --verify --output DIR and no settings"
        )
    output = arguments.output or Path(f"{folders[0].resolve().name}_dataset")
    run_dataset(folders, overrides, output, arguments.verify)


_COMMANDS: Final = {
    "doctor": _doctor,
    "demo": _demo,
    "prep": _prep,
    "simulate": _simulate,
    "evaluate": _evaluate,
    "dataset": _dataset,
    "run": _run,
    "fit": _fit,
    "recipe": _recipe,
}


def _one_line(error: Exception) -> str:
    """Message of an error, with the extra named where a package is missing."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        from kstep_integrators.doctor import EXTRAS

        package = error.name.split(".")[0]
        if package in EXTRAS:
            extra, purpose = EXTRAS[package]
            return (
                f"{package} is not installed, which is needed for: {purpose}; "
                f"install it with: pip install 'kstep-integrators[{extra}]'"
            )
    return " ".join(str(error).split()) or type(error).__name__


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


def _override(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return text
