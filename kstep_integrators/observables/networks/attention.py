"""Pooling of atoms around an absorbing atom."""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.nn.common.radial import smooth_cutoff
from kstep_integrators.observables.networks.edges import SOFTENING, RadialBasis
from kstep_integrators.observables.networks.graphs import scatter

__all__ = ["AbsorberAttention"]


class AbsorberAttention(nn.Module):
    """Averages of the atoms' features, with weights that the absorbing atom asks for.

    The query is of the absorber's scalars, the keys are of all atoms' scalars and of their distance
    from it; each head gives an average of its own. The envelope of the distance multiplies the
    weights, so that atoms fade out towards the reach; the absorber itself is one of the atoms.

    Parameters
    ----------
    features : e3nn.o3.Irreps
        Scalars first; their number is a multiple of ``heads``.
    heads : int
    radial : int
        Number of radial functions.
    reach : float
        angstrom.

    Raises
    ------
    ValueError
        If the scalars cannot be shared out among the heads.
    """

    def __init__(self, features: o3.Irreps, heads: int, radial: int, reach: float) -> None:
        super().__init__()
        self.scalars = features.count("0e")
        if self.scalars % heads:
            raise ValueError(
                f"heads is {heads}, expected a divisor of the number of scalars in the features, "
                f"{self.scalars}"
            )
        self.heads, self.reach = heads, reach
        self.radial = RadialBasis(radial, reach, learned=False)
        self.query = nn.Linear(self.scalars, self.scalars)
        self.key = nn.Linear(self.scalars, self.scalars)
        self.near = nn.Linear(radial, heads)
        # Every head takes each feature once; the linear map after it mixes heads.
        self.irreps_heads = o3.Irreps([(heads * count, ir) for count, ir in features])
        self.value = o3.Linear(features, self.irreps_heads)
        self.out = o3.Linear(self.irreps_heads, features)
        head = torch.arange(heads)
        where = [head.repeat_interleave(count * ir.dim) for count, ir in features]
        self.register_buffer("head", torch.cat(where), persistent=False)

    head: Tensor

    def forward(
        self, features: Tensor, positions: Tensor, absorbers: Tensor, pairs: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Features (A, D) of the surroundings of each absorber.

        Parameters
        ----------
        features : (n, D)
        positions : (n, 3) angstrom
        absorbers : (A,) int64
            Atoms that absorb.
        pairs : (P,) and (P,) int64
            Number of the absorber, and atom, within reach of each other; itself among them.
        """
        asking, atoms = pairs
        vectors = positions[atoms] - positions[absorbers[asking]]
        distance = (vectors.square().sum(-1) + SOFTENING**2).sqrt()
        scalars = features[:, : self.scalars]
        query = self.query(scalars[absorbers]).unflatten(-1, (self.heads, -1))
        key = self.key(scalars).unflatten(-1, (self.heads, -1))
        fits = (query[asking] * key[atoms]).sum(-1) / math.sqrt(self.scalars // self.heads)
        fits = fits + self.near(self.radial(distance))
        # The largest is taken off for the numbers' range; the result does not depend on it.
        largest = scatter(fits.detach(), asking, 0, len(absorbers), "max")
        weights = (fits - largest[asking]).exp() * smooth_cutoff(distance, self.reach).unsqueeze(-1)
        weights = weights / scatter(weights, asking, 0, len(absorbers), "sum")[asking]
        values = self.value(features)[atoms] * weights[:, self.head]
        pooled: Tensor = self.out(scatter(values, asking, 0, len(absorbers), "sum"))
        return pooled
