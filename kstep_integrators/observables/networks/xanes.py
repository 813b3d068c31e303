"""The network of X-ray absorption spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from ase.data import chemical_symbols
from e3nn import o3
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.arguments import (
    positive_integer,
    positive_number,
    real_number,
    true_or_false,
    whole_number,
)
from kstep_integrators.nn.common.graph import species_table
from kstep_integrators.observables.networks.attention import AbsorberAttention
from kstep_integrators.observables.networks.edges import EdgeEmbedding
from kstep_integrators.observables.networks.graphs import Data, batch_of, pairs_within, scatter
from kstep_integrators.observables.networks.interaction import Interaction
from kstep_integrators.observables.networks.observable_network import (
    ObservableNetwork,
    feature_irreps,
    invariants,
    perceptron,
)
from kstep_integrators.observables.networks.products import HarmonicProducts
from kstep_integrators.observables.networks.spectral_basis import SpectralBasis

__all__ = ["POOLINGS", "XANESNetwork"]

POOLINGS = ("attention", "absorber", "mean")
"""Pooling of a spectrum's features: of atoms by attention, of the absorber alone, or of all."""

FAINTEST = 0.03
"""Least coefficient of the mean spectrum, relative to their scale: smaller ones hardly learn."""

LEAST_SPREAD = 0.01
"""Of what a spectrum is read from over the training set, relative to the largest of all spreads."""


class XANESNetwork(ObservableNetwork):
    r"""Absorption spectra of atoms, not negative, invariant under rotation, reflection and order.

    The spectrum of absorber a on the grid of energies E relative to the edge of its element is

    .. math:: \mu_a(E) = s \sum_k \mathrm{softplus}(b_{z,k} + c_{a,k}) \, G_k(E - \delta_{a,k})

    with Gaussians :math:`G_k` of several widths: positive whatever the network says. Edges of
    different elements share the grid, because it counts from a reference energy of each element.
    Each Gaussian is moved by :math:`\delta_{a,k} = \Delta \tanh(t_{a,k})`, as lines move with the
    structure: a shift is close to linear in the positions where intensities at given energies are
    not. The network makes c and t of invariants. Scale s and offsets b, which belong to the mean
    spectrum of each element, are set from the training set, and so are mean and spread of the
    invariants, because a structure that vibrates changes them by little of what they are; a new
    network returns the mean spectra.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    edges : dict of int to float
        Reference energy in eV of each element that absorbs. Keys may be text, as in JSON.
    grid : sequence of float
        Energies relative to the reference, eV, ascending.
    layers : int
    features : str
        Irreps of the atoms, of parity (-1)^l.
    lmax : int
        Highest degree of the spherical harmonics.
    radial : int
        Number of radial Bessel functions.
    cutoff : float
        Of interactions, angstrom.
    hidden : int
        Width of the MLPs.
    widths : sequence of float
        Of the Gaussians, standard deviations in eV.
    largest_shift : float
        Of a Gaussian, :math:`\Delta`, eV; 0 for none.
    pooling : str
        ``"attention"``: the absorber's features, and averages of all atoms' within reach by
        attention. ``"absorber"``: its features alone. ``"mean"``: and the mean of all atoms'.
    heads : int
        Of the attention; a divisor of the number of scalars.
    reach : float
        Of the attention, angstrom.
    norms : bool
        Whether spectra are read from the norms of vectors and tensors too, not scalars alone.
    scalar_only : bool
        Whether vectors and tensors are left out altogether, harmonics too.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from kstep_integrators.observables.networks.graphs import structure_graph
    >>> from kstep_integrators.observables.networks.xanes import XANESNetwork
    >>> network = XANESNetwork([6, 8], {6: 285.0}, np.linspace(-2, 10, 61))
    >>> network(structure_graph([6, 8], np.eye(2, 3), [0])).shape
    torch.Size([1, 61])
    >>> float(network.energies(6)[0])
    283.0
    """

    absorbing: Tensor
    offsets: Tensor
    scale: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        elements: Sequence[int],
        edges: Mapping[int, float] | Mapping[str, float],
        grid: Sequence[float],
        layers: int = 3,
        features: str = "32x0e + 16x1o + 8x2e",
        lmax: int = 2,
        radial: int = 16,
        cutoff: float = 5.0,
        hidden: int = 64,
        widths: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        largest_shift: float = 2.0,
        pooling: str = "attention",
        heads: int = 4,
        reach: float = 8.0,
        norms: bool = True,
        scalar_only: bool = False,
    ) -> None:
        references = {
            int(z): real_number(f"edge of element {z}", energy, "eV") for z, energy in edges.items()
        }
        energies, deviations = [float(e) for e in grid], [float(w) for w in widths]
        config = {
            "edges": {str(z): energy for z, energy in references.items()},
            "grid": energies,
            "layers": positive_integer("layers", layers, "layers of the network"),
            "features": features,
            "lmax": whole_number("lmax", lmax, "highest degree of spherical harmonics"),
            "radial": positive_integer("radial", radial, "radial functions"),
            "cutoff": positive_number("cutoff", cutoff, "angstrom"),
            "hidden": positive_integer("hidden", hidden, "width of MLPs"),
            "widths": deviations,
            "largest_shift": real_number("largest_shift", largest_shift, "eV, 0 for none"),
            "pooling": pooling,
            "heads": positive_integer("heads", heads, "heads of the attention"),
            "reach": positive_number("reach", reach, "angstrom"),
            "norms": true_or_false("norms", norms),
            "scalar_only": true_or_false("scalar_only", scalar_only),
        }
        super().__init__(elements, config)
        if not references or not {*references} <= {*self.elements}:
            raise ValueError(
                f"edges are of the elements {sorted(references)}, expected one at least, and of "
                f"the elements that the network knows, {self.elements}"
            )
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}, expected one of {', '.join(POOLINGS)}")
        if not 0.0 <= largest_shift < float("inf"):
            raise ValueError(f"largest_shift is {largest_shift}, expected eV, 0 for none")
        self.references, self.pooling, self.norms = references, pooling, norms
        self.largest_shift = largest_shift
        irreps = feature_irreps(features)
        if scalar_only:
            irreps, lmax = o3.Irreps([(irreps.count("0e"), "0e")]), 0
        self.irreps, scalars = irreps, irreps.count("0e")
        harmonics = o3.Irreps.spherical_harmonics(lmax)
        with self.exact_parts():
            products = HarmonicProducts(irreps, harmonics)
            self.basis = SpectralBasis(energies, deviations)
            self.edges = EdgeEmbedding(harmonics, products, radial, cutoff, mean=False)
            self.element = nn.Embedding(len(self.elements), scalars)
            self.embedding = o3.Linear(o3.Irreps([(scalars, "0e")]), irreps)
            self.layers = nn.ModuleList(
                Interaction(irreps, products, scalars, self.edges.size, hidden, gate=1.0)
                for _ in range(layers)
            )
            if pooling == "attention":
                self.attention = AbsorberAttention(irreps, heads, radial, reach)
            self.absorber = nn.Embedding(len(references), scalars)
            count = irreps.num_irreps if norms else scalars
            count = count * (1 if pooling == "absorber" else 2)
            self.result = perceptron(scalars + count, hidden, hidden, 2 * self.basis.size)
        self.register_buffer("absorbing", species_table([*references]), persistent=False)
        self.register_buffer("offsets", torch.zeros(len(references), self.basis.size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    def energies(self, element: int) -> Tensor:
        """Energies (E,) in eV of the spectra of an element's atoms, float64.

        Raises
        ------
        ValueError
            If the network has no spectra of the element.
        """
        if element not in self.references:
            raise ValueError(self._stranger([element]))
        grid = torch.tensor(self.config["grid"], dtype=torch.float64)
        return grid + self.references[element]

    def forward(self, data: Data) -> Tensor:
        """Spectra (A, E) of all absorbers of the structures, 1/eV.

        Parameters
        ----------
        data : torch_geometric.data.Data or Batch
            Of :func:`~kstep_integrators.observables.networks.graphs.structure_graph`.

        Raises
        ------
        ValueError
            If an atom's element is not one of those that the network knows, or an absorber's not
            one of those it has spectra of.
        """
        kind = self._kinds(data.z[data.absorber_index])
        read = (self._read(data) - self.centre) / self.spread
        # The spectrum in full precision, even where the layers were computed in less.
        result = self.result(torch.cat([self.absorber(kind), read], dim=-1)).to(self.dtype)
        given, moved = result.chunk(2, dim=-1)
        coefficients = self.scale * functional.softplus(self.offsets[kind] + given)
        spectra: Tensor = self.basis(coefficients, self.largest_shift * torch.tanh(moved))
        return spectra

    @torch.no_grad()
    def set_statistics(self, data: Data, spectra: Tensor) -> None:
        """Take scales and the mean spectrum of each element from the training set.

        Parameters
        ----------
        data : torch_geometric.data.Batch
            The structures of the training set.
        spectra : (A, E) 1/eV
            Of their absorbers.
        """
        kind = self._kinds(data.z[data.absorber_index])
        means = [spectra[kind == index].double().mean(0) for index in kind.unique().tolist()]
        basis = SpectralBasis(self.config["grid"], self.config["widths"])
        fits = [basis.positive_fit(mean.cpu()) for mean in means]
        scale = torch.stack(fits).mean()
        self.scale.copy_(scale)
        read = self._read(data)
        spread = read.std(0, correction=0)
        self.centre.copy_(read.mean(0))
        self.spread.copy_(spread.clamp(min=LEAST_SPREAD * float(spread.max())))
        self.spread[self.spread == 0.0] = 1.0
        for index, fit in zip(kind.unique().tolist(), fits, strict=True):
            relative = (fit / scale).clamp(min=FAINTEST)
            # The inverse of softplus.
            self.offsets[index] = relative + torch.log(-torch.expm1(-relative))

    def _read(self, data: Data) -> Tensor:
        """Invariants (A, I) of the absorbers and what is around them."""
        species, batch, absorbers = self.species(data.z), batch_of(data), data.absorber_index
        positions = data.pos.to(self.dtype)
        receivers, senders = pairs_within(positions, batch, self.edges.radial.cutoff)
        edges = self.edges(receivers, senders, positions, torch.zeros_like(receivers))
        attributes = self.element(species)
        features = self.embedding(attributes)
        for layer in self.layers:
            features = features + layer(features, attributes, edges)
        parts = [invariants(features[absorbers], self.irreps, self.norms)]
        if self.pooling != "absorber":
            pooled = self._pooled(features, positions, absorbers, batch)
            parts.append(invariants(pooled, self.irreps, self.norms))
        return torch.cat(parts, dim=-1)

    def _pooled(
        self, features: Tensor, positions: Tensor, absorbers: Tensor, batch: Tensor
    ) -> Tensor:
        """Features (A, D) of the structure around each absorber."""
        graph = batch[absorbers]
        sizes = torch.bincount(batch)
        slots = sizes[graph]
        asking = torch.arange(len(absorbers), device=batch.device).repeat_interleave(slots)
        place = torch.arange(len(asking), device=batch.device)
        starts = sizes.cumsum(0) - sizes
        atoms = starts[graph[asking]] + place - (slots.cumsum(0) - slots)[asking]
        if self.pooling == "mean":
            mean: Tensor = scatter(features[atoms], asking, 0, len(absorbers), "mean")
            return mean
        apart = (positions[atoms] - positions[absorbers[asking]]).detach().square().sum(-1)
        near = apart < self.attention.reach**2
        asking, atoms = asking[near], atoms[near]
        around: Tensor = self.attention(features, positions, absorbers, (asking, atoms))
        return around

    def _kinds(self, numbers: Tensor) -> Tensor:
        """Index of each absorber's element among those that absorb."""
        kind = self.absorbing[numbers]
        if bool((kind < 0).any()):
            raise ValueError(self._stranger(numbers[kind < 0].tolist()))
        return kind

    def _stranger(self, numbers: list[int]) -> str:
        """Message about absorbers of other elements."""
        strange = sorted({chemical_symbols[z] for z in numbers})
        known = [chemical_symbols[z] for z in self.references]
        return (
            f"the absorbers are atoms of {', '.join(strange)}, expected those of the elements that "
            f"the network has spectra of: {', '.join(known)}"
        )
