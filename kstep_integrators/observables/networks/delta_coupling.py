"""The network that corrects a cheap coupling of a dimer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.arguments import (
    positive_integer,
    positive_number,
    true_or_false,
    whole_number,
)
from kstep_integrators.observables.networks.edges import EdgeEmbedding
from kstep_integrators.observables.networks.field_node import FieldNode
from kstep_integrators.observables.networks.graphs import (
    GLOBALS,
    Data,
    batch_of,
    pairs_within,
    scatter,
)
from kstep_integrators.observables.networks.interaction import Interaction
from kstep_integrators.observables.networks.observable_network import (
    ObservableNetwork,
    feature_irreps,
    invariants,
    perceptron,
)
from kstep_integrators.observables.networks.orbital_pairs import OrbitalPairs
from kstep_integrators.observables.networks.products import HarmonicProducts

__all__ = ["DeltaCoupling"]


class DeltaCoupling(ObservableNetwork):
    """Correction Vref - V0 of a dimer's coupling, in the gauge where V0 is not negative.

    Invariant under rotation, reflection (which turn dipole and quadrupole too), translation, order
    of the atoms, and exchange of the molecules: edges within a molecule and between molecules are
    told apart, the molecules are not.

    With ``orbital_pairs`` the correction is a sum of terms of pairs of atoms (see
    :class:`~kstep_integrators.observables.networks.orbital_pairs.OrbitalPairs`): like a coupling,
    it changes its sign with the phase of either orbital, and stays smooth where V0 is zero. A new
    network returns zero. Without, an MLP makes it of the mean over the atoms, of the field node and
    of scalars of the dimer (R, theta, V0, participation), and a new network returns the mean of its
    statistics.

    Layers are those of :class:`~kstep_integrators.observables.networks.interaction.Interaction`,
    with means over the neighbours of each kind (own molecule, other molecule, field node). An odd
    layer adds its update to what it was given, an even one to what the layer before it was given:
    residuals that span two layers.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    layers : int
    features : str
        Irreps of the nodes, of parity (-1)^l.
    lmax : int
        Highest degree of the spherical harmonics.
    radial : int
        Number of radial Bessel functions.
    cutoff : float
        angstrom.
    learned_frequencies : bool
        Whether the frequencies of the radial functions are learned.
    attributes : int
        Scalars that describe an atom: from its element, and its populations by a small network.
    hidden : int
        Width of the MLPs of distances, of populations and, twice that, of the result.
    field_node : bool
        Whether a node at the centre carries dipole and quadrupole; without it, they are not used.
    cheap_input : bool
        Whether V0 is among the scalars of the dimer, which terms of pairs do without.
    orbital_pairs : bool
        Whether the orbitals themselves are seen, rather than scalars of the dimer.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
    >>> from kstep_integrators.observables.networks.graphs import dimer_graph
    >>> network = DeltaCoupling([2, 10], layers=2)
    >>> graph = dimer_graph(
    ...     [2, 10], np.eye(2, 3), [0, 1], np.zeros((2, 3)), np.ones((2, 4)),
    ...     np.zeros(3), np.zeros(6), np.zeros(4),
    ... )
    >>> network(graph).tolist()
    [0.0]
    """

    population_mean: Tensor
    population_scale: Tensor
    dipole_scale: Tensor
    quadrupole_scale: Tensor
    globals_mean: Tensor
    globals_scale: Tensor
    correction_mean: Tensor
    correction_scale: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        layers: int = 6,
        features: str = "8x0e + 1o + 2e",
        lmax: int = 3,
        radial: int = 50,
        cutoff: float = 12.0,
        learned_frequencies: bool = False,
        attributes: int = 16,
        hidden: int = 32,
        field_node: bool = True,
        cheap_input: bool = True,
        orbital_pairs: bool = True,
    ) -> None:
        config = {
            "layers": positive_integer("layers", layers, "layers of the network"),
            "features": features,
            "lmax": whole_number("lmax", lmax, "highest degree of spherical harmonics"),
            "radial": positive_integer("radial", radial, "radial functions"),
            "cutoff": positive_number("cutoff", cutoff, "angstrom"),
            "learned_frequencies": true_or_false("learned_frequencies", learned_frequencies),
            "attributes": positive_integer("attributes", attributes, "scalars of an atom"),
            "hidden": positive_integer("hidden", hidden, "width of MLPs"),
            "field_node": true_or_false("field_node", field_node),
            "cheap_input": true_or_false("cheap_input", cheap_input),
            "orbital_pairs": true_or_false("orbital_pairs", orbital_pairs),
        }
        super().__init__(elements, config)
        if orbital_pairs and not cheap_input:
            raise ValueError(
                "cheap_input is False and orbital_pairs is True, but terms of pairs are never told "
                "V0: set orbital_pairs=False, or leave cheap_input as it is"
            )
        self.cheap_input = cheap_input
        self.irreps = feature_irreps(features)
        harmonics = o3.Irreps.spherical_harmonics(lmax)
        with self.exact_parts():
            products = HarmonicProducts(self.irreps, harmonics)
            kinds = 4 if field_node else 2
            self.edges = EdgeEmbedding(
                harmonics, products, radial, cutoff, learned_frequencies, kinds
            )
            self.element = nn.Embedding(len(self.elements), attributes)
            self.populations = nn.Sequential(
                nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, attributes)
            )
            self.embedding = o3.Linear(o3.Irreps([(attributes, "0e")]), self.irreps)
            self.field = FieldNode(self.irreps, attributes) if field_node else None
            self.layers = nn.ModuleList(
                Interaction(self.irreps, products, attributes, self.edges.size, hidden)
                for _ in range(layers)
            )
            self.pairs: OrbitalPairs | None = None
            if orbital_pairs:
                described = self.irreps.num_irreps + attributes
                self.pairs = OrbitalPairs(described, self.edges.size, 2 * hidden)
            else:
                count = self.irreps.num_irreps * (2 if field_node else 1)
                count += len(GLOBALS) if cheap_input else len(GLOBALS) - 1
                self.result = perceptron(count, 2 * hidden, 2 * hidden, 1)
        species = len(self.elements)
        for name, value in {
            "population_mean": torch.zeros(species, 3),
            "population_scale": torch.ones(species, 3),
            "dipole_scale": torch.ones(()),
            "quadrupole_scale": torch.ones(()),
            "globals_mean": torch.zeros(len(GLOBALS)),
            "globals_scale": torch.ones(len(GLOBALS)),
            "correction_mean": torch.zeros(()),
            "correction_scale": torch.ones(()),
        }.items():
            self.register_buffer(name, value)

    def forward(self, data: Data) -> Tensor:
        """Corrections (B,) of dimers, eV.

        Parameters
        ----------
        data : torch_geometric.data.Data or Batch
            Of :func:`~kstep_integrators.observables.networks.graphs.dimer_graph`.

        Raises
        ------
        ValueError
            If an atom's element is not one of those that the network knows.
        """
        species, batch = self.species(data.z), batch_of(data)
        graphs, atoms = len(data.globals), len(data.z)
        positions = data.pos.to(self.dtype)
        populations = data.populations.to(self.dtype) - self.population_mean[species]
        attributes = self.element(species) + self.populations(
            populations / self.population_scale[species]
        )
        features = self.embedding(attributes)
        receivers, senders = pairs_within(positions, batch, self.edges.radial.cutoff)
        kind = (data.molecule[receivers] != data.molecule[senders]).long()
        if self.field is not None:
            node, described = self.field(
                data.dipole.to(self.dtype) / self.dipole_scale,
                data.quadrupole.to(self.dtype) / self.quadrupole_scale,
            )
            inner, outer, inward, centres = self.field.joined(batch, positions, graphs)
            features = torch.cat([features, node])
            attributes = torch.cat([attributes, described])
            positions = torch.cat([positions, centres])
            receivers, senders = torch.cat([receivers, inner]), torch.cat([senders, outer])
            kind = torch.cat([kind, 2 + inward])
        edges = self.edges(receivers, senders, positions, kind)
        before = features
        for number, layer in enumerate(self.layers):
            update = layer(features, attributes, edges)
            base = before if number % 2 else features
            before, features = features, base + update
        # Sums and means in full precision, even where the layers were computed in less.
        if self.pairs is None:
            result = self.result(self._described(data, features, batch)).squeeze(-1).to(self.dtype)
            mean: Tensor = self.correction_mean + self.correction_scale * result
            return mean
        atom = torch.cat([invariants(features[:atoms], self.irreps), attributes[:atoms]], dim=-1)
        between = torch.nonzero(kind == 1).squeeze(-1)
        terms = self.pairs(atom, data.orbital.to(self.dtype), edges, between)
        sums: Tensor = scatter(terms, batch[receivers[between]], 0, graphs, "sum")
        return self.correction_scale * sums

    def _described(self, data: Data, features: Tensor, batch: Tensor) -> Tensor:
        """Invariants (B, I) of the dimers as wholes."""
        graphs, atoms = len(data.globals), len(data.z)
        mean = scatter(features[:atoms], batch, 0, graphs, "mean")
        known = (data.globals.to(self.dtype) - self.globals_mean) / self.globals_scale
        if not self.cheap_input:
            known = known[:, [name != "V0" for name in GLOBALS]]
        parts = [invariants(mean, self.irreps), known]
        if self.field is not None:
            parts.append(invariants(features[atoms:], self.irreps))
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def set_statistics(self, data: Data, corrections: Tensor) -> None:
        """Take the scales of inputs and result from the training set.

        Populations are taken relative to the mean of the element. What does not vary keeps the
        scale 1.

        Parameters
        ----------
        data : torch_geometric.data.Batch
            The dimers of the training set.
        corrections : (B,) eV
            Vref - V0, where V0 is not negative.
        """
        species = self.species(data.z)
        for index in range(len(self.elements)):
            found = data.populations[species == index].double()
            if len(found):
                self.population_mean[index] = found.mean(0)
                self.population_scale[index] = _spread(found)
        self.dipole_scale.copy_(_nonzero(data.dipole.double().square().mean().sqrt()))
        self.quadrupole_scale.copy_(_nonzero(data.quadrupole.double().square().mean().sqrt()))
        self.globals_mean.copy_(data.globals.double().mean(0))
        self.globals_scale.copy_(_spread(data.globals.double()))
        self.correction_mean.copy_(corrections.double().mean())
        self.correction_scale.copy_(_spread(corrections.double()))


def _spread(values: Tensor) -> Tensor:
    """Standard deviation over the first axis, 1 where nothing varies."""
    return _nonzero(values.std(0, correction=0))


def _nonzero(scale: Tensor) -> Tensor:
    """The scale, 1 where it vanishes."""
    return torch.where(scale > 1e-6, scale, torch.ones_like(scale))
