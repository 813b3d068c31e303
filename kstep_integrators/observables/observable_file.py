"""One-file networks of observables: weights as safetensors, everything else as a JSON header.

Nothing is pickled. The header holds what is needed to build the network and to refuse misuse.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kstep_integrators.arguments import path_of
from kstep_integrators.files import atomic_file
from kstep_integrators.models.model_file import OBSERVABLE_KEY, ModelFileError
from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.xanes import XANESNetwork

__all__ = [
    "CHEAP_METHOD",
    "FORMAT_VERSION",
    "NETWORKS",
    "ObservableHeader",
    "read_observable",
    "write_observable",
]

FORMAT_VERSION = 1
_MODEL_KEY = "kstep_integrators"

NETWORKS: dict[str, type[DeltaCoupling] | type[XANESNetwork]] = {
    "coupling": DeltaCoupling,
    "spectrum": XANESNetwork,
}
"""Kinds of observables, by the name that headers have for them."""

CHEAP_METHOD = "GFN2-xTB"
"""Method of the couplings that are corrected."""

UNITS = {"coupling": "eV", "spectrum": "1/eV"}
"""Units of the results of each kind."""

_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "method": (str,),
    "kind": (str,),
    "network": (dict,),
    "unit": (str,),
    "cheap_method": (str, type(None)),
    "carrier": (str, type(None)),
    "charge": (tuple,),
    "multiplicities": (tuple,),
    "errors": (dict,),
    "training": (dict,),
    "licence": (str,),
}
"""Types of the fields of a header."""


@dataclass(frozen=True)
class ObservableHeader:
    """Header of the file of an observable.

    Attributes
    ----------
    name : str
    method : str
        Of the labels, such as ``"HF/def2-svp"``.
    kind : str
        ``"coupling"`` or ``"spectrum"``; written by the network itself, as are its arguments
        and the unit.
    network : dict
        Arguments of the network: elements, sizes, and of spectra the grid.
    unit : str
        Of the results.
    cheap_method : str or None
        Of couplings, the method that the network corrects; of spectra None.
    carrier : str or None
        Of couplings, ``"hole"`` or ``"electron"``; of spectra None.
    charge : (int, int)
        Lowest and highest total charge covered.
    multiplicities : tuple of int
        Spin multiplicities covered.
    errors : dict
        Errors on held-out data, by name.
    training : dict
        Data hash, recipe: the record of how it was made.
    licence : str

    Raises
    ------
    ValueError
        If a field is of another type, or out of its range.

    Examples
    --------
    >>> from kstep_integrators.observables.observable_file import ObservableHeader
    >>> ObservableHeader("pairs", "HF/def2-svp", cheap_method="GFN2-xTB", carrier="hole").unit
    'eV'
    """

    name: str
    method: str
    kind: str = "coupling"
    network: dict[str, Any] = field(default_factory=dict)
    unit: str = "eV"
    cheap_method: str | None = None
    carrier: str | None = None
    charge: tuple[int, int] = (0, 0)
    multiplicities: tuple[int, ...] = (1,)
    errors: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = "MIT"

    def __post_init__(self) -> None:
        where = "in the header of an observable"
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kinds):
                wanted = " or ".join(kind.__name__.replace("NoneType", "None") for kind in kinds)
                raise ValueError(f"{name} {where} is {value!r}, expected {wanted}")
        if self.kind not in NETWORKS:
            raise ValueError(f"kind {where} is {self.kind!r}, expected {' or '.join(NETWORKS)}")
        if self.unit != UNITS[self.kind]:
            raise ValueError(
                f"unit {where} is {self.unit!r}, expected {UNITS[self.kind]!r} of a {self.kind}"
            )
        if self.carrier not in ("hole", "electron", None):
            raise ValueError(f"carrier {where} is {self.carrier!r}, expected hole or electron")
        whole = all(type(one) is int for one in (*self.charge, *self.multiplicities))
        if not whole or list(self.charge) != sorted(self.charge):
            raise ValueError(
                f"charge and multiplicities {where} are {self.charge} and {self.multiplicities}, "
                "expected the lowest and the highest charge, and whole numbers from 1"
            )
        if not self.multiplicities or min(self.multiplicities) < 1:
            raise ValueError(
                f"multiplicities {where} are {self.multiplicities}, expected whole numbers from "
                "1, one at least"
            )

    @property
    def elements(self) -> list[int]:
        """Atomic numbers covered."""
        return list(self.network["elements"])

    @property
    def grid(self) -> list[float] | None:
        """Energies of spectra relative to the edge of the element, eV; None of couplings."""
        return self.network.get("grid")


def write_observable(
    path: str | Path, network: DeltaCoupling | XANESNetwork, header: ObservableHeader
) -> None:
    """Write weights and statistics (float32) and header, atomically.

    Parameters
    ----------
    path : str or Path
    network : DeltaCoupling or XANESNetwork
    header : ObservableHeader
        Kind, arguments and unit are those of the network, whatever stands there.

    Raises
    ------
    ValueError
        If the header of a coupling lacks the cheap method or the carrier.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from kstep_integrators.observables.networks.xanes import XANESNetwork
    >>> from kstep_integrators.observables.observable_file import (
    ...     ObservableHeader,
    ...     read_observable,
    ...     write_observable,
    ... )
    >>> network = XANESNetwork([1, 6], {6: 285.0}, [0.0, 1.0, 2.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "carbon.safetensors"
    ...     write_observable(path, network, ObservableHeader("carbon", "CAM-B3LYP/6-31G"))
    ...     again, header, digest = read_observable(path)
    >>> header.kind, header.elements, again.config == network.config
    ('spectrum', [1, 6], True)
    """
    kind = "coupling" if isinstance(network, DeltaCoupling) else "spectrum"
    header = dataclasses.replace(header, kind=kind, network=dict(network.config), unit=UNITS[kind])
    if kind == "coupling" and None in (header.cheap_method, header.carrier):
        raise ValueError(
            f"cheap_method and carrier of a coupling are {header.cheap_method!r} and "
            f"{header.carrier!r}, expected the method that the network corrects, and hole or "
            "electron: without them the network could be used on another coupling"
        )
    described = {"format_version": FORMAT_VERSION, **dataclasses.asdict(header)}
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_file(path_of("path", path)) as handle:
        handle.write(save(weights, {OBSERVABLE_KEY: json.dumps(described, sort_keys=True)}))


def read_observable(
    path: str | Path,
) -> tuple[DeltaCoupling | XANESNetwork, ObservableHeader, str]:
    """Read the file of an observable.

    Returns
    -------
    network : DeltaCoupling or XANESNetwork
        float32, on the CPU, weights frozen.
    header : ObservableHeader
    digest : str
        SHA-256 of the file.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, made by another program, of another format version, lacks
        an argument that its network has now, corrects couplings by another method than GFN2-xTB, or
        is a model that moves atoms rather than an observable.

    Examples
    --------
    >>> from kstep_integrators.models.model_file import bundled_models
    >>> from kstep_integrators.observables.observable_file import read_observable
    >>> read_observable(bundled_models()["organic-gfn2"])
    Traceback (most recent call last):
    kstep_integrators.models.model_file.ModelFileError: ... is a model of the kind 'potential'...
    """
    path = path_of("path", path)
    if not path.is_file():
        raise ModelFileError(f"there is no file of an observable {path}")
    try:
        with safe_open(str(path), framework="pt") as handle:
            metadata = handle.metadata() or {}
            weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a readable safetensors file: {error}") from error
    if OBSERVABLE_KEY not in metadata:
        raise ModelFileError(f"{path} {_other_kind(metadata)}")
    try:
        described = json.loads(metadata[OBSERVABLE_KEY])
        version = described.pop("format_version")
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path} has format version {version!r} of observables; this version of "
                f"kstep-integrators reads {FORMAT_VERSION}: upgrade the package or fit again"
            )
        described["charge"] = tuple(described["charge"])
        described["multiplicities"] = tuple(described["multiplicities"])
        header = ObservableHeader(**described)
        network = NETWORKS[header.kind](**header.network)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} has a damaged header: {error!r}") from error
    _refuse_others(path, network, header)
    if strange := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ModelFileError(
            f"{path} has weights that are not finite, {strange[0]} among them: its fit blew up, or "
            "the file is damaged; fit again"
        )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(f"{path} has weights that do not fit its header: {error}") from error
    network.requires_grad_(False)
    return network.eval(), header, hashlib.sha256(path.read_bytes()).hexdigest()


def _refuse_others(
    path: Path, network: DeltaCoupling | XANESNetwork, header: ObservableHeader
) -> None:
    """Refuse what would be computed otherwise here than when it was fitted.

    Raises
    ------
    ModelFileError
    """
    # Defaults may be others now than they were when the file was written.
    if missing := sorted({*network.config} - {*header.network}):
        raise ModelFileError(
            f"{path} says nothing of its network's {', '.join(missing)}: another version of "
            "kstep-integrators, which had no such arguments, has made it, and may have computed "
            "otherwise; fit again"
        )
    if header.kind == "coupling" and header.cheap_method != CHEAP_METHOD:
        raise ModelFileError(
            f"{path} corrects couplings by {header.cheap_method!r}, expected {CHEAP_METHOD!r}, by "
            "which they are computed here; fit to labels with those"
        )


def _other_kind(metadata: dict[str, str]) -> str:
    """Of a file without the header of an observable: the message, what it is instead."""
    if _MODEL_KEY not in metadata:
        return (
            "is a safetensors file of another program: it lacks the header entry "
            f"{OBSERVABLE_KEY!r}"
        )
    try:
        kind = json.loads(metadata[_MODEL_KEY]).get("kind", "potential")
    except (ValueError, AttributeError):
        kind = "unknown"
    return (
        f"is a model of the kind {kind!r}, which moves atoms, expected an observable; load it with "
        "kstep_integrators.load_model"
    )
