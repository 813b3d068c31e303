"""Sentences of the report on runs in cells: which cell, and what of it is not shown, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["cell_notes", "cell_words"]

_DIRECTIONS = {1: "one direction", 2: "two directions", 3: "all directions"}


def cell_words(molecule: Mapping[str, Any]) -> str:
    """How a system is periodic, and how many of its atoms are held.

    Examples
    --------
    >>> cell_words({"pbc": [True, True, False], "fixed": 4})
    'periodic in two directions, 4 atoms held'
    """
    held = f", {molecule['fixed']} atoms held" if molecule["fixed"] else ""
    return f"periodic in {_DIRECTIONS[sum(molecule['pbc'])]}{held}"


def cell_notes(molecule: Mapping[str, Any]) -> list[str]:
    """What is not shown of a system in a cell, and why.

    Examples
    --------
    >>> cell_notes({"pbc": [True, True, False], "methods": {}})[0][:47]
    'A slab has no volume: no radial distributions, '
    """
    notes = []
    if sum(molecule["pbc"]) == 2:
        notes.append("A slab has no volume: no radial distributions, coordination or pressure.")
    if sum(molecule["pbc"]) == 1:
        notes.append("A wire has no volume: no radial distributions, coordination or pressure.")
    rows = [row for row in molecule["methods"].values() if "cell" in row]
    if all(molecule["pbc"]) and not any(row["cell"].get("pressure") for row in rows):
        notes.append("No pressure: the physics gives no stress, or nothing was computed again.")
    moving = [row for row in rows if row["part"] == "dynamics"]
    if moving and not any(row["cell"].get("diffusion") for row in moving):
        notes.append(
            "No diffusion: it needs two runs, whose landings are evenly spread and close enough to "
            "follow each atom from cell to cell."
        )
    notes.append("Bonds and angles of cells are not looked at.")
    return notes
