"""The coupling of two orbitals as a sum over pairs of atoms, one of each molecule."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from kstep_integrators.observables.networks.edges import Edges

__all__ = ["OrbitalPairs"]

_DECAY: Final = 0.8
"""angstrom; over this distance couplings of molecules fall by about a factor e: overlaps do."""

_CONTACT: Final = 3.0
"""angstrom; at this distance of two atoms the decay counts as 1."""

_INTEGRALS: Final = 4
"""s with s, s with p, p with p along the pair, p with p."""


class OrbitalPairs(nn.Module):
    r"""Two-centre terms of the coupling between an orbital of each molecule.

    With amplitudes s and p of the orbital on each atom, and the unit vector u from atom i to atom j
    of the other molecule, the sum over i and j, in both orders, of

    .. math:: f_1 s_i s_j + f_2 s_i (p_j \cdot u) + f_3 (p_i \cdot u)(p_j \cdot u)
              + f_4 \, p_i \cdot p_j

    Each f is an MLP of the invariants of both atoms and of their distance, times an exponential
    decay. It is the form of Slater and Koster's integrals (doi:10.1103/PhysRev.94.1498), whose
    values depend on the surroundings here. It changes its sign with the phase of either orbital, as
    a coupling does. A new module returns zero.

    Parameters
    ----------
    invariants : int
        Of each atom.
    radial : int
        Size of the basis of the edges.
    hidden : int
        Width of the MLP.
    """

    def __init__(self, invariants: int, radial: int, hidden: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(invariants, hidden)
        self.sender = nn.Linear(invariants, hidden, bias=False)
        self.distance = nn.Linear(radial, hidden, bias=False)
        self.middle = nn.Linear(hidden, hidden)
        self.integrals = nn.Linear(hidden, _INTEGRALS)
        for weights in self.integrals.parameters():
            nn.init.zeros_(weights)

    def forward(self, invariants: Tensor, orbital: Tensor, edges: Edges, between: Tensor) -> Tensor:
        """Terms (Q,) of edges between the molecules, whose sum is the coupling.

        Parameters
        ----------
        invariants : (n, I)
            Of the atoms.
        orbital : (n, 4)
            Amplitudes of s, px, py, pz of each atom, in the orbital of its own molecule.
        edges : Edges
        between : (Q,) int64
            Those of them that join atoms of different molecules.
        """
        i, j = edges.receivers[between], edges.senders[between]
        hidden: Tensor = self.receiver(invariants)[i] + self.sender(invariants)[j]
        hidden = functional.silu(hidden + self.distance(edges.basis[:, between].T))
        integrals = self.integrals(functional.silu(self.middle(hidden))).to(orbital)
        decay = torch.exp((_CONTACT - edges.distances[between]) / _DECAY)
        direction = edges.directions[between]
        (s_i, p_i), (s_j, p_j) = (orbital[k].split([1, 3], dim=-1) for k in (i, j))
        along_i, along_j = ((p * direction).sum(-1, keepdim=True) for p in (p_i, p_j))
        across = (p_i * p_j).sum(-1, keepdim=True)
        terms = torch.cat([s_i * s_j, s_i * along_j, along_i * along_j, across], dim=-1)
        found: Tensor = decay * edges.envelope[between] * (integrals * terms).sum(-1)
        return found
