"""``kstep demo``: a molecule under GFN2-xTB, with and without jumps."""

from kstep_integrators.cli.demo.run import run_demo
from kstep_integrators.cli.demo.start import DemoSettings

__all__ = ["DemoSettings", "run_demo"]
