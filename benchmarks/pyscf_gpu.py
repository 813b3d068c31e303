"""PySCFCalculator on the GPU against the CPU: agreement, seconds per gradient, memory.

    python -m benchmarks.pyscf_gpu [--calls 100] [--cpu-calls 10]

Agreement: largest differences over four geometries each, SCF converged to 1e-12 hartree. Seconds:
energy and forces under B3LYP/def2-SVP along small random displacements, each SCF from the
densities before it, both devices in turns at the same geometries. Memory: all that is in use on
the device, before the first call and after the last.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.common import percentiles, write_result
from kstep_integrators import named_molecule
from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf.device import GPUUnavailable, find_gpu

PROPERTIES = ("energy", "forces", "dipole", "charges")
UNITS = {"energy": "eV", "forces": "eV_per_A", "dipole": "e_A", "charges": "e"}
SMALL = ("water", "methane", "ammonia", "formaldehyde", "ethanol")
LEVELS: dict[str, dict[str, Any]] = {
    "HF": {"method": "hf"},
    "B3LYP": {"xc": "b3lyp"},
    "B3LYP, radical cation": {"xc": "b3lyp", "charge": 1, "multiplicity": 2},
    "wB97M-V": {"xc": "wb97m-v"},
    "PBE, density fitting": {"xc": "pbe", "density_fit": True},
    "B3LYP-D3(BJ)": {"xc": "b3lyp", "dispersion": "d3bj"},
    "B3LYP, IEF-PCM water": {"xc": "b3lyp", "solvent": "water"},
    "B3LYP, SMD water": {"xc": "b3lyp", "solvent": "water", "solvent_model": "smd"},
}
BASIS = "def2-svp"


def aspirin() -> Atoms:
    """One conformer at its MMFF minimum."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    molecule = Chem.AddHs(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=0)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return Atoms(numbers, molecule.GetConformer().GetPositions())


def on(device: str, **settings: Any) -> PySCFCalculator:
    """A calculator that is on a device or fails."""
    return PySCFCalculator(basis=BASIS, device=device, **settings)


def agreement(name: str, settings: dict[str, Any], geometries: int = 4) -> dict[str, float]:
    """Largest differences between CPU and GPU."""
    rng = np.random.default_rng(0)
    atoms = named_molecule(name)
    atoms.info.clear()
    one, other = on("cpu", **settings, conv_tol=1e-12), on("cuda", **settings, conv_tol=1e-12)
    worst = dict.fromkeys(PROPERTIES, 0.0)
    for _ in range(geometries):
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
        one.calculate(atoms, PROPERTIES)
        other.calculate(atoms, PROPERTIES)
        for key in PROPERTIES:
            difference = float(np.abs(np.subtract(one.results[key], other.results[key])).max())
            worst[key] = max(worst[key], difference)
    return {f"{key}_{UNITS[key]}": value for key, value in worst.items()}


def used_MiB() -> float:
    """Memory in use on the device, by whomever."""
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    return float((total - free) / 2**20)


def gradients(atoms: Atoms, calls: int, cpu_calls: int) -> dict[str, Any]:
    """Seconds of energy and forces, and memory."""
    rng = np.random.default_rng(0)
    before = used_MiB()
    calculators = {"gpu": on("cuda", xc="b3lyp"), "cpu": on("cpu", xc="b3lyp")}
    seconds: dict[str, list[float]] = {"gpu": [], "cpu": []}
    cycles: dict[str, list[int]] = {"gpu": [], "cpu": []}
    memory = []
    reference = atoms.positions.copy()
    for number in range(calls):
        atoms.positions = reference + rng.normal(0.0, 0.01, reference.shape)
        for device, calculator in calculators.items():
            if device == "cpu" and number >= cpu_calls:
                continue
            started = time.perf_counter()
            calculator.calculate(atoms, ("energy", "forces"))
            seconds[device].append(time.perf_counter() - started)
            cycles[device].append(calculator.last_call.scf_cycles)
        memory.append(used_MiB())
    found: dict[str, Any] = {"atoms": len(atoms), "basis_functions": functions(calculators["gpu"])}
    for device in calculators:
        # The first call makes the mean field and, on the GPU, compiles.
        found[device] = {
            "first_s": seconds[device][0],
            **{f"{key}_s": value for key, value in percentiles(seconds[device][1:]).items()},
            "calls": len(seconds[device]),
            "scf_cycles": float(np.mean(cycles[device][1:])),
        }
    found["speed_up"] = found["cpu"]["median_s"] / found["gpu"]["median_s"]
    found["memory_MiB"] = {"start": before, "after_first": memory[0], "after_last": memory[-1]}
    return found


def functions(calculator: PySCFCalculator) -> int:
    """Size of the basis."""
    return int(calculator.mean_field.mol.nao)


def versions() -> dict[str, str]:
    """Of what runs on the GPU."""
    import cupy
    import gpu4pyscf

    return {"gpu4pyscf": str(gpu4pyscf.__version__), "cupy": str(cupy.__version__)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100, help="on the GPU, per molecule")
    parser.add_argument("--cpu-calls", type=int, default=10, help="on the CPU, per molecule")
    arguments = parser.parse_args()
    if min(arguments.calls, arguments.cpu_calls) < 2:
        parser.error("at least two calls each: the first is counted apart")
    try:
        name = find_gpu()
    except GPUUnavailable as error:
        raise SystemExit(f"this benchmark needs a GPU: {error}") from error
    from pyscf import lib

    result: dict[str, Any] = {
        "what": __doc__,
        "gpu": name,
        "gpu_versions": versions(),
        "pyscf_threads": lib.num_threads(),
        "cores": os.cpu_count(),
        "agreement": {},
        "gradients": {},
    }
    for level, settings in LEVELS.items():
        for molecule in SMALL if level in ("HF", "B3LYP") else SMALL[::4]:
            found = agreement(molecule, settings)
            result["agreement"][f"{molecule}, {level}"] = found
            print(molecule, level, {key: f"{value:.1e}" for key, value in found.items()})
    for molecule, atoms in (("ethanol", named_molecule("ethanol")), ("aspirin", aspirin())):
        atoms.info.clear()
        found = gradients(atoms, arguments.calls, arguments.cpu_calls)
        result["gradients"][molecule] = found
        print(molecule, found)
    write_result("pyscf_gpu", result)


if __name__ == "__main__":
    main()
