"""Learned jumps in ASE: an integrator, its checkpoints and files."""

from kstep_integrators.ase.dynamics import KStepDynamics

__all__ = ["KStepDynamics"]
