r"""Filters: how much of a force acts on a mode, by the mode's phase over a stride.

A filter is a function of :math:`x = \omega h` that falls from 1 for slow modes to 0 for stiff ones.
García-Archilla, Sanz-Serna & Skeel, SIAM J. Sci. Comput. 20, 930 (1999),
doi:10.1137/S1064827596313851; Hairer, Lubich & Wanner, Geometric Numerical Integration, ch. XIII.
Impulses resonate with a mode at :math:`x = \pi`: what matters is how small a filter is there.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["FILTERS", "Filter", "octic", "quartic"]

Filter = Callable[[Tensor], Tensor]
"""x = w h, of any shape, not negative -> values in [0, 1]."""


def quartic(x: Tensor) -> Tensor:
    """1 / (1 + (x / 1.5)^4): 0.05 at the resonance.

    Parameters
    ----------
    x : Tensor
        Frequency times stride, dimensionless, not negative.
    """
    return 1.0 / (1.0 + (x / 1.5) ** 4)


def octic(x: Tensor) -> Tensor:
    """1 / (1 + (x / 1.2)^8): flatter for slow modes, 0.0005 at the resonance.

    Parameters
    ----------
    x : Tensor
        Frequency times stride, dimensionless, not negative.
    """
    return 1.0 / (1.0 + (x / 1.2) ** 8)


FILTERS: dict[str, Filter] = {"octic": octic, "quartic": quartic}
"""Filters by name."""
