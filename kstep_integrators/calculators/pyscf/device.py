"""Device of a mean-field object, CPU or GPU, and transfer of its arrays."""

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


def is_on_gpu(method: Any) -> bool:
    """Tell whether a mean-field object, or a part of one, is GPU4PySCF's."""
    return any(cls.__module__.startswith("gpu4pyscf") for cls in type(method).__mro__)


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
        If ``device="cuda"`` and there is none, or GPU4PySCF lacks the method or its forces.
    """
    if device == "cpu":
        return _to_cpu(mean_field) if is_on_gpu(mean_field) else mean_field
    try:
        name = find_gpu()
        moved = _to_gpu(mean_field)
    except GPUUnavailable as error:
        if device == "cuda":
            raise GPUUnavailable(f"device='cuda', but {error}") from error
        _log.info("PySCF runs on the CPU: %s", error)
        return place(mean_field, "cpu")
    _log.info("PySCF runs on the GPU %s", name)
    return moved


def _to_gpu(mean_field: Any) -> Any:
    method = type(mean_field).__name__
    try:
        moved = mean_field.to_gpu()
    except Exception as error:
        raise GPUUnavailable(
            f"GPU4PySCF has no {method}: {type(error).__name__}: {error}"
        ) from error
    try:
        # Some, such as ROHF, have an energy there but no gradient. To ask computes nothing yet.
        moved.nuc_grad_method()
    except Exception as error:
        raise GPUUnavailable(
            f"GPU4PySCF has no forces for {method}: {type(error).__name__}: {error}"
        ) from error
    return moved


def _to_cpu(mean_field: Any) -> Any:
    # The first reset lets go of integrals on the device, which would come along; the second gives
    # grids and the like the molecule on the CPU too.
    moved = mean_field.reset().to_cpu()
    moved.reset(moved.mol)
    known = {key for cls in type(moved).__mro__ for key in getattr(cls, "_keys", ())}
    for name, value in list(vars(moved).items()):
        # What PySCF has no use for comes along as well, and could not be unpickled without a GPU.
        if name not in known and is_on_gpu(value):
            delattr(moved, name)
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
    """Give unused blocks of CuPy's pools back to the devices.

    GPU4PySCF takes arrays above 100 MB past the pool, and those return by themselves.
    """
    if not is_on_gpu(mean_field):
        return
    cupy = importlib.import_module("cupy")
    pool = cupy.get_default_memory_pool()
    # It works on all devices that are visible, and the pool frees those of the current one.
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        with cupy.cuda.Device(number):
            pool.free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
