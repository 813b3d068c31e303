"""Constraints, degrees of freedom, bonds and velocity Verlet: mechanics without a model."""
