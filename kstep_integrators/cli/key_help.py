"""``kstep COMMAND --help``: the keys of a command, from the settings themselves."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kstep_training.keys import Key

__all__ = ["SETTINGS", "CommandParser", "describe_keys"]

SETTINGS: Final = {
    "prep": ("kstep_training.prep.prepare", "PrepSettings"),
    "simulate": ("kstep_training.simulate.settings", "SimulateSettings"),
    "sample": ("kstep_training.sample.settings", "SampleSettings"),
    "dataset": ("kstep_training.dataset.make_dataset", "DatasetSettings"),
    "fit": ("kstep_training.fit.settings", "FitStage"),
    "run": ("kstep_training.run.settings", "RunSettings"),
    "evaluate": ("kstep_training.evaluate.settings", "EvaluateSettings"),
    "label couplings": (
        "kstep_training.observables.labels.coupling_labels",
        "CouplingLabelSettings",
    ),
    "label xanes": ("kstep_training.observables.labels.xanes_labels", "XANESLabelSettings"),
    "observe": ("kstep_training.observables.observe.observe", "ObserveSettings"),
    "recipe": ("kstep_training.config", "Recipe"),
}
"""Module and class of the settings of each command that has keys."""

FURTHER: Final = {
    "fit": {
        "a fit to labels of couplings": (
            "kstep_training.observables.fit.fit_stages",
            "CouplingFitStage",
        ),
        "a fit to labels of spectra": (
            "kstep_training.observables.fit.fit_stages",
            "SpectrumFitStage",
        ),
    },
    "recipe": {
        "the recipe couplings": ("kstep_training.observable_recipe", "CouplingRecipe"),
        "the recipe xanes": ("kstep_training.observable_recipe", "SpectrumRecipe"),
    },
}
"""Those of commands that have others as well, by what they are for."""

_INDENT: Final = "      "


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults of those arguments that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, []):
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command, whose ``--help`` also lists keys, or explains those that it names.

    Parameters
    ----------
    **arguments
        As for :class:`argparse.ArgumentParser`.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"formatter_class": _Defaults, **arguments, "add_help": False})
        keys = self.command in SETTINGS
        self.add_argument(
            "-h",
            "--help",
            action=_Help,
            nargs="*" if keys else 0,
            default=argparse.SUPPRESS,
            metavar="KEY",
            help="show this and exit" + ("; with KEY, that key alone" if keys else ""),
        )

    @property
    def command(self) -> str:
        """Name of the command, such as ``run`` or ``label xanes``."""
        return self.prog.partition(" ")[2]

    def format_help(self) -> str:
        """The help of the arguments, and the keys below it."""
        text = super().format_help()
        if self.command not in SETTINGS:
            return text
        try:
            keys = describe_keys(self.command)
            for purpose in FURTHER.get(self.command, {}):
                keys += f"\n\nkeys of {purpose}:\n{describe_keys(self.command, purpose=purpose)}"
        except ImportError as error:
            keys = f"  cannot be listed: {error}; pip install 'kstep-integrators[train]'"
        return f"{text}\nkeys (key=default [unit], null is no value):\n{keys}\n"


class _Help(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del option_string
        asked = list(values or [])
        given = getattr(namespace, "overrides", None) or []
        command = parser.prog.partition(" ")[2]
        mistyped = [word for word in given if "=" in word]
        if not asked and not (command in SETTINGS and mistyped):
            parser.print_help()
            parser.exit()
        try:
            text = describe_keys(command, [word.split("=")[0] for word in asked or mistyped])
        except ValueError as error:
            parser.exit(2, f"kstep: error: {error}\n")
        if not asked:  # all that was set is known
            parser.print_help()
            parser.exit()
        sys.stdout.write(f"{text}\n")
        parser.exit()


def describe_keys(command: str, names: Sequence[str] = (), purpose: str | None = None) -> str:
    """Default, unit and meaning of the keys of a command.

    Parameters
    ----------
    command : str
        One of :data:`SETTINGS`.
    names : sequence of str
        Those that are asked for; all if there are none.
    purpose : str, optional
        One of :data:`FURTHER` of the command, whose keys are listed in place of the usual ones.

    Raises
    ------
    ValueError
        If there is no such key; the message names the nearest.
    ImportError
        If the training module lacks a package.

    Examples
    --------
    >>> print(describe_keys("run", ["length_ps"]))
      length_ps=10.0 [ps]
      length of the run: strides made, rejected ones included
    """
    from kstep_training.keys import keys_of, nearest

    further = FURTHER.get(command, {})
    sources = [SETTINGS[command]] if purpose is None else [further[purpose]]
    if names:  # of what they are for, nobody has said
        sources += further.values()
    keys: dict[str, Key] = {}
    for module, settings in sources:
        for key in keys_of(getattr(importlib.import_module(module), settings)):
            keys.setdefault(key.name, key)
    for name in names:
        if name not in keys:
            near = nearest(name, keys)
            raise ValueError(
                f"unknown key {name!r}; did you mean {near!r}?\n{describe_keys(command, [near])}"
            )
    width = max(40, shutil.get_terminal_size().columns - 2)
    lines = []
    for key in (keys[name] for name in names or keys):
        lines.append(f"  {key}" + (f" [{key.unit}]" if key.unit else ""))
        lines += textwrap.wrap(
            key.meaning, width, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
    return "\n".join(lines)
