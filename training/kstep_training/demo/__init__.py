"""``kstep demo``: a molecule under GFN2-xTB with and without jumps, a small plan of an evaluation.

``plan`` says which runs are made, ``run`` makes them with the machinery of
:mod:`kstep_training.evaluate`, and ``report`` and ``picture`` show them.
"""

from kstep_training.demo.run import run_demo
from kstep_training.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run_demo"]
