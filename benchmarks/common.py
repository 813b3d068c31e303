"""What every benchmark shares: where results go and what they say of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["RESULTS", "machine", "percentiles", "write_result"]

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, threads, device and versions, for the head of a result file."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    found = {}
    for package in ("ase", "numpy", "openmm", "pyscf", "tblite", "torch", "xtb"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {"python": platform.python_version(), **found},
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 90th percentile."""
    ordered = torch.tensor(values, dtype=torch.float64)
    return {
        "median": float(ordered.quantile(0.5)),
        "p90": float(ordered.quantile(0.9)),
    }


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write ``results/NAME.json`` with the machine at its head."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    print(f"wrote {path}")
    return path


def load(name: str) -> dict[str, Any]:
    """One committed result."""
    loaded: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return loaded


def or_infinite(value: float | None, form: str = ".2f") -> str:
    """A number of a table; what JSON has no number for was infinite."""
    return "inf" if value is None else format(value, form)
