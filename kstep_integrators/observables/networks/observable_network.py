"""The common part of networks of observables: elements, arguments, exact constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from ase.data import chemical_symbols
from e3nn import o3
from torch import Tensor, nn

from kstep_integrators.arguments import positive_integer
from kstep_integrators.nn.common.graph import species_table
from kstep_integrators.nn.common.tensor_products import exact_constants

__all__ = ["ObservableNetwork", "feature_irreps", "invariants", "perceptron"]

SHORTEST = 1e-3
"""Features are of order one; below this length, the norm of one is a parabola."""


class ObservableNetwork(nn.Module):
    """A network of atoms of known elements, that can be made again from its arguments.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the network knows.
    config : dict
        Arguments that the network is made of, as JSON has them.

    Raises
    ------
    ValueError
        If there are no elements, or one stands there twice.
    """

    table: Tensor

    def __init__(self, elements: Sequence[int], config: dict[str, Any]) -> None:
        super().__init__()
        known = [positive_integer("an entry of elements", z, "atomic number") for z in elements]
        if not known or len(set(known)) != len(known):
            raise ValueError(
                f"elements are {list(elements)}, expected atomic numbers, each of them once"
            )
        self.elements = known
        self.config = {"elements": known, **config}
        self.register_buffer("table", species_table(known), persistent=False)
        self._constants: list[tuple[nn.Module, str, Tensor]] = []

    @contextmanager
    def exact_parts(self) -> Iterator[None]:
        """Make parts inside whose constants stay those of float64, whatever the network becomes.

        Rounded to float32 on the way to float64, they would limit its equivariance to 1e-8.
        """
        with exact_constants(self):
            yield
        for part in self.modules():
            for name, constant in part.named_buffers(recurse=False):
                if constant.is_floating_point():
                    self._constants.append((part, name, constant.clone()))
        self.float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ObservableNetwork:
        """Move or convert the network, its constants from the exact ones."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for part, name, exact in self._constants:
            setattr(part, name, exact.to(part.get_buffer(name)))
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the network computes in."""
        return next(self.parameters()).dtype

    def species(self, numbers: Tensor) -> Tensor:
        """Index of each atom's element, (n,) int64.

        Raises
        ------
        ValueError
            If an element is not one of those that the network knows.
        """
        index = self.table[numbers]
        if bool((index < 0).any()):
            strange = sorted({chemical_symbols[z] for z in numbers[index < 0].tolist()})
            known = [chemical_symbols[z] for z in self.elements]
            raise ValueError(
                f"the structure has atoms of {', '.join(strange)}, expected those of the elements "
                f"that the network knows: {', '.join(known)}"
            )
        return index


def feature_irreps(features: str) -> o3.Irreps:
    """Irreps of features, checked.

    Raises
    ------
    ValueError
        If they are no irreps, have no scalars, or one whose parity vectors of positions lack.

    Examples
    --------
    >>> feature_irreps("8x0e + 1o")
    8x0e+1x1o
    """
    expected = "expected irreps such as '8x0e + 1o + 2e', of parity (-1)^l, with scalars"
    try:
        irreps = o3.Irreps(features)
    except ValueError as error:
        raise ValueError(f"features are {features!r}, {expected}") from error
    natural = all(one.ir.p == (-1) ** one.ir.l for one in irreps)
    if not natural or irreps.count("0e") == 0:
        raise ValueError(f"features are {features!r}, {expected}")
    return irreps.regroup()


def invariants(features: Tensor, irreps: o3.Irreps, norms: bool = True) -> Tensor:
    """Scalars of features, and norms of all others, with a gradient where they are zero.

    Parameters
    ----------
    features : (n, D)
    irreps : e3nn.o3.Irreps
        Scalars first.
    norms : bool
        Whether norms are among them.

    Returns
    -------
    (n, I) Tensor

    Examples
    --------
    >>> import torch
    >>> from e3nn import o3
    >>> invariants(torch.tensor([[2.0, 0.0, 3.0, 4.0]]), o3.Irreps("0e + 1o"))
    tensor([[2.0000, 4.9990]])
    """
    parts = []
    for (count, ir), where in zip(irreps, irreps.slices(), strict=True):
        block = features[:, where]
        if ir.l == 0:
            parts.append(block)
        elif norms:
            squares = block.reshape(-1, count, ir.dim).square().sum(-1)
            parts.append((squares + SHORTEST**2).sqrt() - SHORTEST)
    return torch.cat(parts, dim=-1)


def perceptron(*widths: int) -> nn.Sequential:
    """MLP with SiLU between its layers, whose last one starts at zero.

    Parameters
    ----------
    *widths : int
        Of input, hidden layers and output.
    """
    layers: list[nn.Module] = []
    for given, made in pairwise(widths):
        layers += [nn.Linear(given, made), nn.SiLU()]
    for weights in layers[-2].parameters():
        nn.init.zeros_(weights)
    return nn.Sequential(*layers[:-1])
