"""Positions under every bath: those of harmonic traps and of double wells, from their formulas.

Four hundred atoms that know nothing of each other give as many independent averages, whose spread
is the error: limits are four standard errors, which chance passes once in some 16,000 tries.
"""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from scipy.integrate import quad

from kstep_integrators import CalculatorPotential, KStepDynamics

FS = units.fs
ATOMS, KELVIN = 400, 300.0
KT = units.kB * KELVIN
HEIGHT, HALF, STRENGTH = 2.0 * KT, 0.4, 1.5
"""Of the double well, eV and angstrom from its top to its minima; of all other springs, eV/A^2."""


CENTRES = 8.0 * np.array(list(np.ndindex(8, 8, 7)))[:ATOMS]
"""Far from each other."""


class Traps(Calculator):
    """Each atom in a trap of its own; along x a double well, if it is asked for."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, double: bool, off: float = 1.0) -> None:
        super().__init__()
        self.double, self.off = double, off

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        x = atoms.positions - CENTRES
        energies, forces = 0.5 * STRENGTH * x**2, -STRENGTH * x
        if self.double:
            u = (x[:, 0] / HALF) ** 2 - 1.0
            energies[:, 0], forces[:, 0] = HEIGHT * u**2, -4.0 * HEIGHT * u * x[:, 0] / HALF**2
        self.results = {"energy": self.off * energies.sum(), "forces": self.off * forces}


def density(double):
    """Boltzmann's density along x, not normalized."""
    if double:
        return lambda x: np.exp(-HEIGHT * ((x / HALF) ** 2 - 1.0) ** 2 / KT)
    return lambda x: np.exp(-0.5 * STRENGTH * x**2 / KT)


def drawn(double, rng):
    """Atoms at the temperature, positions drawn by rejection."""
    tried = rng.uniform(-1.2, 1.2, size=(200 * ATOMS, 3))
    kept = [tried[rng.uniform(size=len(tried)) < density(double)(tried[:, 0]), 0]]
    kept += [tried[rng.uniform(size=len(tried)) < density(False)(tried[:, i]), i] for i in (1, 2)]
    atoms = Atoms(f"C{ATOMS}", CENTRES + np.stack([part[:ATOMS] for part in kept], axis=1))
    momenta = rng.normal(size=(ATOMS, 3)) * np.sqrt(KT * atoms.get_masses()[:, None])
    atoms.set_momenta(momenta)
    return atoms


BATHS = {
    "langevin": {"friction": 0.02 / FS},
    "bussi": {"thermostat": "bussi", "taut": 50.0 * FS},
    "metropolis": {"friction": 0.02 / FS, "metropolize": True, "corrector": "none"},
}


@pytest.mark.parametrize("double", [False, True], ids=["harmonic", "double well"])
@pytest.mark.parametrize("name", BATHS)
def test_positions(name, double):
    rng = np.random.default_rng(7)
    atoms = drawn(double, rng)
    if name != "bussi":
        # Forgotten in time; a bath of the whole energy alone would take far longer.
        atoms.positions[:, 1:] = 0.5 * (atoms.positions + CENTRES)[:, 1:]
        atoms.set_momenta(0.0 * atoms.get_momenta())
    atoms.calc = Traps(double)
    # All atoms are accepted or refused at once: the potential may not be far off.
    off = 1.05 if name == "metropolis" else 1.1
    dynamics = KStepDynamics(
        atoms,
        CalculatorPotential(Traps(double, off)),
        k=2,
        timestep=2.0 * FS,
        temperature_K=KELVIN,
        rng=rng,
        **BATHS[name],
    )
    dynamics.run(300)
    frames = []
    dynamics.attach(lambda: frames.append(atoms.positions - CENTRES), interval=10)
    dynamics.run(1200)
    if name == "metropolis":
        assert 0.3 < dynamics.stats.accepted / dynamics.stats.jumps < 0.99
    x = np.array(frames)

    def close(values, wanted):
        each = values.mean(0)
        error = each.std() / np.sqrt(ATOMS)
        assert abs(each.mean() - wanted) < 4.0 * error, (each.mean(), wanted, error)

    f = density(double)
    norm = quad(f, -2.0, 2.0)[0]
    for power in (2, 4):
        close(x[:, :, 0] ** power, quad(lambda x, p=power: x**p * f(x), -2.0, 2.0)[0] / norm)
        close(x[:, :, 1] ** power, (KT / STRENGTH) ** (power / 2) * (1, 3)[power // 4])
    close(x[:, :, 0], 0.0)  # neither well is favoured
    width = np.sqrt(quad(lambda x: x**2 * f(x), -2.0, 2.0)[0] / norm)
    for edge in width * np.array([0.25, 0.5, 0.75, 1.25, 1.5]):
        inside = quad(f, -edge, edge)[0] / norm
        close((np.abs(x[:, :, 0]) < edge).astype(float), inside)
