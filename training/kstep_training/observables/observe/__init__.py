"""Observables of frames of trajectories, their averages and pictures."""
