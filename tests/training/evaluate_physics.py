"""Quick physics for tests of evaluations: Morse springs, and springs that are a little wrong."""

from ase.calculators.emt import EMT

from kstep_integrators import named_molecule
from kstep_integrators.testing import MorseNetwork

NAMES = ("water", "methanol", "methane")


def _springs(atoms, **parameters):
    formula = atoms.get_chemical_formula()
    known = (named_molecule(name) for name in NAMES)
    molecule = next(m for m in known if m.get_chemical_formula() == formula)
    return MorseNetwork(molecule.positions, **parameters)


def physics(atoms):
    return _springs(atoms, depth=4.0, width=1.9)


def cheap(atoms):
    """As good as a network: some per cent of the force wrong."""
    return _springs(atoms, depth=4.1, width=1.89)


def poor(atoms):
    return _springs(atoms, depth=3.0, width=1.9)


def stiff(atoms):
    """Too stiff for steps of 4 fs."""
    return _springs(atoms, depth=500.0, width=3.0)


def copper(atoms):
    return EMT()


def cheap_copper(atoms):
    """A cutoff of its own, a little wrong."""
    return EMT(asap_cutoff=True)


def refuses(atoms):
    raise LookupError("no parameters for this molecule")
