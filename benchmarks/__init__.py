"""The project's standing measurements; results are committed under ``benchmarks/results``."""
