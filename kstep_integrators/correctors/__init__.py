"""Corrections of the momenta around a jump, made of the residual between physics and potential."""

from kstep_integrators.correctors.base import Corrector, HalfKicks, half_kick, residual_force
from kstep_integrators.correctors.filtered import Filtered
from kstep_integrators.correctors.kicks import Delta, Impulse, NoCorrection
from kstep_integrators.correctors.make import CORRECTORS, make_corrector, restore_corrector
from kstep_integrators.correctors.mollified import Mollified, estimate, pulled_back

__all__ = [
    "CORRECTORS",
    "Corrector",
    "Delta",
    "Filtered",
    "HalfKicks",
    "Impulse",
    "Mollified",
    "NoCorrection",
    "estimate",
    "half_kick",
    "make_corrector",
    "pulled_back",
    "residual_force",
    "restore_corrector",
]
