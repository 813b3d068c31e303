"""For tests of your own jumps, potentials and scripts: systems with known answers, and counters."""

from kstep_integrators.testing.calculators import (
    BrokenCalculator,
    CountingCalculator,
    MorseNetwork,
)
from kstep_integrators.testing.jump_contract import (
    angular_momentum,
    assert_jump,
    flipped,
    rotated,
)

__all__ = [
    "BrokenCalculator",
    "CountingCalculator",
    "MorseNetwork",
    "angular_momentum",
    "assert_jump",
    "flipped",
    "rotated",
]
