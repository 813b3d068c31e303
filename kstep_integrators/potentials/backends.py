"""Backends of a network's forces: the native kernel, PyTorch as it is, and PyTorch compiled."""

from __future__ import annotations

import functools
import logging
from typing import Final

from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.library import native_missing

__all__ = [
    "BACKENDS",
    "BackendUnavailable",
    "check_backend",
    "choose_backend",
    "resolve_backend",
]

BACKENDS: Final = ("auto", "native", "eager", "compiled")
"""Backends that may be asked for; all but ``"auto"`` compute."""

NATIVE: Final = "painn"
"""The backbone that the native kernel computes."""

_log = logging.getLogger(__name__)


class BackendUnavailable(ValueError):
    """A backend that cannot compute a network on a device."""


def check_backend(backend: object) -> str:
    """The name of a backend.

    Raises
    ------
    TypeError, ValueError
        If it is none of :data:`BACKENDS`.
    """
    if not isinstance(backend, str):
        raise TypeError(f"backend is {backend!r}, expected one of {', '.join(map(repr, BACKENDS))}")
    if backend not in BACKENDS:
        raise ValueError(
            f"backend is {backend!r}, expected one of {', '.join(map(repr, BACKENDS))}"
        )
    return backend


def resolve_backend(backend: str, backbone: str, device: str, missing: str | None = None) -> str:
    """The backend that computes the forces of a network.

    Parameters
    ----------
    backend : {"auto", "native", "eager", "compiled"}
        What was asked for.
    backbone : str
        Of the network.
    device : str
        Type of its device, ``"cpu"`` or another.
    missing : str, optional
        Reason that there is no native kernel for the network here; None if there is one.

    Returns
    -------
    str
        ``"native"``, ``"eager"`` or ``"compiled"``.

    Raises
    ------
    TypeError, ValueError
        If it is no backend; :class:`BackendUnavailable` if it cannot compute this network on this
        device.

    Examples
    --------
    >>> resolve_backend("auto", "painn", "cpu"), resolve_backend("auto", "painn", "cuda")
    ('native', 'eager')
    """
    check_backend(backend)
    kernel = backbone == NATIVE and device == "cpu"
    if backend == "auto":
        return "native" if kernel and missing is None else "eager"
    if backend == "compiled" and kernel:
        instead = "'native', which is faster" if missing is None else "'eager'"
        raise BackendUnavailable(
            f"backend is 'compiled', which is for other backbones than {backbone!r} and for GPUs: "
            f"on a CPU take 'auto' or {instead}"
        )
    if backend != "native":
        return backend
    if not kernel:
        what = f"is {backbone!r}" if device == "cpu" else f"is on the device {device!r}"
        raise BackendUnavailable(
            f"backend is 'native', which is for the backbone {NATIVE!r} on a CPU, and this network "
            f"{what}: take 'auto', 'eager' or 'compiled'"
        )
    if missing is not None:
        raise BackendUnavailable(
            f"backend is 'native', and there is no native kernel for this network here: {missing}. "
            "Take 'auto' or 'eager', which is slower"
        )
    return backend


def choose_backend(backend: str, network: EnergyNetwork, device: str) -> str:
    """The same for a network; a line in the log says once what is slower than it need be.

    Parameters
    ----------
    backend, device : str
        As for :func:`resolve_backend`.
    network : EnergyNetwork

    Raises
    ------
    TypeError, ValueError
        As :func:`resolve_backend`.
    """
    backbone = network.config["backbone"]
    missing = native_missing() if backbone == NATIVE and device == "cpu" else None
    chosen = resolve_backend(backend, backbone, device, missing)
    without = backend == "auto" and resolve_backend("auto", backbone, device) != chosen
    if without and missing is not None:
        _say_once(missing)
    return chosen


@functools.cache
def _say_once(missing: str) -> None:
    _log.warning(
        "networks are computed by PyTorch, many times slower than by the native kernel: %s", missing
    )
