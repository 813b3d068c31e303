"""Softmax over neighbours that is smooth where they enter and leave the cutoff."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["smooth_softmax"]


def smooth_softmax(logits: Tensor, envelope: Tensor) -> Tensor:
    r"""Smooth attention weights :math:`c_{ij} e^{l_{ij}} / (1 + \sum_k c_{ik} e^{l_{ik}})`.

    With an envelope c of three continuous derivatives the weights have them too, which those of a
    masked softmax have not. The 1 lets an atom attend to nothing, so that one whose last neighbour
    leaves stays finite.

    Parameters
    ----------
    logits : (..., K)
    envelope : Tensor broadcastable to it
        In [0, 1]; zero for empty slots.
    """
    inside = torch.where(envelope > 0, logits, torch.zeros_like(logits))
    # The result does not depend on the shift, nor do any of its derivatives.
    shift = inside.detach().amax(-1, keepdim=True).clamp(min=0.0)
    weights = envelope * torch.exp(inside - shift)
    return weights / (torch.exp(-shift) + weights.sum(-1, keepdim=True))
