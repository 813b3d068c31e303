"""Many replicas at once: jumps in one network call, GFN2-xTB in worker processes.

Each replica has a calculator, a trajectory and random numbers of its own.

    python examples/ensemble.py [--workers 2] [--scheduler tcp://HOST:8786] [--smoke]
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import load_model, named_molecule, run_ensemble
from kstep_integrators.calculators import xtb_calculator


def gfn2(atoms):
    """The physics of one replica; called in the process where it will work."""
    return xtb_calculator("GFN2-xTB")


def main():
    """Run the replicas and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="local processes")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, in place of processes")
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="a few jumps, to see that it runs")
    arguments = parser.parse_args()
    smoke, scheduler = arguments.smoke, arguments.scheduler

    rng = np.random.default_rng(0)
    replicas = [named_molecule("ethanol") for _ in range(2 if smoke else arguments.replicas)]
    for atoms in replicas:
        thermalize_momenta(atoms, temperature_K=300, rng=rng)
    result = run_ensemble(
        replicas,
        load_model("organic-gfn2"),
        gfn2,
        steps=5 if smoke else 2000,
        k=4,
        timestep=0.5 * units.fs,
        temperature_K=300,
        friction=0.002 / units.fs,
        rng=rng,
        workers=arguments.workers if scheduler is None else 1,
        scheduler=scheduler,
        trajectory=Path("ensemble"),
        loginterval=1 if smoke else 10,
        progress=True,
    )
    for number, replica in enumerate(result.replicas):
        stats, energy = replica.stats, replica.atoms.get_potential_energy()
        print(
            f"replica {number}: {stats.physics_evaluations} evaluations, potential energy "
            f"{energy:.3f} eV, residual {stats.residual_rms:.3f} eV/A, "
            f"{replica.failure or 'went on to the end'}"
        )
    print(f"{result.jump_seconds:.1f} s in jumps, {result.physics_seconds:.1f} s in physics")


# Worker processes import this file: what starts them must not run there.
if __name__ == "__main__":
    main()
