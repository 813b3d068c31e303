"""Learning while a run goes on: a potential adapts to the evaluations that the run makes."""

from kstep_integrators.learning.adapted import AdaptedPotential
from kstep_integrators.learning.settings import Learning

__all__ = ["AdaptedPotential", "Learning"]
