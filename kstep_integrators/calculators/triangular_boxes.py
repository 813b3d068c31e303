"""Cells as OpenMM takes them: triangular, reduced, and the rotation that leads there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase.geometry import minkowski_reduce

__all__ = ["triangular_box"]

Array = npt.NDArray[np.float64]

_FLAT = 1e-9
"""Volume of a cell over the product of its edges, below which it is none."""


def triangular_box(cell: Array) -> tuple[Array, Array | None]:
    """Box of OpenMM with the lattice of a cell, and the rotation into it.

    OpenMM wants a along x, b in the xy plane, c above it, and no vector that is shorter with
    another one added (its *reduced form*). The lattice stays the same: other vectors span it, where
    those given are skewed or left-handed, and nothing is ever reflected.

    Parameters
    ----------
    cell : (3, 3)
        Vectors in rows, of any orientation and handedness.

    Returns
    -------
    box : (3, 3)
        Vectors in rows.
    rotation : (3, 3) or None
        Positions (rows) times it are those in the box, and forces there times its transpose are
        those in the cell. None for a cell that OpenMM takes as it is.

    Raises
    ------
    ValueError
        If the vectors span no volume.

    Examples
    --------
    >>> box, rotation = triangular_box(np.array([[0.0, 2, 0], [3, 0, 0], [0, 0, 4]]))
    >>> np.diag(box).tolist(), round(float(np.linalg.det(rotation)), 12)
    ([2.0, 3.0, 4.0], 1.0)
    """
    given = np.array(cell, dtype=np.float64)
    if not abs(np.linalg.det(given)) > _FLAT * np.prod(np.linalg.norm(given, axis=1)):
        raise ValueError(
            f"the cell {given.tolist()} spans no volume; a periodic System needs three vectors "
            "that do: atoms.set_cell(...)"
        )
    if _is_triangular(given) and _is_reduced(given):
        return given, None
    box, rotation = _rotated(given)
    if not _is_reduced(box):
        box, rotation = _rotated(np.asarray(minkowski_reduce(given)[0], dtype=np.float64))
        box = _reduced(box)
    return box, rotation


def _is_triangular(box: Array) -> bool:
    return not np.triu(box, 1).any() and bool((np.diag(box) > 0.0).all())


def _is_reduced(box: Array) -> bool:
    (ax, _, _), (bx, by, _), (cx, cy, _) = box
    return bool(2.0 * abs(bx) <= ax and 2.0 * abs(cx) <= ax and 2.0 * abs(cy) <= by)


def _rotated(vectors: Array) -> tuple[Array, Array]:
    """Vectors, or those with the third one turned round if they are left-handed, and a rotation."""
    right = vectors * [[1.0], [1.0], [np.sign(np.linalg.det(vectors))]]
    q, r = np.linalg.qr(right.T)
    signs = np.sign(np.diag(r))
    return np.tril((r * signs[:, None]).T), q * signs


def _reduced(box: Array) -> Array:
    """The reduced form: c less multiples of b and a, b less multiples of a."""
    a, b, c = box.copy()
    c -= b * np.rint(c[1] / b[1])
    c -= a * np.rint(c[0] / a[0])
    b -= a * np.rint(b[0] / a[0])
    # Halves, but for rounding: OpenMM takes them exact.
    b[0], c[0] = np.clip([b[0], c[0]], -0.5 * a[0], 0.5 * a[0])
    c[1] = np.clip(c[1], -0.5 * b[1], 0.5 * b[1])
    return np.stack([a, b, c])
