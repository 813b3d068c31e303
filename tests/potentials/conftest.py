"""TorchScript as it is without torch_geometric, which other tests may have imported."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def own_index_select(monkeypatch):
    """torch_geometric puts a function in its place that TorchScript cannot compile."""
    monkeypatch.setattr(torch, "index_select", torch._C._VariableFunctions.index_select)
