"""Displacements of atoms in periodic cells: unwrapped positions, mean-square displacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy  # it loads its parts when they are first asked for, half a second of imports
from numpy.typing import ArrayLike, NDArray

__all__ = ["mean_square_displacement", "remove_drift", "unwrap_positions"]

Array = NDArray[np.float64]

LARGEST = 0.4
"""Part of a cell vector that an atom may move between two frames that are unwrapped."""


def unwrap_positions(
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: tuple[bool, bool, bool] = (True, True, True),
) -> Array:
    r"""Continuous positions from those that jump from one side of a cell to the other.

    Each displacement from one frame to the next is the smallest one in the cell of the later frame,
    which keeps diffusion right in cells that change too (von Bülow, Bullerjahn & Hummer,
    doi:10.1063/5.0008316). Positions that are continuous already stay as they are, to rounding.

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3), angstrom.
    cell : array_like
        Shape (3, 3), or (F, 3, 3) of a cell that changes; angstrom.
    pbc : (bool, bool, bool)
        Directions that are not periodic are left alone; their cell vectors may be zero.

    Returns
    -------
    numpy.ndarray
        Shape (F, N, 3), angstrom; the first frame as it was given.

    Raises
    ------
    ValueError
        If shapes do not fit, a position is not finite, a periodic cell vector is missing, or an
        atom moves by more than 0.4 of a cell vector between two frames: more than half could not
        be told from less.

    Examples
    --------
    >>> import numpy as np
    >>> wrapped = np.array([[[4.0, 0.0, 0.0]], [[0.5, 0.0, 0.0]], [[2.0, 0.0, 0.0]]])
    >>> unwrap_positions(wrapped, 5.0 * np.eye(3))[:, 0, 0].tolist()
    [4.0, 5.5, 7.0]
    """
    x, boxes = np.asarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
    if x.ndim != 3 or x.shape[2] != 3 or not len(x) or boxes.shape not in (
        (3, 3), (len(x), 3, 3)
    ):  # fmt: skip
        raise ValueError(
            f"positions and cell have shapes {x.shape} and {boxes.shape}; expected (F, N, 3), and "
            "(3, 3) or (F, 3, 3)"
        )
    if not np.isfinite(x).all():
        raise ValueError("positions are not finite; cut the trajectory before the run blew up")
    if not any(pbc) or len(x) == 1:
        return x.copy()
    later = np.broadcast_to(boxes, (len(x), 3, 3))[1:]
    to_parts = np.linalg.pinv(later * np.asarray(pbc)[:, None])
    if (np.linalg.matrix_rank(later * np.asarray(pbc)[:, None]) < sum(pbc)).any():
        raise ValueError(
            f"pbc is {tuple(pbc)} and the cell {boxes.tolist()}; a periodic direction needs a cell "
            "vector of its own"
        )
    steps = np.diff(x, axis=0)
    parts = steps @ to_parts
    whole = np.rint(parts)
    moved = np.abs(parts - whole)
    if moved.size and moved.max() > LARGEST:
        frame, atom, axis = np.unravel_index(int(moved.argmax()), moved.shape)
        raise ValueError(
            f"atom {atom} moves by {moved[frame, atom, axis]:.2f} of cell vector {axis} between "
            f"frames {frame} and {frame + 1}, expected at most {LARGEST}: more than half could not "
            "be told from less. Save frames more often"
        )
    shifts = np.concatenate([np.zeros_like(x[:1]), np.cumsum(whole @ later, axis=0)])
    return np.asarray(x - shifts)


def remove_drift(positions: ArrayLike, masses: ArrayLike) -> Array:
    """Positions without the motion of the centre of mass since the first frame.

    A cell has no walls: a small net momentum carries everything along and adds to each
    displacement, quadratically in time.

    Parameters
    ----------
    positions : array_like
        Shape (..., F, N, 3), angstrom, unwrapped.
    masses : array_like
        Shape (N,), u.

    Returns
    -------
    numpy.ndarray
        Shape (..., F, N, 3), angstrom.

    Raises
    ------
    ValueError
        If shapes do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> moving = np.arange(3.0)[:, None, None] * np.ones((1, 2, 3))
    >>> float(np.ptp(remove_drift(moving, [1.0, 16.0]), axis=0).max())
    0.0
    """
    x, m = np.asarray(positions, dtype=np.float64), np.asarray(masses, dtype=np.float64)
    if x.ndim < 3 or x.shape[-1] != 3 or m.shape != x.shape[-2:-1]:
        raise ValueError(
            f"positions and masses have shapes {x.shape} and {m.shape}; expected (..., F, N, 3) "
            "and (N,)"
        )
    centre = np.average(x, axis=-2, weights=m)[..., None, :]
    return np.asarray(x - (centre - centre[..., :1, :, :]))


def mean_square_displacement(positions: ArrayLike, axes: Sequence[int] = (0, 1, 2)) -> Array:
    r"""Mean-square displacement against the time that has gone by.

    :math:`\langle |x(t_0 + t) - x(t_0)|^2 \rangle` over atoms and all origins :math:`t_0`, by fast
    Fourier transform (Calandrini, Pellegrini, Calligari, Hinsen & Kneller,
    doi:10.1051/sfn/201112010).

    Parameters
    ----------
    positions : array_like
        Shape (F, N, 3), or (R, F, N, 3) for several runs; angstrom, unwrapped
        (:func:`unwrap_positions`) and at equal intervals. N are the atoms of one kind, or the
        centres of molecules.
    axes : sequence of int
        Cartesian directions that count; of a slab, those in its plane.

    Returns
    -------
    numpy.ndarray
        Shape (F,), angstrom^2, 0 at lag 0. Long lags have few origins.

    Raises
    ------
    ValueError
        If the shape is another, a position is not finite, or axes are not some of 0, 1, 2.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(5.0)[:, None, None]
    >>> steady = time * np.array([[[1.0, 0.0, 0.0]]])  # 1 angstrom in each frame
    >>> mean_square_displacement(steady).round(6).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]
    """
    x = np.asarray(positions, dtype=np.float64)
    if x.ndim not in (3, 4) or x.shape[-1] != 3 or not x.size:
        raise ValueError(
            f"positions have shape {x.shape}; expected (F, N, 3), or (R, F, N, 3) of several runs"
        )
    if not axes or not set(axes) <= {0, 1, 2} or len(set(axes)) != len(axes):
        raise ValueError(f"axes are {list(axes)}; expected some of 0, 1 and 2, each once")
    if not np.isfinite(x).all():
        raise ValueError("positions are not finite; cut the trajectory before the run blew up")
    frames = x.shape[-3]
    summed = np.zeros(frames)
    for run in x.reshape(-1, *x.shape[-3:]):
        for atom in np.moveaxis(run, 1, 0)[:, :, list(axes)]:
            summed += _of_series(atom - atom.mean(axis=0))
    mean = summed / (x.size // (3 * frames))
    mean[0] = 0.0  # but for rounding
    return np.asarray(np.maximum(mean, 0.0))


def _of_series(x: Array) -> Array:
    """Mean-square displacement of one point (F, D): S1 - 2 S2 of the paper."""
    frames = len(x)
    origins = np.arange(frames, 0, -1)
    size = scipy.fft.next_fast_len(2 * frames, real=True)
    power = np.abs(scipy.fft.rfft(x, size, axis=0)) ** 2
    products = scipy.fft.irfft(power, size, axis=0)[:frames].sum(axis=1)
    squares = np.square(x).sum(axis=1)
    # Sum of the squares at both ends of every pair of frames a lag apart.
    ends = 2.0 * squares.sum() - np.concatenate([[0.0], np.cumsum(squares[:-1])])
    ends -= np.concatenate([[0.0], np.cumsum(squares[:0:-1])])
    return np.asarray((ends - 2.0 * products) / origins)
