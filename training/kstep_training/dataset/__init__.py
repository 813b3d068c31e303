"""Trajectories to a dataset that fits read lazily."""
