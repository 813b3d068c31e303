"""Results as JSON: their folder, the machine at their head, finished parts of long runs."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kstep_integrators.files import write_text_atomically

__all__ = ["RESULTS", "kept", "load", "machine", "percentiles", "read", "write"]

RESULTS = Path(__file__).parent / "results"
"""Of the repository; one file for each suite."""
PACKAGES = ("ase", "numpy", "openmm", "pyscf", "tblite", "torch", "xtb")


def machine() -> dict[str, Any]:
    """Processor, threads, device and versions, for the head of a result."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": versions,
    }


def read(path: Path) -> dict[str, Any]:
    """A result by its file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is no result.
    """
    result = json.loads(path.read_text())
    if not isinstance(result, dict):
        raise ValueError(f"{path} holds a {type(result).__name__}, expected a result: an object")
    return result


def load(name: str) -> dict[str, Any]:
    """One committed result by its name."""
    return read(RESULTS / f"{name}.json")


def write(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``FOLDER/NAME.json`` with the machine at its head."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_text_atomically(path, json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    return path


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """A finished part of a suite: read from its JSON file, or made and written there.

    A suite that was interrupted asks for its parts again and goes on with the first that is
    missing.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(make()))
        print(path.stem, flush=True)
    return json.loads(path.read_text())


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 90th percentile."""
    ordered = torch.tensor(values, dtype=torch.float64)
    return {"median": float(ordered.quantile(0.5)), "p90": float(ordered.quantile(0.9))}
