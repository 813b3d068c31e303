"""CPU or GPU: where a mean-field object runs, and how its arrays come back."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np

from kstep_integrators.calculators.pyscf.density import Array

__all__ = ["DEVICES", "GPUUnavailable", "find_gpu", "place", "release_memory", "to_host"]

_log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")
"""Values of ``device``."""


class GPUUnavailable(RuntimeError):
    """GPU4PySCF cannot be used here, or not for this method."""


def find_gpu() -> str:
    """The name of the GPU that GPU4PySCF would use.

    Raises
    ------
    GPUUnavailable
        If a package is missing or no device answers; the message says which.
    """
    try:
        cupy = importlib.import_module("cupy")
        # Ask the device before gpu4pyscf, whose import already allocates on it.
        count = cupy.cuda.runtime.getDeviceCount()
        if count < 1:
            raise GPUUnavailable("CUDA finds no device")
        if int(cupy.arange(3).sum()) != 3:
            raise GPUUnavailable("the CUDA device computes 0 + 1 + 2 wrongly")
        importlib.import_module("gpu4pyscf")
        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"]
    except GPUUnavailable:
        raise
    except ImportError as error:
        raise GPUUnavailable(
            f"{error}; install the extra that fits your CUDA driver: "
            "pip install 'kstep-integrators[gpu-cuda12]' or 'kstep-integrators[gpu-cuda13]'"
        ) from error
    except Exception as error:
        raise GPUUnavailable(f"{type(error).__name__}: {error}") from error
    return name.decode() if isinstance(name, bytes) else str(name)


def is_on_gpu(mean_field: Any) -> bool:
    """Whether a mean-field object is one of GPU4PySCF's."""
    return any(cls.__module__.startswith("gpu4pyscf") for cls in type(mean_field).__mro__)


def place(mean_field: Any, device: str) -> Any:
    """Move a mean-field object to a device.

    Parameters
    ----------
    mean_field : PySCF or GPU4PySCF mean-field object
    device : str
        ``"auto"`` takes the GPU if one can be used, and says in the log if not, and why.

    Returns
    -------
    mean-field object

    Raises
    ------
    GPUUnavailable
        If ``device="cuda"`` and there is none, or GPU4PySCF lacks the method.
    """
    if device == "cpu":
        return mean_field.to_cpu() if is_on_gpu(mean_field) else mean_field
    try:
        name = find_gpu()
        try:
            moved = mean_field.to_gpu()
        except Exception as error:
            raise GPUUnavailable(
                f"GPU4PySCF has no {type(mean_field).__name__}: {type(error).__name__}: {error}"
            ) from error
    except GPUUnavailable as error:
        if device == "cuda":
            raise GPUUnavailable(f"device='cuda', but {error}") from error
        _log.info("PySCF runs on the CPU: %s", error)
        return mean_field
    _log.info("PySCF runs on the GPU %s", name)
    return moved


def to_host(array: Any) -> Array:
    """A numpy array of what may lie on the GPU."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def to_device_of(mean_field: Any, array: Array) -> Any:
    """An array where a mean-field object expects it."""
    if not is_on_gpu(mean_field):
        return array
    return importlib.import_module("cupy").asarray(array)


def release_memory(mean_field: Any) -> None:
    """Give unused blocks of CuPy's pools back to the device."""
    if is_on_gpu(mean_field):
        cupy = importlib.import_module("cupy")
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()
