"""The PySCF calculator: memory over many calls, and the GPU against the CPU.

``pyscf_gpu``: largest differences from the CPU over four geometries each, SCF converged to 1e-12
hartree; seconds of energy and forces under B3LYP/def2-SVP along small random displacements, both
devices in turns at the same geometries; all memory in use on the device, before and after.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pyscf import lib

from benchmarks.results import percentiles
from benchmarks.suite import Options, option
from kstep_integrators import named_molecule
from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf.device import find_gpu
from kstep_training.prep.molecules import conformers

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


def _resident_MiB() -> float:
    """Memory of this process that is in RAM (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class MemoryOptions(Options):
    """Number of calls."""

    calls: int = option(500, "of each calculator")
    molecule: str = option("water", "bundled name")

    @classmethod
    def smoke(cls, cache: Path) -> MemoryOptions:
        """Two calls."""
        return cls(cache, 2)


def pyscf_memory(options: MemoryOptions) -> dict[str, Any]:
    """Memory while forces at random displacements about one geometry are computed."""
    rows = []
    for settings in (
        {"xc": "b3lyp", "basis": "def2-svp"},
        {"xc": "b3lyp", "basis": "def2-svp", "density_fit": True, "solvent": "water"},
    ):
        rng = np.random.default_rng(0)
        atoms = named_molecule(options.molecule)
        still = atoms.get_positions()
        atoms.calc = PySCFCalculator(**settings, grid_level=1, device="cpu")
        used: dict[str, float] = {}
        for call in range(1, options.calls + 1):
            atoms.positions = still + rng.normal(0.0, 0.03, still.shape)
            atoms.get_forces()
            # The history is full after 20 calls: what comes later is a leak.
            if call in (1, 25, 50, 100, options.calls // 2, options.calls):
                gc.collect()
                used[str(call)] = _resident_MiB()
        files = len(list(Path("/proc/self/fd").iterdir()))
        rows.append({"settings": settings, "resident_MiB_after_calls": used, "open_files": files})
    return {"molecule": options.molecule, "calls": options.calls, "rows": rows}


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
    figures: dict[str, Any] = {
        "atoms": len(atoms),
        "basis_functions": functions(calculators["gpu"]),
    }
    for device in calculators:
        # The first call makes the mean field and, on the GPU, compiles.
        figures[device] = {
            "first_s": seconds[device][0],
            **{f"{key}_s": value for key, value in percentiles(seconds[device][1:]).items()},
            "calls": len(seconds[device]),
            "scf_cycles": float(np.mean(cycles[device][1:])),
        }
    figures["speed_up"] = figures["cpu"]["median_s"] / figures["gpu"]["median_s"]
    figures["memory_MiB"] = {"start": before, "after_first": memory[0], "after_last": memory[-1]}
    return figures


def functions(calculator: PySCFCalculator) -> int:
    """Size of the basis."""
    return int(calculator.mean_field.mol.nao)


@dataclass(frozen=True)
class GPUOptions(Options):
    """Number of calls."""

    calls: int = option(100, "on the GPU, per molecule")
    cpu_calls: int = option(10, "on the CPU, per molecule")


def pyscf_gpu(options: GPUOptions) -> dict[str, Any]:
    """Agreement of GPU and CPU, seconds per gradient, memory of the device."""
    if min(options.calls, options.cpu_calls) < 2:
        raise ValueError(
            f"calls is {options.calls} and cpu_calls {options.cpu_calls}; expected at least 2 "
            "each: the first is counted apart"
        )
    name = find_gpu()
    import cupy
    import gpu4pyscf

    comparison = {
        f"{molecule}, {level}": agreement(molecule, settings)
        for level, settings in LEVELS.items()
        for molecule in (SMALL if level in ("HF", "B3LYP") else SMALL[::4])
    }
    large = {
        "ethanol": named_molecule("ethanol"),
        "aspirin": conformers("CC(=O)Oc1ccccc1C(=O)O", 1)[0],
    }
    for atoms in large.values():
        atoms.info.clear()
    times = {
        molecule: gradients(atoms, options.calls, options.cpu_calls)
        for molecule, atoms in large.items()
    }
    return {
        "gpu": name,
        "gpu_versions": {"gpu4pyscf": str(gpu4pyscf.__version__), "cupy": str(cupy.__version__)},
        "pyscf_threads": lib.num_threads(),
        "cores": os.cpu_count(),
        "agreement": comparison,
        "gradients": times,
    }
