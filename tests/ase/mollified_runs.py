"""Mollified runs of a hot molecule for tests, and what they are compared with."""

from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from kstep_integrators import KStepDynamics
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, hot, physics

FS = units.fs
BATH = {"temperature_K": 300, "friction": 0.02 / FS}
MOLLIFIED = {"corrector": "mollified", "k": 32, "verify_interval": 0}


def run_of(atoms=None, model=None, calculator=None, **options) -> KStepDynamics:
    atoms = hot() if atoms is None else atoms
    if atoms.calc is None:
        atoms.calc = CountingCalculator(physics()) if calculator is None else calculator
    options = {**MOLLIFIED, **options}
    return KStepDynamics(atoms, cheap(depth=1.8) if model is None else model, **options)


def truth(atoms: Atoms) -> Atoms:
    """The same atoms with another calculator of the physics."""
    other = atoms.copy()
    other.calc = physics()
    return other


def verlet_after(atoms: Atoms, steps: int) -> Atoms:
    other = truth(atoms)
    VelocityVerlet(other, 0.25 * FS).run(steps)
    return other


def energies_of(dynamics: KStepDynamics, steps: int) -> tuple[list[float], list[float]]:
    """The conserved energy, and the estimated total energy, at each step."""
    conserved, shown = [], []
    for _ in dynamics.irun(steps):
        conserved.append(dynamics.get_conserved_energy())
        known = dynamics.estimates()
        shown.append(known.get_potential_energy() + known.get_kinetic_energy())
    return conserved, shown
