"""The command ``kstep``."""

from kstep_integrators.cli.main import main

__all__ = ["main"]
