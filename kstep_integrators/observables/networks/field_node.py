"""The node at a dimer's centre that carries dipole and quadrupole."""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.observables.networks.graphs import scatter

__all__ = ["FieldNode"]

CARTESIAN = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]
"""xx, xy, yy, xz, yz, zz."""


class FieldNode(nn.Module):
    """One more node of each graph, at the mean of its positions, joined to every atom both ways.

    Its features start as learned scalars, and linear functions of the dipole (1o) and the
    quadrupole (2e). The latter's five components are the traceless part of the six Cartesian ones,
    by the Clebsch-Gordan coefficients of 1o x 1o -> 2e: a change of basis, exactly equivariant.

    Parameters
    ----------
    features : e3nn.o3.Irreps
    attributes : int
        Number of scalars that describe a node.
    """

    to_spherical: Tensor

    def __init__(self, features: o3.Irreps, attributes: int) -> None:
        super().__init__()
        self.scalars = nn.Parameter(torch.randn(attributes))
        given = o3.Irreps([(attributes, "0e"), (1, "1o"), (1, "2e")])
        self.embedding = o3.Linear(given, features)
        coupling = math.sqrt(5.0) * o3.wigner_3j(1, 1, 2)
        rows = [coupling[i, j] * (1.0 if i == j else 2.0) for i, j in CARTESIAN]
        self.register_buffer("to_spherical", torch.stack(rows))

    def forward(self, dipole: Tensor, quadrupole: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D) and attributes (B, A) of the nodes.

        Parameters
        ----------
        dipole : (B, 3)
        quadrupole : (B, 6)
            xx, xy, yy, xz, yz, zz.
        """
        attributes = self.scalars.expand(len(dipole), -1)
        vectors = torch.cat([attributes, dipole, quadrupole @ self.to_spherical], dim=-1)
        features: Tensor = self.embedding(vectors)
        return features, attributes

    def joined(
        self, batch: Tensor, positions: Tensor, graphs: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Edges of the nodes, counted after the atoms, and where the nodes are.

        Parameters
        ----------
        batch : (n,) int64
            Graph of each atom.
        positions : (n, 3)
        graphs : int

        Returns
        -------
        receivers, senders : (2n,) int64
            First from node to atom, then from atom to node.
        inward : (2n,) int64
            0 for edges to atoms, 1 for edges to nodes.
        centres : (B, 3)
        """
        atoms = torch.arange(len(batch), device=batch.device)
        nodes = len(batch) + batch
        inward = torch.cat([torch.zeros_like(atoms), torch.ones_like(atoms)])
        centres = scatter(positions, batch, 0, graphs, "mean")
        return torch.cat([atoms, nodes]), torch.cat([nodes, atoms]), inward, centres
