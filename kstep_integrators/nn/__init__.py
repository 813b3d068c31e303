"""Equivariant networks and nothing else."""
