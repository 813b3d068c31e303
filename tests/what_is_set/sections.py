"""The sections of the table."""

from __future__ import annotations

from tests.what_is_set import (
    atoms_rows,
    beside_rows,
    calculator_rows,
    command_rows,
    dynamics_rows,
    ensemble_rows,
    model_rows,
    object_rows,
    openmm_rows,
    trajectory_rows,
)

__all__ = ["PARTS", "SECTIONS"]

PARTS = (
    dynamics_rows,
    atoms_rows,
    ensemble_rows,
    model_rows,
    object_rows,
    trajectory_rows,
    beside_rows,
)
SECTIONS = (
    *(part.SECTION for part in PARTS),
    openmm_rows.ARGUMENTS,
    openmm_rows.CHANGES,
    calculator_rows.SECTION,
    calculator_rows.XTB,
    *command_rows.SECTIONS,
)
"""In the order of the page."""
