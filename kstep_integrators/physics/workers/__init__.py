"""Calculators for many geometries: in this process, in several, or on a Dask cluster."""

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Bench, CalculatorFactory, Request, Workers
from kstep_integrators.physics.workers.make import make_workers

__all__ = ["Answer", "Bench", "CalculatorFactory", "Request", "Workers", "make_workers"]
