"""Softmax over neighbours."""

import numpy as np
import pytest
import torch

from kstep_integrators.nn.common.attention import smooth_softmax


def test_attention_is_smooth_and_leaves_nothing_undefined():
    logits = torch.tensor([[1.0, 2.0, 800.0], [700.0, -800.0, 3.0]], dtype=torch.float64)
    envelope = torch.tensor([[1.0, 0.5, 0.0], [1e-300, 1.0, 1.0]], dtype=torch.float64)
    weights = smooth_softmax(logits, envelope)
    e = np.exp([1.0, 2.0])
    total = 1 + e[0] + 0.5 * e[1]
    assert weights[0].tolist() == pytest.approx([e[0] / total, 0.5 * e[1] / total, 0.0])
    assert weights.isfinite().all()
    assert (smooth_softmax(logits, 0 * envelope) == 0).all()
