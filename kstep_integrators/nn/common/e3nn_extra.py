"""Door to the backbones that need the optional package e3nn."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["phase_tensor_product", "tensor_product"]


def tensor_product(*sizes: Any) -> nn.Module:
    """A :class:`kstep_integrators.nn.increments.tensor_product.TensorProduct`.

    Raises
    ------
    ImportError
        If e3nn is not installed.
    """
    try:
        from kstep_integrators.nn.increments.tensor_product import TensorProduct
    except ImportError as error:
        raise _missing(error) from error
    return TensorProduct(*sizes)


def phase_tensor_product(*sizes: Any) -> nn.Module:
    """A :class:`kstep_integrators.nn.increments.tensor_product.PhaseTensorProduct`.

    Raises
    ------
    ImportError
        If e3nn is not installed.
    """
    try:
        from kstep_integrators.nn.increments.tensor_product import PhaseTensorProduct
    except ImportError as error:
        raise _missing(error) from error
    return PhaseTensorProduct(*sizes)


def _missing(error: ImportError) -> ImportError:
    return ImportError(
        f"the backbone tensor_product needs e3nn, which cannot be imported ({error}); install it "
        "with: pip install 'kstep-integrators[e3nn]'"
    )
