"""``manifest.json``: the settings of a folder of results, and how each molecule ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from kstep_integrators.files import write_text_atomically
from kstep_training.keys import FORMER_NAMES

__all__ = ["add_reports", "differences", "keep_identity", "open_manifest", "write_manifest"]


_NULL_NOW: Final[Mapping[str, Any]] = MappingProxyType({"basis": "sto-3g", "multiplicity": 1})
"""Defaults of earlier versions that null stands for now."""

_GONE: Final = ("compile",)
"""Keys of earlier versions on which no result depended."""


def differences(
    kept: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str] = ()
) -> list[str]:
    """The keys in which settings differ from those on record, each with both values.

    Parameters
    ----------
    kept, now : mapping
        As JSON gives them back. Keys of earlier versions are known by their former names.
    free : sequence of str
        What may differ; ``fit.epochs`` is the key ``epochs`` in the mapping ``fit``.

    Examples
    --------
    >>> kept = {"run": {"calculator": "GFN-FF", "k": 4}}
    >>> differences(kept, {"run": {"physics": "GFN-FF", "k": 8}})
    ['run.k was 4, now 8']
    """
    after = _flat(now)
    before = {_renamed(key, after): value for key, value in _flat(kept).items()}
    return [
        f"{key} was {before.get(key, 'not there')!r}, now {after.get(key, 'not there')!r}"
        for key in sorted({*before, *after} - {*free})
        if key not in before or key not in after or not _same(key, before[key], after[key])
    ]


def _renamed(key: str, known: Mapping[str, Any]) -> str:
    section, dot, name = key.rpartition(".")
    renamed = f"{section}{dot}{FORMER_NAMES.get(name, name)}"
    return renamed if key not in known and renamed in known else key


def _same(key: str, kept: Any, now: Any) -> bool:
    null = _NULL_NOW.get(key.rpartition(".")[2])
    return bool(kept == now or (now is None and null is not None and kept == null))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inside = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return flat


def _with_defaults(kept: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """Settings on record, with the defaults of those that there were not when they were made."""
    names = [option.name for option in fields(settings)]
    whole = {key: value for key, value in kept.items() if key in names or key not in _GONE}
    former = {new: old for old, new in FORMER_NAMES.items() if old in kept}
    for option in fields(settings):
        value, name = getattr(settings, option.name), option.name
        if is_dataclass(value) and isinstance(kept.get(name), Mapping):
            whole[name] = _with_defaults(kept[name], value)
        elif name not in kept and name not in former:
            if option.default is not MISSING:
                whole[name] = option.default
            elif option.default_factory is not MISSING:
                made: Any = option.default_factory()
                inside = is_dataclass(made) and not isinstance(made, type)
                whole[name] = asdict(made) if inside else made
    return whole


def keep_identity(
    path: Path, identity: Mapping[str, Any], holds: str, free: Sequence[str] = ()
) -> None:
    """Keep what a result is made of, or compare with what is kept, before going on with it.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    identity : mapping
        Settings, and hashes of data.
    holds : str
        What the error begins with: what is held where.
    free : sequence of str
        What may differ; see :func:`differences`.

    Raises
    ------
    ValueError
        If it differs.
    """
    identity = json.loads(json.dumps(identity))
    if path.exists():
        if changes := differences(json.loads(path.read_text()), identity, free):
            raise ValueError(
                f"{holds} with other settings or of other data: {'; '.join(changes)}. "
                "Choose another output folder or remove it to start anew"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(identity, indent=1))


def open_manifest(
    folder: Path, settings: Any, free: Sequence[str] = (), reports: str = "molecules"
) -> dict[str, Any]:
    """The manifest of a folder; a new one, and the folder, where there is none.

    Parameters
    ----------
    folder : Path
    settings : dataclass
        What the results are made with.
    free : sequence of str
        Settings that may differ from those on record, which stay there; see :func:`differences`.
    reports : str
        Key of the reports.

    Returns
    -------
    dict
        ``settings``, and ``molecules``, or what the reports are of: a report for each name.

    Raises
    ------
    ValueError
        If the folder holds results made with other settings.
    """
    path = folder / "manifest.json"
    described = json.loads(json.dumps(asdict(settings)))
    if path.exists():
        manifest: dict[str, Any] = json.loads(path.read_text())
        kept = json.loads(json.dumps(_with_defaults(manifest["settings"], settings)))
        if changes := differences(kept, described, free):
            raise ValueError(
                f"{folder} holds data made with other settings: {'; '.join(changes)}. Choose "
                "another folder or go back to those settings"
            )
        return manifest
    # Before the first result: one without its settings on record could be mixed with others.
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"settings": described, reports: {}}
    write_manifest(folder, manifest)
    return manifest


def add_reports(
    folder: Path, manifest: dict[str, Any], made: Mapping[str, Any], reports: str = "molecules"
) -> None:
    """Add reports to the manifest, beside those that another process has written there since.

    Parameters
    ----------
    folder : Path
    manifest : dict
        Takes all of them.
    made : mapping
        Name to report, all that this process has made.
    reports : str
        Key of the reports.
    """
    path = folder / "manifest.json"
    before = json.loads(path.read_text())[reports] if path.exists() else manifest[reports]
    manifest[reports] = {**before, **made}
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest atomically."""
    write_text_atomically(folder / "manifest.json", json.dumps(manifest, indent=1))
