"""Vibrational spectra: density of states, its peaks, overlap and shift of two spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # it loads its parts when they are first asked for, half a second of imports
from numpy.typing import ArrayLike, NDArray

from kstep_integrators.units import INVERSE_CM

__all__ = [
    "Spectrum",
    "peak_shift",
    "spectral_overlap",
    "spectral_peaks",
    "vibrational_density",
]

Array = NDArray[np.float64]

_PADDING = 8
"""Grid points in one resolution: neighbouring points say where between them a peak is."""


@dataclass(frozen=True)
class Spectrum:
    """A density over wavenumbers.

    Attributes
    ----------
    wavenumbers : (K,)
        cm^-1, from 0 at equal distances.
    density : (K,)
        cm, not negative; its integral is 1.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.arange(0.0, 2000.0, 2.0)
    >>> first, second = (
    ...     Spectrum(grid, np.exp(-(((grid - at) / 20.0) ** 2)) / (20.0 * np.sqrt(np.pi)))
    ...     for at in (1000.0, 1010.0)
    ... )
    >>> first.spacing, round(float(first.density.sum() * first.spacing), 6)
    (2.0, 1.0)
    """

    wavenumbers: Array
    density: Array

    @property
    def spacing(self) -> float:
        """Distance of two wavenumbers, cm^-1."""
        return float(self.wavenumbers[1] - self.wavenumbers[0])


def vibrational_density(
    momenta: ArrayLike, masses: ArrayLike, interval: float, resolution: float = 10.0
) -> Spectrum:
    r"""Vibrational density of states: the spectrum of the mass-weighted velocities.

    :math:`g(\nu) \propto \sum_i |\int p_i(t) m_i^{-1/2} e^{-2 \pi i c \nu t} dt|^2`, which is the
    Fourier transform of :math:`\sum_i m_i \langle v_i(0) v_i(t) \rangle` (Berens, Mackay, White &
    Wilson, doi:10.1063/1.446044). Averaged over overlapping segments with a Hann window (Welch,
    doi:10.1109/TAU.1967.1161901). Molecules that turn or fly have that in their spectrum. Times the
    degrees of freedom (3N - 6 of a molecule, 3N - 3 of a periodic system at no net momentum), the
    integral over a band is the number of modes in it, as far as the energy is spread evenly. Only
    momenta enter, so that wrapped positions make no difference.

    Parameters
    ----------
    momenta : array_like
        Shape (F, N, 3), ASE units, at equal intervals. **Faster vibrations than half the sampling
        rate are folded back**: an interval of 2 fs sees up to 8339 cm^-1, one of 8 fs up to 2085
        cm^-1, too little for X-H stretches.
    masses : array_like
        Shape (N,), u.
    interval : float
        Between frames, ASE time units.
    resolution : float
        cm^-1; the finer, the longer the segments and the fewer of them.

    Returns
    -------
    Spectrum

    Raises
    ------
    ValueError
        If shapes do not belong together, a momentum is not finite, all are zero, or the run is
        shorter than one segment.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import units
    >>> from kstep_integrators.units import INVERSE_CM
    >>> time = np.arange(4000) * units.fs
    >>> momenta = np.zeros((4000, 1, 3))
    >>> momenta[:, 0, 0] = np.cos(2.0 * np.pi * 1500.0 * INVERSE_CM * time)
    >>> spectrum = vibrational_density(momenta, [1.0], interval=units.fs, resolution=20.0)
    >>> spectral_peaks(spectrum).round().tolist()
    [1500.0]
    """
    p = np.asarray(momenta, dtype=np.float64)
    m = np.asarray(masses, dtype=np.float64)
    if p.ndim != 3 or p.shape[2] != 3 or m.shape != p.shape[1:2] or not len(p):
        raise ValueError(
            f"momenta and masses have shapes {p.shape} and {m.shape}; expected (F, N, 3) and (N,)"
        )
    if not (interval > 0.0 and resolution > 0.0):
        raise ValueError(
            f"interval is {interval} and resolution {resolution}; both must be positive"
        )
    bad = np.flatnonzero(~np.isfinite(p).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(f"the momenta of frame {bad[0]} are not finite; expected finite numbers")
    segment = round(1.0 / (resolution * INVERSE_CM * interval))
    if len(p) < segment or segment < 2:
        finest = 1.0 / (len(p) * interval * INVERSE_CM)
        raise ValueError(
            f"a resolution of {resolution} cm^-1 needs segments of {segment} frames, there are "
            f"{len(p)}; the run allows {finest:.1f} cm^-1 and coarser, as far as the interval does"
        )
    frequencies, power = scipy.signal.welch(
        p / np.sqrt(m)[:, None],
        fs=1.0 / interval,
        window="hann",
        nperseg=segment,
        nfft=_PADDING * segment,
        detrend=False,
        axis=0,
    )
    density = power.sum(axis=(1, 2))
    wavenumbers = frequencies / INVERSE_CM
    total = float(density.sum() * (wavenumbers[1] - wavenumbers[0]))
    if total == 0.0:
        raise ValueError("all momenta are zero; nothing vibrates")
    return Spectrum(wavenumbers, density / total)


def _vertex(left: float, middle: float, right: float) -> float:
    """Maximum of the parabola through three equidistant points, in steps from the middle."""
    curvature = left - 2.0 * middle + right
    return 0.0 if curvature == 0.0 else 0.5 * (left - right) / curvature


def spectral_peaks(spectrum: Spectrum, prominence: float = 0.05) -> Array:
    """Wavenumbers of the peaks, between grid points by a parabola.

    Parameters
    ----------
    spectrum : Spectrum
    prominence : float
        Height of a peak above its surroundings, in parts of the highest.

    Returns
    -------
    numpy.ndarray
        Shape (P,), cm^-1, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.arange(0.0, 2000.0, 2.0)
    >>> first, second = (
    ...     Spectrum(grid, np.exp(-(((grid - at) / 20.0) ** 2)) / (20.0 * np.sqrt(np.pi)))
    ...     for at in (1000.0, 1010.0)
    ... )
    >>> spectral_peaks(second).round(3).tolist()
    [1010.0]
    """
    y = spectrum.density
    peaks, _ = scipy.signal.find_peaks(y, prominence=prominence * float(y.max()))
    offsets = [_vertex(*y[i - 1 : i + 2]) for i in peaks]
    return np.asarray(spectrum.spacing * (peaks + np.array(offsets)))


def _check_grids(first: Spectrum, second: Spectrum) -> None:
    if first.wavenumbers.shape != second.wavenumbers.shape or not np.allclose(
        first.wavenumbers, second.wavenumbers
    ):
        grids = [f"{len(s.wavenumbers)} points {s.spacing:g} apart" for s in (first, second)]
        raise ValueError(
            f"the spectra have different wavenumbers ({grids[0]}, {grids[1]} cm^-1); make both "
            "with the same interval and resolution"
        )


def spectral_overlap(first: Spectrum, second: Spectrum) -> float:
    """Area that two spectra share, 0 to 1: the integral of the smaller of both.

    Parameters
    ----------
    first, second : Spectrum

    Raises
    ------
    ValueError
        If their wavenumbers differ.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.arange(0.0, 2000.0, 2.0)
    >>> first, second = (
    ...     Spectrum(grid, np.exp(-(((grid - at) / 20.0) ** 2)) / (20.0 * np.sqrt(np.pi)))
    ...     for at in (1000.0, 1010.0)
    ... )
    >>> round(spectral_overlap(first, first), 3), round(spectral_overlap(first, second), 2)
    (1.0, 0.72)
    """
    _check_grids(first, second)
    return float(np.minimum(first.density, second.density).sum() * first.spacing)


def peak_shift(
    reference: Spectrum, spectrum: Spectrum, low: float, high: float, limit: float = 200.0
) -> float:
    """Shift of the peaks of a band against those of a reference.

    The shift at which the spectrum correlates best with the band of the reference. Peaks are not
    matched one by one: which is higher changes with how the energy is spread over the modes, and
    that hardly moves the maximum of the correlation.

    Parameters
    ----------
    reference, spectrum : Spectrum
    low, high : float
        The band in the reference, cm^-1.
    limit : float
        Largest shift to look for, cm^-1.

    Returns
    -------
    float
        cm^-1; positive if the spectrum is shifted to larger wavenumbers.

    Raises
    ------
    ValueError
        If the wavenumbers of the spectra differ, the band is empty, either spectrum has nothing
        there, or no shift within the limit is better than its neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.arange(0.0, 2000.0, 2.0)
    >>> first, second = (
    ...     Spectrum(grid, np.exp(-(((grid - at) / 20.0) ** 2)) / (20.0 * np.sqrt(np.pi)))
    ...     for at in (1000.0, 1010.0)
    ... )
    >>> round(peak_shift(first, second, low=900.0, high=1100.0), 1)
    10.0
    """
    _check_grids(reference, spectrum)
    chosen = (reference.wavenumbers >= low) & (reference.wavenumbers <= high)
    reach = round(limit / reference.spacing)
    if not chosen.any() or reach < 1:
        raise ValueError(
            f"no wavenumber between {low} and {high} cm^-1, or a limit of {limit} cm^-1 below the "
            f"spacing of {reference.spacing:g} cm^-1"
        )
    band = reference.density[chosen]
    begin = int(np.flatnonzero(chosen)[0])
    padded = np.pad(spectrum.density, reach)[begin : begin + len(band) + 2 * reach]
    norms = np.convolve(padded**2, np.ones(len(band)), mode="valid")
    if not (band.any() and norms.all()):
        raise ValueError(f"a spectrum has no density between {low} and {high} cm^-1")
    likeness = np.correlate(padded, band, mode="valid") / np.sqrt(norms)
    best = int(likeness.argmax())
    if best in (0, 2 * reach):
        raise ValueError(
            f"the spectra are most alike at a shift of {limit} cm^-1 or more; raise the limit or "
            "choose another band"
        )
    return float(reference.spacing * (best - reach + _vertex(*likeness[best - 1 : best + 2])))
