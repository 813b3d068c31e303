"""Liquid argon under three pressures: its density, by Metropolized jumps on a base that is wrong.

The physics is the Lennard-Jones fluid; the jumps move on a well that is 8 % too shallow. The test
and the barostat look at the energy of the physics alone, so the densities are its own: 1.126, 1.199
and 1.251 g/cm^3 by the equation of state of Kolafa & Nezbeda (doi:10.1016/0378-3812(94)80001-4).

    python examples/argon_pressure.py [--smoke]
"""

import argparse

import numpy as np
import openmm
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import OpenMMCalculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
melting, equilibration, jumps = (20, 5, 20) if parser.parse_args().smoke else (1000, 1000, 5000)
KELVIN, BLOCKS = 150.0, 10


def argon(count: int, kelvin: float) -> OpenMMCalculator:
    """Lennard-Jones in a periodic cell, with the correction for what is beyond the cutoff."""
    system, pairs = openmm.System(), openmm.NonbondedForce()
    for _ in range(count):
        system.addParticle(39.948)
        # e, nm, kJ/mol
        pairs.addParticle(0.0, 0.3405, kelvin * units.kB / (units.kJ / units.mol))
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(0.75)
    pairs.setUseDispersionCorrection(True)
    system.setDefaultPeriodicBoxVectors(*(2.0 * np.eye(3)))
    system.addForce(pairs)
    return OpenMMCalculator(system, "CPU")


for bar in (250.0, 400.0, 550.0):
    atoms = bulk("Ar", cubic=True, a=5.95) * (3, 3, 3)
    atoms.set_masses([39.948] * len(atoms))
    rng = np.random.default_rng(round(bar))
    thermalize_momenta(atoms, temperature_K=2 * KELVIN, rng=rng)
    atoms.calc = argon(len(atoms), 119.8)
    cheap = CalculatorPotential(argon(len(atoms), 0.92 * 119.8), timestep=8 * units.fs)
    bath = {"temperature_K": KELVIN, "friction": 0.002 / units.fs, "rng": rng}
    KStepDynamics(atoms, cheap, k=1, **bath).run(melting)  # the crystal becomes a liquid

    dynamics = KStepDynamics(
        atoms, cheap, k=4, corrector="none", metropolize=True,
        pressure=bar * units.bar, barostat_interval=2, **bath,
    )  # fmt: skip
    dynamics.run(equilibration)
    densities: list[float] = []
    dynamics.attach(lambda d=dynamics, all_=densities: all_.append(d.stats.density))
    dynamics.run(jumps)
    blocks = [part.mean() for part in np.array_split(densities, BLOCKS)]
    stats = dynamics.stats
    print(
        f"{bar:.0f} bar: {np.mean(densities):.3f} +- {np.std(blocks, ddof=1) / BLOCKS**0.5:.3f} "
        f"g/cm^3, {stats.accepted / stats.jumps:.0%} of jumps and "
        f"{stats.volume_accepted / stats.volume_moves:.0%} of moves of the volume accepted, "
        f"{stats.physics_evaluations} evaluations"
    )
