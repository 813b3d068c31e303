"""The command ``kstep``: each sub-command loads what it needs when it runs.

Exit status: 0 done, 1 the dynamics failed, 2 the request cannot be met (one line on standard error
says why), 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kstep_integrators import DynamicsFailed, __version__
from kstep_integrators.cli.command_line import build_parser, override_word

if TYPE_CHECKING:
    from kstep_training.demo import DemoSettings

__all__ = ["main"]

_FAILED: Final = 1
_USER_ERROR: Final = 2
_INTERRUPTED: Final = 130


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
        # argparse gives all positional arguments one place; overrides may stand behind options too.
        try:
            arguments.overrides += [override_word(word) for word in rest]
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
    "sample": "run the same command again to resume where it stopped",
    "evaluate": "run the same command again to resume where it stopped",
    "dataset": "run the same command again to resume where it stopped",
    "run": "run the same command again to resume where it stopped",
    "fit": "run the same command again to resume where it stopped",
    "label": "run the same command again to resume where it stopped",
    "observe": "run the same command again to resume where it stopped",
    "recipe": "run the same command again to resume where it stopped",
}


def _version() -> int:
    print(f"kstep-integrators {__version__}")
    return 0


def _doctor(arguments: argparse.Namespace) -> None:
    from kstep_integrators.cli.doctor import collect, render

    del arguments
    render(collect())


def _demo(arguments: argparse.Namespace) -> None:
    from kstep_training.demo import run_demo

    run_demo(_demo_settings(arguments))


def _demo_settings(arguments: argparse.Namespace) -> DemoSettings:
    from kstep_training.demo import OUTSIDE, DemoSettings

    learn = arguments.learn
    usual = OUTSIDE if learn else "ethanol"
    molecule = arguments.xyz or arguments.smiles or arguments.name or usual
    return DemoSettings(
        molecule=str(molecule),
        model=arguments.model,
        k=arguments.k or (8 if learn else 4),
        timestep_fs=arguments.timestep,
        time_fs=arguments.time or (400.0 if learn else 2000.0),
        temperature_K=arguments.temperature,
        seed=arguments.seed,
        output=arguments.output,
        backend=arguments.backend,
        engine=arguments.engine,
        learn=learn,
    )


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


def _label(arguments: argparse.Namespace) -> None:
    from kstep_training.observables.labels.label import run_label

    overrides, trajectories = _settings_and_paths(arguments.overrides)
    run_label(
        arguments.kind,
        trajectories,
        overrides,
        arguments.output or Path(f"kstep_{arguments.kind}"),
        arguments.workers,
        arguments.scheduler,
    )


def _observe(arguments: argparse.Namespace) -> None:
    from kstep_training.observables.observe.observe import run_observe

    given = [arguments.trajectory, *arguments.overrides]
    overrides = [text for text in given if "=" in text and not Path(text).exists()]
    paths = [Path(text) for text in given if text not in overrides]
    run_observe(arguments.model, paths, overrides, arguments.output, arguments.topology)


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
    from kstep_training.observables.labels.label_folder import holds_labels

    output = arguments.output or Path(f"{arguments.dataset.resolve().name}_fit")
    if holds_labels(arguments.dataset):
        from kstep_training.observables.fit.fit_observable import run_fit_observable

        run_fit_observable(arguments.dataset, list(arguments.overrides), output)
        return
    from kstep_training.fit.fit import run_fit

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


def _sample(arguments: argparse.Namespace) -> None:
    from kstep_training.sample.sample import run_sample

    run_sample(
        arguments.prepared,
        list(arguments.overrides),
        arguments.output,
        arguments.workers,
        arguments.scheduler,
    )


def _dataset(arguments: argparse.Namespace) -> None:
    from kstep_training.dataset.make_dataset import run_dataset

    overrides, folders = _settings_and_paths(arguments.overrides)
    if not folders and (arguments.output is None or overrides or not arguments.verify):
        raise ValueError(
            "no trajectories are given; name folders made by kstep simulate, or a finished dataset "
            "with --verify --output DIR and no settings"
        )
    output = arguments.output or Path(f"{folders[0].resolve().name}_dataset")
    run_dataset(folders, overrides, output, arguments.verify)


def _settings_and_paths(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Words ``key=value`` apart from paths, which may have ``=`` in them as well."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    return overrides, [Path(word) for word in words if word not in overrides]


_COMMANDS: Final = {
    "doctor": _doctor,
    "demo": _demo,
    "prep": _prep,
    "simulate": _simulate,
    "sample": _sample,
    "evaluate": _evaluate,
    "dataset": _dataset,
    "run": _run,
    "fit": _fit,
    "label": _label,
    "observe": _observe,
    "recipe": _recipe,
}


def _one_line(error: Exception) -> str:
    """Message of an error, with the extra named where a package is missing."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        from kstep_integrators.cli.doctor import EXTRAS

        package = error.name.split(".")[0]
        if package in EXTRAS:
            extra, purpose = EXTRAS[package]
            return (
                f"{package} is not installed, which is needed for: {purpose}; "
                f"install it with: pip install 'kstep-integrators[{extra}]'"
            )
    return " ".join(str(error).split()) or type(error).__name__
