"""``manifest.json``: what a folder of results was made with, and how each molecule ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kstep_integrators.files import write_text_atomically

__all__ = ["differences", "open_manifest", "write_manifest"]


def differences(
    kept: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str] = ()
) -> list[str]:
    """In words, what settings differ in from those that are on record.

    Parameters
    ----------
    kept, now : mapping
        As JSON gives them back.
    free : sequence of str
        What may differ; ``fit.epochs`` is the key ``epochs`` in the mapping ``fit``.
    """
    before, after = _flat(kept), _flat(now)
    return [
        f"{key} was {before.get(key, 'not there')!r}, now {after.get(key, 'not there')!r}"
        for key in sorted({*before, *after} - {*free})
        if key not in before or key not in after or before[key] != after[key]
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inside = isinstance(value, Mapping)
        found |= _flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return found


def open_manifest(folder: Path, settings: Any, free: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest of a folder; a new one, and the folder, where there is none.

    Parameters
    ----------
    folder : Path
    settings : dataclass
        What the results are made with.
    free : sequence of str
        Settings that may differ from those on record, which stay there; see :func:`differences`.

    Returns
    -------
    dict
        ``settings``, and ``molecules``: a report for each name.

    Raises
    ------
    ValueError
        If the folder holds results made with other settings.
    """
    path = folder / "manifest.json"
    described = json.loads(json.dumps(asdict(settings)))
    if path.exists():
        manifest: dict[str, Any] = json.loads(path.read_text())
        if found := differences(manifest["settings"], described, free):
            raise ValueError(
                f"{folder} holds data made with other settings: {'; '.join(found)}. Choose "
                "another folder or go back to those settings"
            )
        return manifest
    # Before the first result: one without its settings on record could be mixed with others.
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"settings": described, "molecules": {}}
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest atomically."""
    write_text_atomically(folder / "manifest.json", json.dumps(manifest, indent=1))
