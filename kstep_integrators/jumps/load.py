"""Models from files: potentials, which become flow jumps, and direct jumps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, overload

import torch

from kstep_integrators.arguments import check_device, check_dtype
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import ModelHeader, model_path, read_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.potentials.backends import BackendUnavailable, check_backend
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential

__all__ = ["load_model"]

_COMPUTED_BY = ("backend", "compile")
"""Entries of a description, and of one in older files, that are none of a method."""


@overload
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
    base: None = None,
) -> NetworkPotential | DirectJump: ...
@overload
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
    *,
    base: Potential,
) -> SumPotential: ...
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
    base: Potential | None = None,
) -> NetworkPotential | SumPotential | DirectJump:
    """Load a bundled model by name, or a model file by path.

    Parameters
    ----------
    name_or_path : str or Path
        Such as ``"organic-gfn2"``.
    device, dtype : str or torch.device, torch.dtype
        See :class:`~kstep_integrators.potentials.network.NetworkPotential`.
    backend : {"auto", "native", "eager", "compiled"}
        Of the forces of a potential, see
        :class:`~kstep_integrators.potentials.network.NetworkPotential`. A direct jump is one pass
        of its network: ``"auto"`` or ``"eager"``.
    base : Potential, optional
        Of a model that a run has learned as the correction of another potential: that one.

    Returns
    -------
    NetworkPotential, SumPotential or DirectJump
        As the file says; the sum of ``base`` and a correction.

    Raises
    ------
    kstep_integrators.models.model_file.ModelFileError
        If there is no such model or the file is not a sound model file.
    TypeError, ValueError
        If device, dtype or backend are none, the backend cannot compute the model there, or
        ``base`` is missing, not wanted, or another.

    Examples
    --------
    >>> from kstep_integrators import load_model, units
    >>> model = load_model("organic-gfn2", device="cpu")
    >>> model.timestep == 0.25 * units.FS
    True
    """
    check_device(device)
    check_dtype(dtype)
    check_backend(backend)
    network, header, digest = read_model(model_path(name_or_path))
    path = Path(name_or_path)
    source = str(path.absolute() if path.is_file() else name_or_path)  # wherever a run is resumed
    if isinstance(network, IncrementNetwork):
        _check_base(header, base)
        if backend not in ("auto", "eager"):
            raise BackendUnavailable(
                f"backend is {backend!r}, but the model {header.name!r} is one of direct jumps, a "
                "pass of a network through PyTorch: take 'auto' or 'eager'"
            )
        return DirectJump(network, header, digest, device, dtype, source)
    _check_base(header, base)
    model = NetworkPotential(network, header, digest, device, dtype, backend, source=source)
    return model if base is None else SumPotential(base, model)


def _check_base(header: ModelHeader, base: Potential | None) -> None:
    """Refuse a correction without the potential that it corrects, and the other way round."""
    if base is not None and not isinstance(base, Potential):
        raise TypeError(
            f"base is {base!r}, expected a potential such as CalculatorPotential(calculator)"
        )
    if header.base is None:
        if base is not None:
            raise ValueError(
                f"base is {base.describe()}, but the model {header.name!r} stands alone: leave "
                "base out"
            )
        return
    if base is None:
        raise ValueError(
            f"the model {header.name!r} is a correction of {header.base}, and nothing without it: "
            "pass base=CalculatorPotential(calculator) with that calculator"
        )
    now = json.loads(json.dumps(base.describe(), default=str))
    if _method(now) != _method(header.base):
        raise ValueError(
            f"base is {now}, but the model {header.name!r} is a correction of {header.base}: pass "
            "that one"
        )


def _method(described: Any) -> Any:
    """A description without what it is computed by, here or there."""
    if isinstance(described, dict):
        named = {name: one for name, one in described.items() if name not in _COMPUTED_BY}
        return {name: _method(one) for name, one in named.items()}
    return [_method(one) for one in described] if isinstance(described, list) else described
