"""One-file models: weights as safetensors, everything else as a JSON header in the same file.

Nothing is pickled. The header holds what is needed to build the network and to refuse misuse.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kstep_integrators.arguments import path_of
from kstep_integrators.files import atomic_file
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.increments.network import IncrementNetwork

__all__ = [
    "FORMAT_VERSION",
    "OBSERVABLE_KEY",
    "ModelFileError",
    "ModelHeader",
    "bundled_models",
    "header_of",
    "model_path",
    "read_model",
    "write_model",
]

FORMAT_VERSION = 3
_KEY = "kstep_integrators"
OBSERVABLE_KEY = "kstep_integrators_observable"
"""Entry by which files of observables are told from those of models."""

NETWORKS: dict[str, type[EnergyNetwork] | type[IncrementNetwork]] = {
    "increments": IncrementNetwork,
    "potential": EnergyNetwork,
}
"""Kinds of models, by the name that headers have for them."""


_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "network": (dict,),
    "method": (str,),
    "kind": (str,),
    "constraints": (str, type(None)),
    "charge": (tuple,),
    "multiplicities": (tuple,),
    "periodic": (bool,),
    "base": (dict, type(None)),
    "timestep_fs": (float, int),
    "licence": (str,),
    "training": (dict,),
}
"""Types of the fields of a header."""


class ModelFileError(ValueError):
    """A model file that is missing, damaged, foreign, or of another format version.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> load_model("organic-gfn3")
    Traceback (most recent call last):
    kstep_integrators.models.model_file.ModelFileError: no model 'organic-gfn3': ...
    """


@dataclass(frozen=True)
class ModelHeader:
    """Header of a model file.

    Attributes
    ----------
    name : str
    network : dict
        Arguments of the network. Of a potential,
        :class:`kstep_integrators.nn.energy.network.EnergyNetwork`: elements, backbone, element
        shifts (eV), cutoff (angstrom), sizes. Of increments,
        :class:`kstep_integrators.nn.increments.network.IncrementNetwork`: elements and their masses
        (u), strides (base steps), base step (fs), baseline, scales, backbone, sizes.
    method : str
        Reference method the model imitates, such as ``"GFN2-xTB"``.
    kind : str
        ``"potential"``, or ``"increments"`` of direct jumps.
    constraints : str or None
        Of the trajectories that increments were learned from: ``"HBonds"``, or None.
    charge : (int, int)
        Lowest and highest total charge covered.
    multiplicities : tuple of int
        Spin multiplicities covered.
    periodic : bool
        Whether it may be used in periodic cells: it has been fitted in some.
    base : dict or None
        Description of the potential that the model is a correction of, and not to be used without;
        None if it stands alone.
    timestep_fs : float
        Base step the model is meant for; of increments, the one they were learned with.
    licence : str
    training : dict
        Data hash, recipe, errors: the record of how it was made.

    Raises
    ------
    ValueError
        If a field is of another type, or out of its range.
    """

    name: str
    network: dict[str, Any]
    method: str
    kind: str = "potential"
    constraints: str | None = None
    charge: tuple[int, int] = (0, 0)
    multiplicities: tuple[int, ...] = (1,)
    periodic: bool = False
    base: dict[str, Any] | None = None
    timestep_fs: float = 0.25
    licence: str = "MIT"
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                wanted = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
                raise ValueError(f"{name} in the header of a model is {value!r}, expected {wanted}")
        if not (math.isfinite(self.timestep_fs) and self.timestep_fs > 0):
            raise ValueError(
                f"timestep_fs in the header of a model is {self.timestep_fs}, expected a positive "
                "number of fs"
            )
        whole = all(type(one) is int for one in (*self.charge, *self.multiplicities))
        if not whole or list(self.charge) != sorted(self.charge):
            raise ValueError(
                f"charge and multiplicities in the header of a model are {self.charge} and "
                f"{self.multiplicities}, expected the lowest and the highest charge, and whole "
                "numbers from 1"
            )
        if not self.multiplicities or min(self.multiplicities) < 1:
            raise ValueError(
                f"multiplicities in the header of a model are {self.multiplicities}, expected "
                "whole numbers from 1, one at least"
            )

    @property
    def elements(self) -> list[int]:
        """Atomic numbers covered."""
        return list(self.network["elements"])


def header_of(network: EnergyNetwork | IncrementNetwork, header: ModelHeader) -> ModelHeader:
    """Complete a header by kind, arguments and base step of the network itself."""
    kind = "increments" if isinstance(network, IncrementNetwork) else "potential"
    timestep = network.config.get("timestep_fs", header.timestep_fs)
    return dataclasses.replace(
        header, kind=kind, network=dict(network.config), timestep_fs=timestep
    )


def write_model(
    path: str | Path, network: EnergyNetwork | IncrementNetwork, header: ModelHeader
) -> None:
    """Write weights (float32) and header, atomically.

    Parameters
    ----------
    path : str or Path
    network : EnergyNetwork or IncrementNetwork
    header : ModelHeader
        What the network itself says (see :func:`header_of`) takes the place of its entries.
    """
    header = header_of(network, header)
    described = {"format_version": FORMAT_VERSION, **dataclasses.asdict(header)}
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in network.named_parameters()
    }
    with atomic_file(path) as handle:
        handle.write(save(weights, {_KEY: json.dumps(described, sort_keys=True)}))


def read_model(path: str | Path) -> tuple[EnergyNetwork | IncrementNetwork, ModelHeader, str]:
    """Read a model file.

    Returns
    -------
    network : EnergyNetwork or IncrementNetwork
        float32, on the CPU, weights frozen.
    header : ModelHeader
    digest : str
        SHA-256 of the file, by which restart files know the model.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, made by another program, of another format version, or an
        observable's.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}")
    try:
        with safe_open(str(path), framework="pt") as handle:
            metadata = handle.metadata() or {}
            weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        # The program in a file of PyTorch is never run unasked.
        hint = (
            "; it is an archive, as PyTorch writes. Loading an exported metatomic model runs the "
            f"code in it: if you trust it, pass MetatomicPotential({str(path)!r})"
        )
        raise ModelFileError(
            f"{path} is not a readable safetensors file: {error}"
            f"{hint if zipfile.is_zipfile(path) else ''}"
        ) from error
    if OBSERVABLE_KEY in metadata:
        raise ModelFileError(
            f"{path} is of an observable, which moves no atoms; load it with "
            "kstep_integrators.Observable.load"
        )
    if _KEY not in metadata:
        raise ModelFileError(
            f"{path} is a safetensors file of another program: it lacks the header entry {_KEY!r}"
        )
    try:
        described = json.loads(metadata[_KEY])
        version = described.pop("format_version")
        if version not in (*_UPGRADES, FORMAT_VERSION):
            raise ModelFileError(
                f"{path} has model format version {version!r}; this version of kstep-integrators "
                f"reads 1 to {FORMAT_VERSION}: upgrade the package or export the model again"
            )
        while version != FORMAT_VERSION:
            described = _UPGRADES[version](described)
            version += 1
        described["charge"] = tuple(described["charge"])
        described["multiplicities"] = tuple(described["multiplicities"])
        header = ModelHeader(**described)
        network = NETWORKS[header.kind](**header.network)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} has a damaged header: {error!r}") from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(f"{path} has weights that do not fit its header: {error}") from error
    network.requires_grad_(False)
    return network.eval(), header, hashlib.sha256(path.read_bytes()).hexdigest()


def _upgrade_1(described: dict[str, Any]) -> dict[str, Any]:
    """Upgrade from version 1, which knew potentials only, and no constraints."""
    return {**described, "kind": "potential", "constraints": None}


def _upgrade_2(described: dict[str, Any]) -> dict[str, Any]:
    """Upgrade from version 2, whose models all stand alone."""
    return {**described, "base": None}


_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _upgrade_1, 2: _upgrade_2}
"""Upgrades of a header to the next format version, by the version they start from."""


def bundled_models() -> dict[str, Path]:
    """Models shipped with the package, by name.

    Examples
    --------
    >>> sorted(bundled_models())
    ['organic-gfn2']
    """
    folder = Path(str(importlib.resources.files("kstep_integrators") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def model_path(name_or_path: str | Path) -> Path:
    """Resolve a bundled name or a path.

    Raises
    ------
    ModelFileError
        If it is neither; the message lists the bundled names.
    """
    bundled = bundled_models()
    if str(name_or_path) in bundled:
        return bundled[str(name_or_path)]
    path = path_of("name_or_path", name_or_path)
    if not path.is_file():
        names = ", ".join(bundled) or "none"
        raise ModelFileError(
            f"no model {str(name_or_path)!r}: it is neither a file nor a bundled model ({names})"
        )
    return path
