"""``kstep demo``: a molecule under GFN2-xTB with and without jumps, a small plan of an evaluation.

``plan`` says which runs are made, ``run`` makes them with the machinery of
:mod:`kstep_training.evaluate`, and ``report`` and ``picture`` show them. ``learn`` is ``kstep demo
--learn``, with runs and a picture of its own.
"""

from kstep_training.demo.run import run_demo
from kstep_training.demo.settings import OUTSIDE, DemoSettings

__all__ = ["OUTSIDE", "DemoSettings", "run_demo"]
