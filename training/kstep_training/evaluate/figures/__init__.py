"""The figures of the report, as SVG texts: what a person would rather look at than read."""

from kstep_training.evaluate.figures.distributions import distributions
from kstep_training.evaluate.figures.energy import energies
from kstep_training.evaluate.figures.radial import radial
from kstep_training.evaluate.figures.scatter import Point, speed_and_error
from kstep_training.evaluate.figures.spectra import spectra

__all__ = ["Point", "distributions", "energies", "radial", "spectra", "speed_and_error"]
