"""All settings of a fit to labels, of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kstep_training.keys import setting
from kstep_training.observables.fit.fit_settings import CouplingFitSettings, SpectrumFitSettings
from kstep_training.observables.samples.spectrum_samples import GridSettings
from kstep_training.observables.samples.split import SplitSettings

__all__ = [
    "CouplingFitStage",
    "CouplingNetworkSettings",
    "SpectrumFitStage",
    "SpectrumNetworkSettings",
]


@dataclass(frozen=True)
class CouplingNetworkSettings:
    """Sizes of the network of couplings, which checks them.

    Examples
    --------
    >>> CouplingNetworkSettings().features
    '8x0e + 1o + 2e'
    """

    layers: int = setting(6, "layers of tensor-product convolutions")
    features: str = setting("8x0e + 1o + 2e", "features of each atom, as e3nn writes them")
    lmax: int = setting(3, "highest degree of the spherical harmonics")
    radial: int = setting(50, "radial Bessel functions")
    cutoff: float = setting(12.0, "distance up to which atoms see each other", "angstrom")
    learned_frequencies: bool = setting(
        False, "whether the frequencies of the radial functions are learned"
    )
    attributes: int = setting(16, "scalars that describe an atom")
    hidden: int = setting(32, "width of the small networks of distances and populations")
    field_node: bool = setting(
        True, "whether a node at the centre carries the dimer's dipole and quadrupole"
    )
    cheap_input: bool = setting(
        True, "whether scalars of the dimer have the cheap coupling among them"
    )
    orbital_pairs: bool = setting(
        True,
        "whether the correction is a sum over pairs of atoms that sees the orbitals, rather than "
        "made from the mean over the atoms and scalars of the dimer",
    )


@dataclass(frozen=True)
class CouplingFitStage:
    """All settings of a fit to couplings.

    Raises
    ------
    ValueError
        If magnitudes are to be learned from the orbitals.

    Examples
    --------
    >>> CouplingFitStage().name
    'couplings'
    """

    name: str = setting("couplings", "name of the file that is written")
    twin: bool = setting(
        False,
        "whether a second network, which knows no cheap coupling, is fitted the same way for "
        "comparison",
    )
    magnitude: bool = setting(
        False,
        "whether only the magnitude of the reference is learned, to which the cheap coupling gives "
        "the sign; needs network.orbital_pairs=false",
    )
    split: SplitSettings = field(default_factory=SplitSettings)
    network: CouplingNetworkSettings = field(default_factory=CouplingNetworkSettings)
    fit: CouplingFitSettings = field(default_factory=CouplingFitSettings)

    def __post_init__(self) -> None:
        if self.magnitude and self.network.orbital_pairs:
            raise ValueError(
                "magnitude is true and network.orbital_pairs is true, but terms of orbitals have "
                "signs: set magnitude=false, or network.orbital_pairs=false"
            )


@dataclass(frozen=True)
class SpectrumNetworkSettings:
    """Sizes of the network of spectra, which checks them.

    Examples
    --------
    >>> SpectrumNetworkSettings().pooling
    'attention'
    """

    layers: int = setting(3, "layers of tensor-product convolutions")
    features: str = setting("32x0e + 16x1o + 8x2e", "features of each atom, as e3nn writes them")
    lmax: int = setting(2, "highest degree of the spherical harmonics")
    radial: int = setting(16, "radial Bessel functions")
    cutoff: float = setting(5.0, "distance up to which atoms see each other", "angstrom")
    hidden: int = setting(64, "width of the small networks")
    widths: list[float] = setting(
        [0.25, 0.5, 1.0, 2.0],
        "standard deviations of the Gaussians that make a spectrum; the smallest has to be below "
        "that of its lines, 0.42 of their width at half maximum",
        "eV",
    )
    largest_shift: float = setting(2.0, "by which each Gaussian of a spectrum moves at most", "eV")
    pooling: str = setting(
        "attention", "what a spectrum is read from besides the absorber: attention, absorber, mean"
    )
    heads: int = setting(4, "heads of the attention, a divisor of the number of scalars")
    reach: float = setting(8.0, "reach of the attention", "angstrom")
    norms: bool = setting(True, "whether spectra are read from norms of vectors and tensors too")
    scalar_only: bool = setting(False, "whether vectors and tensors are left out altogether")


@dataclass(frozen=True)
class SpectrumFitStage:
    """All settings of a fit to spectra.

    Raises
    ------
    ValueError
        If no Gaussian of the network is as narrow as the lines that it is to make.

    Examples
    --------
    >>> SpectrumFitStage().name
    'xanes'
    """

    name: str = setting("xanes", "name of the file that is written")
    twin: bool = setting(
        False, "whether a second network, of scalars only, is fitted the same way for comparison"
    )
    split: SplitSettings = field(default_factory=SplitSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    network: SpectrumNetworkSettings = field(default_factory=SpectrumNetworkSettings)
    fit: SpectrumFitSettings = field(default_factory=SpectrumFitSettings)

    def __post_init__(self) -> None:
        deviation = self.grid.lines.smallest_deviation
        smallest = min(self.network.widths, default=np.inf)
        if not smallest < deviation:
            raise ValueError(
                f"network.widths are {self.network.widths}, and grid.gaussian and grid.lorentzian "
                f"make lines of the standard deviation {deviation:.3g} eV: wider Gaussians cannot "
                "make them; expected a width below that"
            )
