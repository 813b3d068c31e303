"""The same seeds give the same bits: a fixed set of trajectories in two checkouts of the project.

``python benchmarks/same_bits.py OLD`` runs every case with the package of the folder OLD and with
this one, in processes of their own, and prints which final positions, momenta, energies, times and
counts differ. ``--case NAME`` runs one case in this process and prints its SHA-256 digests.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STEPS = 12
TOLERANCE = 0.005
"""eV; some of the jumps are beyond it."""


def _atoms(name: str = "ethanol", seed: int = 0) -> Any:
    from ase.md.velocitydistribution import Stationary, thermalize_momenta

    from kstep_integrators import named_molecule

    atoms = named_molecule(name)
    atoms.info.clear()
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    thermalize_momenta(atoms, temperature_K=300.0, rng=rng)
    Stationary(atoms)
    return atoms


def _morse(**parameters: float) -> Any:
    from kstep_integrators import named_molecule
    from kstep_integrators.testing import MorseNetwork

    return MorseNetwork(named_molecule("ethanol").positions, **parameters)


def _digest(*arrays: Any) -> str:
    joined = hashlib.sha256()
    for array in arrays:
        joined.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return joined.hexdigest()[:16]


def _run(model: Any = "organic-gfn2", constrained: bool = False, **options: Any) -> dict[str, Any]:
    """Digests of an ASE run of ethanol under the Morse network."""
    from ase import units
    from ase.constraints import FixBondLengths

    from kstep_integrators import KStepDynamics

    atoms = _atoms()
    if constrained:
        pairs = [(i, j) for i in range(2) for j in range(3, 8) if atoms.get_distance(i, j) < 1.25]
        atoms.set_constraint(FixBondLengths(pairs))
    atoms.calc = _morse()
    options = {"k": 8, "timestep": 0.25 * units.fs, "rng": np.random.default_rng(1), **options}
    dynamics = KStepDynamics(atoms, model, **options)
    dynamics.run(STEPS)
    stats = dynamics.stats
    return {
        "path": _digest(atoms.positions, atoms.get_momenta()),
        "energy": _digest(atoms.get_potential_energy(), dynamics.get_conserved_energy()),
        "time": _digest(dynamics.get_time()),
        "counts": [stats.jumps, stats.physics_evaluations, stats.fallbacks, stats.accepted],
        "errors": _digest(stats.residual_rms or 0.0, stats.energy_error or 0.0),
    }


def _cheap() -> Any:
    from kstep_integrators import CalculatorPotential

    return CalculatorPotential(_morse(depth=1.9))


def _module(*places: str) -> Any:
    """A module of the library, wherever it stands in this checkout."""
    for place in places:
        try:
            return importlib.import_module(f"kstep_integrators.{place}")
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"none of {places}")


def _direct() -> Any:
    """An untrained direct jump with increments of the size that trained ones have."""
    import torch
    from ase.data import atomic_masses

    from kstep_integrators import DirectJump

    module = _module("nn.increments.network", "nn.increment_network")
    files = _module("models.model_file", "model_file")
    elements = [1, 6, 7, 8]
    torch.manual_seed(0)
    scales = [[[0.001 * k, 0.002 * k]] * len(elements) for k in (4, 8)]
    network = module.IncrementNetwork(
        elements=elements, strides=[4, 8], timestep_fs=0.25, baseline="verlet", scales=scales,
        masses=[float(atomic_masses[z]) for z in elements], channels=8, layers=1, heads=4,
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in network.readout.named_parameters():
            if name.startswith(("out", "own")):
                weight.normal_(std=0.1)
    network.requires_grad_(False)
    header = files.ModelHeader("untrained", network.config, "none")
    return DirectJump(network.eval(), header, device="cpu", dtype=torch.float64)


def _bath(**options: Any) -> dict[str, Any]:
    from ase import units

    return {"temperature_K": 300.0, "friction": 0.01 / units.fs, **options}


def _bussi() -> dict[str, Any]:
    from ase import units

    return _run(thermostat="bussi", temperature_K=300.0, taut=50 * units.fs)


def _xtb() -> dict[str, Any]:
    """GFN1 inside GFN2, as in the README."""
    from ase import units

    from kstep_integrators import CalculatorPotential, KStepDynamics
    from kstep_integrators.calculators import xtb_calculator

    atoms = _atoms("malonaldehyde")
    atoms.calc = xtb_calculator("GFN2-xTB")
    inner = CalculatorPotential(xtb_calculator("GFN1-xTB"))
    dynamics = KStepDynamics(atoms, inner, k=4, timestep=0.5 * units.fs)
    dynamics.run(STEPS)
    return {"path": _digest(atoms.positions, atoms.get_momenta())}


def _morse_of(atoms: Any) -> Any:
    return _morse()


def _ensemble(**options: Any) -> dict[str, Any]:
    from ase import units

    from kstep_integrators import run_ensemble

    starts = [_atoms(seed=seed) for seed in range(4)]
    options = {"k": 8, "timestep": 0.25 * units.fs, "rng": np.random.default_rng(2), **options}
    result = run_ensemble(starts, "organic-gfn2", _morse_of, STEPS, **options)
    atoms = [replica.atoms for replica in result.replicas]
    return {
        "path": _digest(*[a.positions for a in atoms], *[a.get_momenta() for a in atoms]),
        "energy": _digest(*[a.get_potential_energy() for a in atoms]),
        "heat": _digest(*[replica.transferred_energy for replica in result.replicas]),
        "counts": [replica.stats.physics_evaluations for replica in result.replicas],
    }


def _openmm(**options: Any) -> dict[str, Any]:
    """Springs under Reference, with the bundled model inside."""
    import openmm
    from openmm import unit

    from kstep_integrators.openmm import KStepIntegrator

    atoms = _atoms()
    system = openmm.System()
    bonds = openmm.HarmonicBondForce()
    for i, mass in enumerate(atoms.get_masses()):
        system.addParticle(float(mass))
        for j in range(i):
            length = atoms.get_distance(i, j) / 10.0
            bonds.addBond(i, j, length, 200000.0 if length < 0.16 else 3000.0)
    system.addForce(bonds)
    integrator = KStepIntegrator(
        system, "organic-gfn2", k=4, timestep=0.5 * unit.femtosecond, **options
    )
    integrator.setRandomNumberSeed(5)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(0.1 * atoms.positions)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 7)
    integrator.step(STEPS)
    state = context.getState(positions=True, velocities=True, energy=True)
    return {
        "path": _digest(
            state.getPositions(asNumpy=True) / unit.nanometer,
            state.getVelocities(asNumpy=True) / (unit.nanometer / unit.picosecond),
        ),
        "energy": _digest(state.getPotentialEnergy() / unit.kilojoule_per_mole),
    }


def _openmm_bath(**options: Any) -> dict[str, Any]:
    from openmm import unit

    return _openmm(temperature=300 * unit.kelvin, friction=5 / unit.picosecond, **options)


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "nve impulse": _run,
    "nve impulse, calculator inside": lambda: _run(_cheap()),
    "nve filtered": lambda: _run(corrector="filtered"),
    "nve none": lambda: _run(corrector="none"),
    "langevin": lambda: _run(**_bath()),
    "bussi": _bussi,
    "metropolis, three chances": lambda: _run(k=40, **_bath(metropolize=True, corrector="none")),
    "metropolis, impulse, no chance": lambda: _run(**_bath(metropolize=True, extra_chances=0)),
    "tolerances, fallback": lambda: _run(_cheap(), energy_tolerance=TOLERANCE),
    "tolerances, shrink": lambda: _run(_cheap(), energy_tolerance=TOLERANCE, on_error="shrink"),
    "fixed bonds": lambda: _run(constrained=True),
    "fixed bonds, langevin": lambda: _run(constrained=True, **_bath()),
    "direct": lambda: _run(_direct(), timestep=None),
    "GFN1 inside GFN2": _xtb,
    "ensemble": _ensemble,
    "ensemble, langevin": lambda: _ensemble(**_bath()),
    "ensemble, metropolis": lambda: _ensemble(**_bath(metropolize=True)),
    "openmm": _openmm,
    "openmm, langevin": _openmm_bath,
    "openmm, metropolis": lambda: _openmm_bath(metropolize=True, corrector="none"),
}


def digests(tree: Path, case: str) -> dict[str, Any]:
    """Digests of a case with the package of a folder, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "training")]),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--case", case]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=folder, check=False
        )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Compare, and say what differs; 1 if something does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", nargs="?", type=Path, help="checkout to compare with")
    parser.add_argument("--case", choices=sorted(CASES))
    parser.add_argument("--output", type=Path, help="JSON file for the digests of both")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(CASES[arguments.case]()))
        return 0
    if arguments.old is None:
        parser.error("name the checkout to compare with")
    rows, differing = {}, 0
    for case in CASES:
        old, new = (digests(tree.resolve(), case) for tree in (arguments.old, ROOT))
        differ = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
        failed = "failed" in old or "failed" in new
        differing += bool(differ) or failed
        rows[case] = {"old": old, "new": new}
        print(f"{case:36s} {'FAILED' if failed else ', '.join(differ) or 'same bits'}", flush=True)
        if failed:
            print(f"    old: {old.get('failed')}\n    new: {new.get('failed')}")
    if arguments.output:
        sys.path.insert(0, str(ROOT))
        results = importlib.import_module("benchmarks.results")
        results.write(arguments.output.stem, rows, arguments.output.parent)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
