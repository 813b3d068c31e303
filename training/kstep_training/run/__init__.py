"""A molecule moved by the jumps of a model."""
