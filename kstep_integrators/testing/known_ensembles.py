"""Systems whose canonical ensemble is known, by name."""

from __future__ import annotations

from collections.abc import Callable

from kstep_integrators.testing.droplet import droplet_system
from kstep_integrators.testing.one_atom import (
    double_well_system,
    harmonic_system,
    quartic_system,
)
from kstep_integrators.testing.system import System

__all__ = ["SYSTEMS"]

SYSTEMS: dict[str, Callable[[], System]] = {
    "quartic": quartic_system,
    "double well": double_well_system,
    "harmonic": harmonic_system,
    "LJ13": droplet_system,
}
"""Each called makes the system anew."""
