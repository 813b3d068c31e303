"""The guard: what a jump may never do, whatever the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from kstep_integrators import units
from kstep_integrators.state import Evaluation, PhaseState, kinetic_energy

__all__ = ["DynamicsFailed", "Guard"]


class DynamicsFailed(RuntimeError):
    """A jump failed and so did the physics steps in its place."""


@dataclass(frozen=True)
class Guard:
    """Limits beyond which a jump is absurd, far outside anything that thermal motion does.

    Attributes
    ----------
    max_speed : float
        Mean speed of an atom over the stride, angstrom / ASE time. The default, 1 angstrom/fs, is
        twenty times the thermal speed of hydrogen at 1000 K.
    max_energy_change : float
        Change of the total physical energy over one jump, eV, or a tenth of it per atom for
        molecules of more than ten atoms.
    """

    max_speed: float = 1.0 / units.FS
    max_energy_change: float = 1.0

    def check_jump(self, before: PhaseState, after: PhaseState) -> str | None:
        """Why the landing is absurd, or None; asked before the physics is evaluated there."""
        moved = (after.positions - before.positions).norm(dim=1)
        speed = torch.maximum(
            moved / torch.clamp(after.time - before.time, min=1e-12)[after.batch],
            (after.momenta / after.masses).norm(dim=1),
        )
        # One transfer from the device for all tests: NaN fails the comparison too.
        fastest = float(speed.nan_to_num(nan=math.inf).max())
        if not fastest <= self.max_speed:
            limit = self.max_speed * units.FS
            return f"an atom moved at {fastest * units.FS:.3g} A/fs (limit {limit:.3g} A/fs)"
        return None

    def check_energy(
        self, before: PhaseState, start: Evaluation, after: PhaseState, end: Evaluation
    ) -> str | None:
        """Why the physics at the landing makes the jump absurd, or None."""
        if not bool(torch.isfinite(end.energy).all()) or (
            end.forces is not None and not bool(torch.isfinite(end.forces).all())
        ):
            return "the physics gave a non-finite energy or force at the landing"
        change = end.energy + kinetic_energy(after) - start.energy - kinetic_energy(before)
        atoms = torch.bincount(after.batch)
        limit = self.max_energy_change * torch.clamp(atoms / 10.0, min=1.0)
        worst = int((change.abs() / limit).argmax())
        if float(change[worst].abs()) > float(limit[worst]):
            return (
                f"the total energy changed by {float(change[worst]):.3g} eV in one jump "
                f"(limit {float(limit[worst]):.3g} eV)"
            )
        return None
