"""For tests of your own jumps, potentials and scripts: systems with known answers, and counters.

Calculators and the contracts of a jump and of an observable are imported from here. Canonical
ensembles that are known, and the statistics that hold a run against them, have modules of their
own: `known_ensembles`, `surfaces`, `droplet`, `sampling`, `block_averages`, `baths` and `energies`.
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
from kstep_integrators.testing.observable_contract import assert_observable, rotated_graph

__all__ = [
    "BrokenCalculator",
    "CountingCalculator",
    "MorseNetwork",
    "angular_momentum",
    "assert_jump",
    "assert_observable",
    "flipped",
    "rotated",
    "rotated_graph",
]
