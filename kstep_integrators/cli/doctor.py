"""``kstep doctor``: versions, devices, kernel, compiler and bundled models of an installation."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kstep_integrators.models.model_file import bundled_models
from kstep_integrators.nn.native import NativeLibrary, native_library, native_missing

__all__ = ["EXTRAS", "Device", "Package", "Report", "collect", "render"]

_CORE: Final = ("kstep-integrators", "torch", "ase", "numpy", "safetensors", "rich")

EXTRAS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "tblite": ("xtb", "GFN1- and GFN2-xTB forces; kstep demo"),
        "xtb": ("xtb", "GFN-FF forces (Linux on x86, Python 3.11 or older)"),
        "pyscf": ("pyscf", "Hartree-Fock and DFT forces on the CPU"),
        "pyscf-dispersion": ("pyscf", "D3 and D4 corrections"),
        "distributed": ("dask", "physics of ensembles in the workers of a Dask cluster"),
        "matplotlib": ("demo", "the picture of kstep demo"),
        "rdkit": ("prep", "molecules from SMILES"),
        "openmm": ("openmm", "k-step jumps in OpenMM; force fields: kstep prep and simulate"),
        "openmmml": ("openmm", "ASE calculators as the physics in OpenMM"),
        "lightning": ("train", "fitting networks"),
        "omegaconf": ("train", "recipes"),
        "tensorboardX": ("train", "curves of fits for TensorBoard"),
        "jinja2": ("train", "reports of kstep evaluate"),
        "e3nn": ("e3nn", "networks with tensor products"),
        "torch_geometric": ("observables", "networks for couplings and X-ray spectra"),
        "MDAnalysis": ("mdanalysis", "kstep evaluate of DCD trajectories and the like"),
        "wandb": ("wandb", "curves of fits in Weights & Biases"),
    }
)
"""Import name of each optional package: the extra that brings it, and what it is for."""

_GIB: Final = 1024.0**3


@dataclass(frozen=True)
class Package:
    """Package that is needed, or useful.

    Attributes
    ----------
    name : str
        Its name.
    version : str or None
        Installed version; None if it is missing.
    extra : str or None
        Extra of this distribution that installs it; None for packages that are always needed.
    purpose : str
        What it is for; empty for packages that are always needed.
    """

    name: str
    version: str | None
    extra: str | None = None
    purpose: str = ""


@dataclass(frozen=True)
class Device:
    """Device that a network can run on.

    Attributes
    ----------
    name : str
        torch's name of it, such as ``"cuda:0"``.
    description : str
        Model and, for the CPU, threads that torch uses.
    memory_GiB : float or None
        Memory in GiB (2**30 bytes); None for the CPU.
    """

    name: str
    description: str
    memory_GiB: float | None = None


@dataclass(frozen=True)
class Report:
    """Contents of a report.

    Attributes
    ----------
    python : str
        Version of the interpreter.
    system : str
        Operating system and machine.
    packages : tuple of Package
        First those that are always needed, then those of the extras.
    devices : tuple of Device
        The CPU first.
    native : NativeLibrary or None
        Library of the native kernel that networks on this CPU can use.
    native_missing : str or None
        Reason that there is none and what to do; None if there is one.
    compiler : str or None
        Path of the C++ compiler that ``torch.compile`` would find.
    python_headers : bool
        Whether ``Python.h`` is there, which what ``torch.compile`` writes includes.
    openmm : tuple of str or None
        Platforms of OpenMM, slowest first; None if OpenMM cannot be imported.
    pyscf : str or None
        Where PySCF would run, and why not on a GPU; None if it is not installed.
    models : tuple of Path
        Bundled model files.
    """

    python: str
    system: str
    packages: tuple[Package, ...]
    devices: tuple[Device, ...]
    native: NativeLibrary | None
    native_missing: str | None
    compiler: str | None
    python_headers: bool
    openmm: tuple[str, ...] | None
    pyscf: str | None
    models: tuple[Path, ...]

    @property
    def missing(self) -> tuple[Package, ...]:
        """Packages that are not installed."""
        return tuple(package for package in self.packages if package.version is None)

    @property
    def can_compile(self) -> bool:
        """True if ``torch.compile`` has a compiler for the CPU."""
        return self.compiler is not None and self.python_headers


def collect() -> Report:
    """Look at the installation; nothing is run, downloaded or changed.

    Returns
    -------
    Report
        The findings.
    """
    needed = [Package(name, _version(name)) for name in _CORE]
    optional = [
        Package(name, _version(name), extra, purpose) for name, (extra, purpose) in EXTRAS.items()
    ]
    return Report(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=(*needed, *optional),
        devices=_devices(),
        native=native_library(),
        native_missing=native_missing(),
        compiler=_compiler(),
        python_headers=Path(sysconfig.get_path("include"), "Python.h").is_file(),
        openmm=_openmm_platforms(),
        pyscf=_pyscf_device(),
        models=tuple(bundled_models().values()),
    )


def render(report: Report, console: Console | None = None) -> None:
    """Print a report.

    Parameters
    ----------
    report : Report
        What :func:`collect` returned.
    console : rich.console.Console, optional
        Where to; standard output by default.
    """
    console = Console() if console is None else console
    console.print(f"Python {report.python} on {report.system}", highlight=False)

    packages = Table("package", "version", "for", "install with", title="Packages")
    for package in report.packages:
        hint = ""
        if package.version is None:
            # Without an extra it is a core package: the installation itself is damaged.
            wanted = f"[{package.extra}]" if package.extra else ""
            hint = f"pip install 'kstep-integrators{wanted}'"
        packages.add_row(
            package.name,
            Text("missing", style="yellow") if package.version is None else package.version,
            package.purpose,
            Text(hint),
        )
    console.print(packages)

    devices = Table("device", "what", "memory (GiB)", title="Devices")
    for device in report.devices:
        memory = "" if device.memory_GiB is None else f"{device.memory_GiB:.1f}"
        devices.add_row(device.name, device.description, memory)
    console.print(devices)

    if report.native is not None:
        kernel = f"Native kernel: {report.native.level}, {report.native.path}"
        if report.native.outdated:
            kernel += "; it is older than its sources, build it again: make native"
    else:
        kernel = f"Native kernel: none; {report.native_missing}"
    console.print(Text(kernel))
    if report.can_compile:
        compiling = f"C++ compiler: {report.compiler}; torch.compile can use it"
    elif report.compiler is None:
        compiling = (
            "C++ compiler: none found; torch.compile needs one on a CPU. Install g++ or clang++, "
            "or set CXX to a compiler"
        )
    else:
        compiling = (
            f"C++ compiler: {report.compiler}, but Python.h is missing, which torch.compile needs "
            "on a CPU. Install Python's headers (python3-dev)"
        )
    console.print(Text(compiling))
    if report.openmm is not None:
        console.print(Text(f"OpenMM platforms: {', '.join(report.openmm) or 'none'}"))
    if report.pyscf is not None:
        console.print(Text(f"PySCF runs on {report.pyscf}"))
    names = ", ".join(f"{path.stem} ({path.stat().st_size / 1e6:.1f} MB)" for path in report.models)
    console.print(Text(f"Bundled models: {names or 'none; the installation is incomplete'}"))


def _version(name: str) -> str | None:
    """Installed version of a distribution, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> tuple[Device, ...]:
    threads = torch.get_num_threads()
    plural = "thread" if threads == 1 else "threads"
    cpu = Device("cpu", f"{platform.processor() or platform.machine()}, {threads} {plural}")
    # A driver that is broken is reported as absent, with torch's own warning on stderr.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = []
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        cards.append(Device(f"cuda:{index}", properties.name, properties.total_memory / _GIB))
    return (cpu, *cards)


def _compiler() -> str | None:
    """Path of the compiler; an explicit ``CXX`` wins, as it does in torch."""
    chosen = os.environ.get("CXX")
    if chosen:
        return shutil.which(chosen)
    names = ("cl",) if sys.platform == "win32" else ("g++", "clang++", "c++")
    return next((path for path in map(shutil.which, names) if path is not None), None)


def _openmm_platforms() -> tuple[str, ...] | None:
    # The import costs a second or more: look for the distribution first.
    if _version("openmm") is None:
        return None
    try:
        openmm = importlib.import_module("openmm")
    except (ImportError, OSError):  # OSError: a shared library that does not load
        return None
    kind = openmm.Platform
    return tuple(str(kind.getPlatform(i).getName()) for i in range(kind.getNumPlatforms()))


def _pyscf_device() -> str | None:
    if _version("pyscf") is None:
        return None
    from kstep_integrators.calculators.pyscf.device import GPUUnavailable, find_gpu

    try:
        return f"the GPU {find_gpu()}"
    except GPUUnavailable as error:
        return f"the CPU: {error}"
