"""Datasets to model files."""
