"""Ethanol under B3LYP/def2-SVP: velocity Verlet against jumps of 2 fs, at equal simulated time.

Two things can stand inside DFT: the bundled network, and GFN2-xTB itself, which needs no training.
Runs on a GPU where GPU4PySCF finds one. On one CPU core, 20 fs take some six minutes in all.

    python examples/dft_ethanol.py [--smoke]
"""

import argparse
import time

import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import CalculatorPotential, KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="Hartree-Fock/STO-3G and 2 fs")
smoke = parser.parse_args().smoke
femtoseconds = 2 if smoke else 20
level = {"method": "hf", "basis": "sto-3g"} if smoke else {"xc": "b3lyp", "basis": "def2-svp"}

start = named_molecule("ethanol")
thermalize_momenta(start, temperature_K=600, rng=np.random.default_rng(0))
Stationary(start)
ZeroRotation(start)
inner = {
    "organic-gfn2 inside": load_model("organic-gfn2"),
    "GFN2-xTB inside": CalculatorPotential(xtb_calculator("GFN2-xTB")),
}


def run(name, make, stride):
    """Report what a run costs, and how far its total energy strays."""
    atoms = start.copy()
    atoms.calc = PySCFCalculator(**level)
    dynamics = make(atoms)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    began = time.perf_counter()
    dynamics.run(round(femtoseconds / stride))
    seconds = time.perf_counter() - began
    spent = atoms.calc.totals
    residual = getattr(getattr(dynamics, "stats", None), "residual_rms", None)
    print(
        f"{name:20s} {stride:3.1f} fs: {seconds:6.1f} s, {spent.scf_runs:3d} evaluations, "
        f"{spent.scf_cycles:4d} SCF cycles, energy within {1000 * np.ptp(energies):5.1f} meV"
        + ("" if residual is None else f", residual {1000 * residual:.0f} meV/A")
    )
    return seconds


reference = run("velocity Verlet", lambda atoms: VelocityVerlet(atoms, 0.5 * units.fs), 0.5)
for name, potential in inner.items():
    seconds = run(
        name,
        lambda atoms, p=potential: KStepDynamics(atoms, p, k=4, timestep=0.5 * units.fs),
        2.0,
    )
    print(f"{'':20s} {reference / seconds:.1f} times faster")
