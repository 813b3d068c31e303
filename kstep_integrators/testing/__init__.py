"""For tests of your own jumps, potentials and scripts: systems with known answers, and counters.

Calculators and the contract of a jump are imported from here. Canonical ensembles that are known,
and the statistics that hold a run against them, have modules of their own: `known_ensembles`,
`surfaces`, `droplet`, `sampling`, `block_averages`, `baths` and `energies`.
"""

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
