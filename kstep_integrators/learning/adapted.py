"""The potential of a run that learns: a base, and weights that its evaluations set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import SetOnce, path_of
from kstep_integrators.learning.force_features import (
    NO_STRAINS,
    ForceFeatures,
    force_features,
    native_force_features,
)
from kstep_integrators.learning.shown_backbone import FUNCTIONS, UNTRAINED, shown_backbone
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential
from kstep_integrators.potentials.virial import potential_virial
from kstep_integrators.state import BoundPotential, PhaseState

__all__ = ["AdaptedPotential", "adapt"]


class AdaptedPotential(SetOnce):
    r"""A base potential and a learned part, :math:`E = E_{base} + \sum_i w_{z_i} \cdot \psi_i`.

    Runs with ``learn=...`` make and change it; ``dynamics.potential`` is the one of now.

    Parameters
    ----------
    model : NetworkPotential
        Of a network with a linear readout: the base with its learned part, or the part alone.
    base : Potential or None
        Base beside it; None if the model has it all.
    start : Potential or None
        What the run was given, to which the weights were added.
    record : dict, optional
        Provenance, for a file: labels, method, errors.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> potential = adapt(load_model("organic-gfn2", device="cpu"), [1, 6, 8])
    >>> potential.weights.shape[0], float(potential.weights.abs().max())
    (4, 0.0)
    """

    def __init__(
        self,
        model: NetworkPotential,
        base: Potential | None,
        start: Potential | None,
        record: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.base, self.start = model, base, start
        self.record = dict(record or {})
        self._whole: Potential = model if base is None else SumPotential(base, model)

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self._whole.timestep if self.base is None else self.base.timestep

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._whole.device

    @property
    def weights(self) -> Tensor:
        """Weights of the learned part, (S, D) float64 on the CPU, eV."""
        linear = self.model.network.linear
        assert linear is not None  # noqa: S101  (adapt made it)
        return linear.weight.detach().to("cpu", torch.float64)

    @property
    def weight_variance(self) -> float:
        """Variance of a weight before any label, eV^2: features of random weights are smoother."""
        header = self.model.header
        untrained = header.training.get("backbone", header.name) == UNTRAINED
        return 100.0 if untrained else 1.0

    def to(self, device: torch.device | str) -> AdaptedPotential:
        """The same potential on another device."""
        base = None if self.base is None else self.base.to(device)
        return AdaptedPotential(self.model.to(device), base, self.start, self.record)

    def with_weights(
        self, weights: Tensor, record: dict[str, Any] | None = None
    ) -> AdaptedPotential:
        """The potential with other learned weights, (S, D) eV, and what they were learned from."""
        model = self.model.with_weights(weights)
        return AdaptedPotential(model, self.base, self.start, {**self.record, **(record or {})})

    def in_cells(self) -> AdaptedPotential:
        """The same potential, whose learned part may be used in periodic cells."""
        if self.model.header.periodic:
            return self
        return AdaptedPotential(self.model.in_cells(), self.base, self.start, self.record)

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of one set of atoms."""
        return self._whole.bind(state)

    def virial(self, state: PhaseState) -> Tensor:
        """Derivatives of the energy of one molecule by the strain of its cell, (6,) eV."""
        return potential_virial(self._whole, state)

    def describe(self) -> dict[str, Any]:
        """Base and backbone: the same before and after learning, as weights are the run's."""
        start = None if self.start is None else self.start.describe()
        return {
            "learned": True,
            "base": start,
            "backbone": self.model.header.name,
            "backend": self.model.backend,
        }

    def features(
        self, state: PhaseState, coordinates: Tensor, strains: Tensor = NO_STRAINS
    ) -> ForceFeatures:
        """Functions of one molecule, and their derivatives.

        Parameters
        ----------
        state : PhaseState
            One molecule.
        coordinates : (n,) int64
            Of the 3 N, along which forces are wanted.
        strains : (m,) int64
            Of the cell, xx, yy, zz, yz, xz, xy, by which derivatives are wanted.
        """
        species, packed = self.species(state.numbers), self.model.packed
        if packed is not None:
            native = packed.of(torch.float64)
            return native_force_features(native, state, species, coordinates, strains)
        dense = len(species) <= self.model.dense_limit and not any(state.pbc)
        there = state.to(self.model.device)
        return force_features(self.model.network, there, species, dense, coordinates, strains)

    def species(self, numbers: Tensor) -> Tensor:
        """Index of each element in the table of the network, (N,) int64."""
        order = [self.model.header.elements.index(z) for z in numbers.tolist()]
        return torch.tensor(order, dtype=torch.int64)

    def header(self, name: str) -> ModelHeader:
        """The header of a file of this potential, with its provenance."""
        base = None if self.base is None else _plain(self.base.describe())
        start = None if self.start is None else _plain(self.start.describe())
        record = {"learned_from": start, "backbone": self.model.header.name, **self.record}
        method = str(self.record.get("method", self.model.header.method))
        return dataclasses.replace(
            self.model.header, name=name, method=method, base=base, training=record
        )

    def save(self, path: str | Path) -> None:
        """Write an ordinary model file, which ``load_model`` reads.

        Beside a base, it holds the learned part alone: ``load_model(path, base=...)``.
        """
        path = path_of("path", path)
        write_model(path, self.model.network, self.header(path.stem))


def adapt(
    base: Potential | None,
    elements: Sequence[int],
    backbone: str | Path | None = None,
    timestep: float = 0.25 * units.FS,
    device: str | torch.device = "cpu",
    cells: bool = False,
    packed: bool = False,
) -> AdaptedPotential:
    """A potential that is its base at first, and can learn.

    Parameters
    ----------
    base : Potential or None
        A network learns on its own features, and so does the learned part of an earlier run beside
        its base; beside any other, or none, they are those of a backbone, which is shown elements
        that it does not know as others that it does.
    elements : sequence of int
        Atomic numbers that it has to know.
    backbone : str or Path, optional
        Model with these features, for a base that is no network. By default the bundled one, or, in
        crowded systems, an untrained one.
    timestep : float
        Base step without a base, ASE time units.
    device : str or torch.device
        Of a backbone.
    cells : bool
        Whether it is to learn in periodic cells, and may be used there.
    packed : bool
        Whether it is to learn of crowded systems
        (:func:`~kstep_integrators.learning.shown_backbone.crowded`).

    Raises
    ------
    ValueError
        If the backbone is that of no potential, or is not wanted.
    """
    if isinstance(base, NetworkPotential):
        if backbone is not None:
            raise ValueError(
                f"backbone is {str(backbone)!r}, but the model of the run is a network, which "
                "learns on its own features: leave backbone out"
            )
        return _in(cells, AdaptedPotential(_with_readout(base), None, base))
    if isinstance(base, SumPotential) and (parts := _learned_part(base)) is not None:
        if backbone is not None:
            raise ValueError(
                f"backbone is {str(backbone)!r}, but the model of the run has been learned on "
                "another already: leave backbone out"
            )
        return _in(cells, AdaptedPotential(parts[1], parts[0], base))
    header, network = shown_backbone(sorted(set(elements)), backbone, base is None, packed)
    timestep = timestep if base is None else base.timestep
    header = dataclasses.replace(header, timestep_fs=timestep / units.FS)
    where = device if base is None else base.device
    return _in(cells, AdaptedPotential(NetworkPotential(network, header, device=where), base, base))


def _in(cells: bool, potential: AdaptedPotential) -> AdaptedPotential:
    return potential.in_cells() if cells else potential


def _learned_part(potential: SumPotential) -> tuple[Potential, NetworkPotential] | None:
    """Base and learned part of what ``load_model(path, base=...)`` gives; None of other sums."""
    if len(potential.parts) != 2 or any(atoms is not None for _, atoms in potential.parts):
        return None
    base, part = (one for one, _ in potential.parts)
    if not isinstance(part, NetworkPotential) or part.network.linear is None:
        return None
    return None if part.header.base is None else (base, part)


def _with_readout(potential: NetworkPotential) -> NetworkPotential:
    """A network with a linear readout beside its own, of zero weights if it had none."""
    if potential.network.linear is not None:
        return potential
    network = EnergyNetwork(**{**potential.network.config, "linear": FUNCTIONS})
    network.load_state_dict(potential.network.state_dict(), strict=False)
    network.requires_grad_(False)
    header = dataclasses.replace(potential.header, network=dict(network.config))
    return NetworkPotential(
        network,
        header,
        device=potential.device,
        dtype=potential.dtype,
        backend=potential.asked_backend,
        dense_limit=potential.dense_limit,
    )


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """A description as it comes back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(described, default=str))
    return plain
