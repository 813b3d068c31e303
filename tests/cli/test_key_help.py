"""Help of every command: its keys with defaults, units and meanings."""

from __future__ import annotations

import importlib
import json
import re

import pytest

from kstep_integrators.cli import main
from kstep_integrators.cli.key_help import FURTHER, SETTINGS, describe_keys
from kstep_training.keys import Key, keys_of

UNITS = {"_per_ps": "1/ps", "_fs": "fs", "_ps": "ps", "_K": "K", "_eV": "eV", "_meV": "meV",
         "_A": "A", "_bar": "bar"}  # fmt: skip
"""Ends of names, and the units that they promise."""
WITH_UNIT = {
    "charge", "charges", "cutoff", "distance_scale", "distortions", "energy_tolerance",
    "force_tolerance", "gaussian", "huber_delta", "jitter", "largest_shift", "least",
    "lorentzian", "most", "reach", "resolution", "scale", "spacing", "stiffness",
    "temperatures", "widest", "widths",
}  # fmt: skip
"""Other keys that have one."""


def keys() -> list[tuple[str, Key]]:
    listed = []
    for command, first in SETTINGS.items():
        for module, settings in (first, *FURTHER.get(command, {}).values()):
            made = keys_of(getattr(importlib.import_module(module), settings))
            listed += [(command, key) for key in made]
    return listed


@pytest.mark.parametrize(("command", "key"), keys(), ids=lambda part: getattr(part, "name", part))
def test_every_key_has_a_default_a_unit_and_a_meaning(command: str, key: Key) -> None:
    name = key.name.rpartition(".")[2]
    assert len(key.meaning.split()) > 1, "no meaning"
    json.dumps(key.default)
    promised = [unit for end, unit in UNITS.items() if name.endswith(end)][:1]
    if promised:
        assert key.unit == promised[0]
    else:
        assert bool(key.unit) == (name in WITH_UNIT)


@pytest.mark.parametrize("command", SETTINGS)
def test_help_lists_every_key(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "usage: kstep" in text
    assert "default: None" not in text
    table = text.partition("\nkeys (")[2]
    listed = re.findall(r"^  ([\w.]+)=(.*?)(?: \[(.*)\])?$", table, flags=re.MULTILINE)
    expected = [key for name, key in keys() if name == command]
    assert [name for name, _, _ in listed] == [key.name for key in expected]
    for key in {key.name: key for key in reversed(expected)}.values():  # the first of a name
        assert describe_keys(command, [key.name]) in text


def test_help_of_one_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--help", "length_ps", "k=3"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "length_ps=10.0 [ps]\n      length of the run" in text
    assert "k=8" in text
    assert "timestep_fs" not in text


@pytest.mark.parametrize(
    ("words", "mistyped", "meant"),
    [
        (["run", "--help", "lenth_ps"], "lenth_ps", "length_ps=10.0 [ps]"),
        (["run", "organic-gfn2", "water", "calculator=pyscf", "--help"], "calculator", "physics="),
        (["simulate", "FOLDER", "method=mm", "-h"], "method", "physics=mm"),
        (["dataset", "--help", "strides"], "strides", "k=[4, 8, 12]"),
        (["fit", "data", "fit.epoch=3", "--help"], "fit.epoch", "fit.epochs=60"),
        (["fit", "labels", "split.held_uot=[]", "--help"], "split.held_uot", "split.held_out=[]"),
        (["recipe", "--help", "run.calculator"], "run.calculator", "run.physics="),
        (["evaluate", "--help", "picoseconds"], "picoseconds", "length_ps="),
        (["prep", "--help", "conformer"], "conformer", "conformers=10"),
    ],
)
def test_help_of_a_mistyped_key_names_the_nearest(
    words: list[str], mistyped: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    nearest = meant.partition("=")[0]
    assert f"unknown key {mistyped!r}; did you mean {nearest!r}?\n  {meant}" in text


def test_help_with_keys_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "organic-gfn2", "water", "k=4", "--help"])
    assert stop.value.code == 0
    assert "usage: kstep run" in capsys.readouterr().out


def test_commands_without_keys_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    assert "keys" not in capsys.readouterr().out
