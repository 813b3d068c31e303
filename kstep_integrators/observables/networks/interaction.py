"""The layer of the networks: a tensor-product convolution with a gated update."""

from __future__ import annotations

import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.observables.networks.edges import Edges
from kstep_integrators.observables.networks.graphs import scatter
from kstep_integrators.observables.networks.products import HarmonicProducts

__all__ = ["Interaction"]


class Interaction(nn.Module):
    r"""Update of the nodes by their neighbours' features times spherical harmonics.

    With :math:`m_{ij} = w_{ij} \, \mathrm{MLP}(d_{ij}) \odot (W h_j \otimes Y(r_{ij}))`, summed
    over senders j, the update is :math:`g \, \sigma(W_1 \sum_j m_{ij} + W_2 [h_i, a_i])`: a gated
    nonlinearity of messages and a self-connection, with node attributes a. The gate g, one number
    for each channel of the features, is learned; where it starts closed, at zero, a new network
    passes its input on unchanged. Tensor products by e3nn, doi:10.48550/arXiv.2207.09453.

    Parameters
    ----------
    features : e3nn.o3.Irreps
        Of the nodes.
    products : HarmonicProducts
        Of these features, the same for all layers.
    attributes : int
        Number of scalars that describe a node.
    radial : int
        Size of the basis of the edges.
    hidden : int
        Width of the MLP of the distances.
    gate : float
        That all channels start with.
    """

    def __init__(
        self,
        features: o3.Irreps,
        products: HarmonicProducts,
        attributes: int,
        radial: int,
        hidden: int,
        gate: float = 0.0,
    ) -> None:
        super().__init__()
        scalars = o3.Irreps([one for one in features if one.ir.l == 0])
        vectors = o3.Irreps([one for one in features if one.ir.l > 0])
        gates = o3.Irreps([(vectors.num_irreps, "0e")]) if vectors.num_irreps else o3.Irreps()
        self.activation = Gate(
            scalars, [functional.silu] * len(scalars), gates, [torch.sigmoid] * len(gates), vectors
        )
        self.products = products
        self.sent = o3.Linear(features, features)
        self.hidden = nn.Linear(radial, hidden)
        self.filter = nn.Linear(hidden, products.weights)
        self.gathered = o3.Linear(products.irreps_out, self.activation.irreps_in)
        kept = features + o3.Irreps([(attributes, "0e")])
        self.kept = o3.Linear(kept, self.activation.irreps_in)
        self.gate = nn.Parameter(torch.full((features.num_irreps,), gate))
        widths = torch.tensor([ir.dim for count, ir in features for _ in range(count)])
        channel = torch.arange(len(widths)).repeat_interleave(widths)
        self.register_buffer("channel", channel, persistent=False)

    channel: Tensor

    def forward(self, features: Tensor, attributes: Tensor, edges: Edges) -> Tensor:
        """Update (n, D) of the features (n, D), to be added to them.

        Parameters
        ----------
        features : (n, D)
        attributes : (n, A)
        edges : Edges
        """
        sent = self.sent(features).T.index_select(1, edges.senders)
        hidden = self.hidden.weight @ edges.basis + self.hidden.bias.unsqueeze(-1)
        filters = self.filter.weight @ functional.silu(hidden) + self.filter.bias.unsqueeze(-1)
        messages = self.products(sent, edges.couplings, filters * edges.weights)
        gathered = scatter(messages, edges.receivers, 1, len(features), "sum").T
        kept = self.kept(torch.cat([features, attributes], dim=-1))
        update: Tensor = self.activation(self.gathered(gathered) + kept)
        return update * self.gate[self.channel]
