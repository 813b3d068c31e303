"""A learned energy network as the potential of a flow."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, Final

import torch

from kstep_integrators import units
from kstep_integrators.arguments import (
    SetOnce,
    check_device,
    check_dtype,
    whole_number,
)
from kstep_integrators.fields import derived
from kstep_integrators.models.coverage import check_coverage, species_of
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.library import native_library, native_missing
from kstep_integrators.physics.store import box_of
from kstep_integrators.potentials.backends import choose_backend
from kstep_integrators.potentials.graph_flow import GraphFlow
from kstep_integrators.potentials.native_forces import NativeForces, PackedNetwork
from kstep_integrators.potentials.network_forces import DenseForces, ListForces
from kstep_integrators.state import (
    BoundPotential,
    PhaseState,
)

__all__ = ["NetworkPotential"]

KEPT: Final = 32
"""Sets of atoms, those bound last, whose forces a potential keeps ready: a large molecule takes
megabytes."""

_Bound = DenseForces | ListForces | GraphFlow | NativeForces


class NetworkPotential(SetOnce):
    """A learned energy network.

    Parameters
    ----------
    network : EnergyNetwork
        Of which a copy is kept. Weights that are changed later need a potential of their own.
    header : ModelHeader
        What the model covers.
    digest : str
        Identity of the weights, kept in restart files.
    device : str or torch.device
        ``"auto"`` takes a CUDA device where there is one.
    dtype : torch.dtype
        float32 or float64 arithmetic; positions and momenta are float64 in any case.
    backend : {"auto", "native", "eager", "compiled"}
        What computes the forces. ``"native"`` is a kernel for the backbone ``painn`` on a CPU;
        ``"eager"`` is PyTorch, the reference; ``"compiled"`` is ``torch.compile`` for any other
        backbone, and on a GPU: it takes a minute or so for each set of atoms, and seconds where
        PyTorch's cache on disk has it. ``"auto"`` takes ``"native"`` where it can be had, else
        ``"eager"``. The attribute ``backend`` says which it became, ``asked_backend`` what it was.
    dense_limit : int
        Molecules of more atoms use neighbour lists.
    source : str
        Bundled name or path that :func:`~kstep_integrators.jumps.load.load_model` finds it by, if
        it does: a checkpoint names it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type. Attributes cannot be changed: AttributeError.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> potential = load_model("organic-gfn2", device="cpu")
    >>> type(potential).__name__, potential.header.method
    ('NetworkPotential', 'GFN2-xTB')
    """

    def __init__(
        self,
        network: EnergyNetwork,
        header: ModelHeader,
        digest: str = "",
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
        backend: str = "auto",
        dense_limit: int = 64,
        source: str = "",
    ) -> None:
        check_device(device)
        check_dtype(dtype)
        _check_network(network, header)
        for name, text in (("digest", digest), ("source", source)):
            if not isinstance(text, str):
                raise TypeError(f"{name} is {text!r}, expected text, such as load_model passes")
        if str(device) == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # A copy: another potential may go on using the network where it is.
        self.network = copy.deepcopy(network).to(device=device, dtype=dtype)
        # Shifts are thousands of eV in sum and stay float64 whatever the network computes in.
        self.network.shifts = torch.tensor(
            network.config["shifts"], dtype=torch.float64, device=device
        )
        self.header, self.digest, self.dtype = header, digest, dtype
        self.dense_limit = whole_number("dense_limit", dense_limit, "atoms of the largest molecule")
        self.source = source
        self._device = torch.device(device)
        self.asked_backend = backend
        self.backend = choose_backend(backend, self.network, self._device.type)
        self._packed: PackedNetwork | None = None
        self._bound: dict[tuple[Any, ...], _Bound] = {}
        self._relatives: dict[tuple[Any, ...], _Bound] = {}

    @property
    def timestep(self) -> float:
        """Base step of the model, ASE time units."""
        return self.header.timestep_fs * units.FS

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._device

    @property
    def packed(self) -> PackedNetwork | None:
        """Weights in the native kernel; None under another backend.

        Raises
        ------
        RuntimeError
            If the potential comes from a process that had the kernel, and this one has not.
        """
        if self.backend == "native" and self._packed is None:
            library = native_library()
            if library is None:
                raise RuntimeError(
                    f"the potential was made with backend 'native', and here {native_missing()}. "
                    "Load the model here, or make it with backend='eager' there"
                )
            self._packed = PackedNetwork(self.network, library)
        return self._packed

    def to(self, device: torch.device | str) -> NetworkPotential:
        """The same model on another device, with the backend that was asked for, or the default.

        Raises
        ------
        ValueError
            If the backend that was asked for cannot compute it there.
        """
        if torch.device(device) == self._device:
            return self
        return NetworkPotential(
            self.network,
            self.header,
            self.digest,
            device,
            self.dtype,
            self.asked_backend,
            self.dense_limit,
            self.source,
        )

    def with_weights(self, weights: torch.Tensor) -> NetworkPotential:
        """The same model with other weights of its linear readout, (S, D) eV.

        It shares all else, compiled functions too; but no file holds it any more.
        """
        other = copy.copy(self)
        vars(other).update(
            network=self.network.with_weights(weights.to(self._device)),
            digest="",
            source="",
            _packed=self.packed,
            _bound={},
            _relatives=dict(list({**self._relatives, **self._bound}.items())[-KEPT:]),
        )
        return other

    def in_cells(self) -> NetworkPotential:
        """The same model, that may be used in periodic cells too: for one that learns there."""
        other = copy.copy(self)
        header = dataclasses.replace(self.header, periodic=True)
        vars(other).update(header=header, _bound={}, _relatives={})
        return other

    def with_network(self, network: EnergyNetwork, digest: str) -> NetworkPotential:
        """The same choices for another network of the same elements, that was read from a file."""
        header = dataclasses.replace(self.header, network=dict(network.config))
        return NetworkPotential(
            network,
            header,
            digest,
            self._device,
            self.dtype,
            self.asked_backend,
            self.dense_limit,
        )

    def describe(self) -> dict[str, Any]:
        """Name, method and hash of the model, and how it is computed."""
        return {
            "model": self.header.name,
            "method": self.header.method,
            "sha256": self.digest,
            "dtype": str(self.dtype).removeprefix("torch."),
            "backend": self.backend,
            "dense_limit": self.dense_limit,
        }

    def check(self, state: PhaseState) -> None:
        """Refuse atoms that the model does not cover.

        Raises
        ------
        ValueError
            For an unknown element, or a periodic cell if it has not been fitted in one.
        """
        check_coverage(self.header, state)

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of one set of atoms; that of the last :data:`KEPT` is kept for reuse."""
        self.check(state)
        box = derived(state, "box", box_of, lasting=True) if any(state.pbc) else b""
        key = (tuple(state.numbers.tolist()), tuple(state.batch.tolist()), box)
        bound = self._bound.pop(key, None) or self._bind(state, self._relatives.get(key))
        self._bound[key] = bound  # the last of them
        for old in list(self._bound)[:-KEPT]:  # a copy, as other threads may bind
            self._bound.pop(old, None)
        return bound

    def virial(self, state: PhaseState) -> torch.Tensor | None:
        """The virial of one molecule in its cell, (6,) eV, by automatic differentiation.

        None under the native kernel, which gives no derivative by the strain.
        """
        if self.packed is not None:
            return None
        self.check(state)
        x, species = state.positions.to(self._device), species_of(self.header, state)
        forces = ListForces(self.network, species, state, self._device, False)
        return forces.virial(x)

    def _bind(self, state: PhaseState, relative: _Bound | None) -> _Bound:
        """The same, anew; a relative is of the same atoms, with other weights to be learned."""
        species = species_of(self.header, state)
        if self.packed is not None:
            known = relative if isinstance(relative, NativeForces) else None
            return NativeForces(self.packed, self.network, species, state, self.dtype, known)
        compiled = None if isinstance(relative, NativeForces | None) else relative.compiled
        largest = int(torch.bincount(state.batch).max())
        dense = largest <= self.dense_limit and not any(state.pbc)
        make = DenseForces if dense else ListForces
        forces = make(
            self.network, species, state, self._device, self.backend == "compiled", compiled
        )
        if self._device.type != "cuda" or any(state.pbc):  # recordings know of no images
            return forces
        return GraphFlow(forces, state, relative if isinstance(relative, GraphFlow) else None)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to this process: copies prepare that anew."""
        return {**vars(self), "_bound": {}, "_relatives": {}, "_packed": None}


def _check_network(network: object, header: object) -> None:
    """Refuse what is no energy network, or does not say what it covers."""
    if not isinstance(network, EnergyNetwork):
        raise TypeError(
            f"network is a {type(network).__name__}, expected an EnergyNetwork; for a model file "
            "or a bundled name call load_model(...)"
        )
    if not isinstance(header, ModelHeader):
        raise TypeError(
            f"header is a {type(header).__name__}, expected what it covers: ModelHeader"
        )
