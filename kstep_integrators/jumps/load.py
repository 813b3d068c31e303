"""Models from files: potentials, which become flow jumps, and direct jumps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import overload

import torch

from kstep_integrators.arguments import check_device, check_dtype, true_or_false
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import ModelHeader, model_path, read_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential

__all__ = ["load_model"]


@overload
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    base: None = None,
) -> NetworkPotential | DirectJump: ...
@overload
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    *,
    base: Potential,
) -> SumPotential: ...
def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,  # noqa: A002
    base: Potential | None = None,
) -> NetworkPotential | SumPotential | DirectJump:
    """Load a bundled model by name, or a model file by path.

    Parameters
    ----------
    name_or_path : str or Path
        Such as ``"organic-gfn2"``.
    device, dtype : str or torch.device, torch.dtype
        See :class:`~kstep_integrators.potentials.network.NetworkPotential`.
    compile : bool
        Of the forces of a potential. A direct jump is one pass of its network, never compiled.
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
        If device, dtype or compile are none, or ``base`` is missing, not wanted, or another.

    Examples
    --------
    >>> from kstep_integrators import load_model, units
    >>> model = load_model("organic-gfn2", device="cpu")
    >>> model.timestep == 0.25 * units.FS
    True
    """
    check_device(device)
    check_dtype(dtype)
    compile = true_or_false("compile", compile)  # noqa: A001
    network, header, digest = read_model(model_path(name_or_path))
    path = Path(name_or_path)
    source = str(path.absolute() if path.is_file() else name_or_path)  # wherever a run is resumed
    if isinstance(network, IncrementNetwork):
        _check_base(header, base)
        return DirectJump(network, header, digest, device, dtype, source)
    _check_base(header, base)
    model = NetworkPotential(network, header, digest, device, dtype, compile, source=source)
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
    if now != header.base:
        raise ValueError(
            f"base is {now}, but the model {header.name!r} is a correction of {header.base}: pass "
            "that one"
        )
