"""What a step in OpenMM is composed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kstep_integrators.openmm import stages

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What a step is composed of.

    Attributes
    ----------
    group : int
        Force group of the jump.
    k : int
        Base steps.
    corrector : float
        Its code.
    corrects : bool
        Whether there is one.
    kicks_before : bool
        Whether it kicks before the jump too.
    extra_chances : int or None
        None: no Metropolis test.
    thermostat : bool
    parameters : sequence of str
        Of the Context, that the physics depends on.
    n_particles : int
    told_forces : bool
        Whether the jump looks at the physical forces where it starts.
    predicts_energy : bool
        Whether it predicts the change of the potential energy.
    constrained : bool
        Whether the System has constraints.
    periodic : bool
        Whether it has a periodic box.
    """

    group: int
    k: int
    corrector: float
    corrects: bool
    kicks_before: bool
    extra_chances: int | None
    thermostat: bool
    parameters: Sequence[str]
    n_particles: int
    told_forces: bool
    predicts_energy: bool
    constrained: bool
    periodic: bool

    @property
    def needs_forces(self) -> bool:
        """As in :attr:`kstep_integrators.step.scheme.BoundScheme.needs_forces`."""
        return self.corrects or self.extra_chances is None

    @property
    def aliases(self) -> dict[str, str]:
        """Names in the program for what belongs to the jump's force."""
        return {
            "answer": f"f{self.group}",
            "verdict": f"energy{self.group}",
            "stage": stages.STAGE,
            "steps": stages.STEPS,
            "stride": stages.STRIDE,
            "corrector": stages.CORRECTOR,
            "guarded": stages.GUARDED,
        }
