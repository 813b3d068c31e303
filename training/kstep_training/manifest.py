"""``manifest.json``: what a folder of results was made with, and how each molecule ended."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kstep_integrators.atomic_file import write_text_atomically

__all__ = ["open_manifest", "write_manifest"]


def open_manifest(folder: Path, settings: Any) -> dict[str, Any]:
    """The manifest of a folder; a new one, and the folder, where there is none.

    Parameters
    ----------
    folder : Path
    settings : dataclass
        What the results are made with.

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
        if manifest["settings"] != described:
            raise ValueError(
                f"{folder} holds data made with other settings: {manifest['settings']}, now "
                f"{described}; choose another folder or go back to those settings"
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
