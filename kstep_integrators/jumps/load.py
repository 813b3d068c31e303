"""Models from files: potentials, which become flow jumps, and direct jumps."""

from __future__ import annotations

from pathlib import Path

import torch

from kstep_integrators.arguments import check_device, check_dtype, true_or_false
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import model_path, read_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["load_model"]


def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,  # noqa: A002
) -> NetworkPotential | DirectJump:
    """Load a bundled model by name, or a model file by path.

    Parameters
    ----------
    name_or_path : str or Path
        Such as ``"organic-gfn2"``.
    device, dtype : str or torch.device, torch.dtype
        See :class:`~kstep_integrators.potentials.network.NetworkPotential`.
    compile : bool
        Of the forces of a potential. A direct jump is one pass of its network, never compiled.

    Returns
    -------
    NetworkPotential or DirectJump
        As the file says.

    Raises
    ------
    kstep_integrators.models.model_file.ModelFileError
        If there is no such model or the file is not a sound model file.
    TypeError, ValueError
        If device, dtype or compile are none.

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
        return DirectJump(network, header, digest, device, dtype, source)
    return NetworkPotential(network, header, digest, device, dtype, compile, source=source)
