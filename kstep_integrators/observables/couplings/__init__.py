"""Electronic couplings between the two molecules of a dimer, by projection on its orbitals."""

from kstep_integrators.observables.couplings.coupling import DimerState, dimer_coupling, dimer_state
from kstep_integrators.observables.couplings.dimer import split_dimer
from kstep_integrators.observables.couplings.dipro import Coupling, dipro
from kstep_integrators.observables.couplings.tracking import (
    AmbiguousOrbital,
    OrbitalReference,
    orbital_reference,
)

__all__ = [
    "AmbiguousOrbital",
    "Coupling",
    "DimerState",
    "OrbitalReference",
    "dimer_coupling",
    "dimer_state",
    "dipro",
    "orbital_reference",
    "split_dimer",
]
