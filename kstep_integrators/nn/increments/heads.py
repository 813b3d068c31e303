"""First and last layers of an increment network: vectors of the inputs, and of the increments."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VectorInputs", "VectorReadout"]


class VectorInputs(nn.Module):
    """Vector features to begin with, weighted by the scalars of the atom.

    The first half of the channels is given forces, the second velocities.

    Parameters
    ----------
    channels : int
        Width F, even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixed = nn.Parameter(torch.randn(2, channels))
        self.gate = nn.Linear(channels, 2 * channels)
        nn.init.normal_(self.gate.weight, std=0.3 * channels**-0.5)
        nn.init.zeros_(self.gate.bias)

    def forward(self, s: Tensor, given: Tensor) -> Tensor:
        """Map scalars (B, N, F) and given vectors (B, N, 3, 4) to vectors (B, N, 3, F)."""
        velocities, forces = given[..., :2], given[..., 2:]
        half = self.mixed.shape[1] // 2
        gate = 0.7 * self.mixed + self.gate(s).unflatten(-1, self.mixed.shape)
        first, second = gate[..., :half], gate[..., half:]
        return torch.cat([forces @ first, velocities @ second], dim=-1)


class VectorReadout(nn.Module):
    """Vector outputs: gated internal vectors, and the given ones.

    Parameters
    ----------
    channels, outputs : int
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.hidden = nn.Linear(2 * channels, channels)
        self.gate = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, outputs, bias=False)
        self.own = nn.Linear(channels, 4 * outputs)
        # An untrained network adds next to nothing to the baseline.
        for weight in (self.out.weight, self.own.weight, self.own.bias):
            nn.init.normal_(weight, std=1e-3)

    def forward(self, s: Tensor, features: Tensor, vectors: Tensor, given: Tensor) -> Tensor:
        """Vectors (B, N, 3, outputs).

        Parameters
        ----------
        s, features : (B, N, F)
            Scalars before and after the layers.
        vectors : (B, N, 3, F)
            After the layers.
        given : (B, N, 3, 4)
        """
        hidden = functional.silu(self.hidden(torch.cat([s, features], dim=-1)))
        own = self.own(hidden).unflatten(-1, (4, self.outputs))
        total: Tensor = self.out(self.gate(hidden).unsqueeze(-2) * vectors) + given @ own
        return total
