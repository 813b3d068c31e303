"""Couplings by projection of the molecules' orbitals on those of their dimer (DIPRO).

Baumeier, Kirkpatrick and Andrienko, doi:10.1039/c002337j.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kstep_integrators.observables.couplings.orbitals import Array, Orbitals, check_carrier, root

__all__ = ["Chosen", "Coupling", "Mixture", "dipro", "participation"]


@dataclass(frozen=True)
class Chosen:
    """An orbital, and the sign that it is taken with."""

    index: int
    sign: float

    def weights(self, count: int) -> Array:
        """Amplitudes (count,) of as many orbitals in it: those of itself alone."""
        return np.asarray(self.sign * np.eye(1, count, self.index)[0])


@dataclass(frozen=True)
class Mixture:
    """A normalized mixture of a molecule's orbitals.

    Attributes
    ----------
    amplitudes : (m,) float64
        Of all orbitals.
    """

    amplitudes: Array

    def weights(self, count: int) -> Array:
        """Amplitudes (count,) of as many orbitals, all that there are."""
        if len(self.amplitudes) != count:
            raise ValueError(
                f"a mixture has {len(self.amplitudes)} amplitudes, expected one for each of "
                f"{count} orbitals"
            )
        return self.amplitudes


@dataclass(frozen=True)
class Coupling:
    """Electronic coupling of two orbitals, one of each molecule of a dimer.

    Attributes
    ----------
    value : float
        Coupling of the orthogonalized orbitals, eV. Its sign is that of the orbitals' phases.
    transfer : float
        Transfer integral <A|F|B> of the orbitals as they are, eV.
    overlap : float
        <A|B>.
    site_energies : tuple of two floats
        <A|F|A> and <B|F|B> in the dimer, eV.

    Examples
    --------
    >>> Coupling(value=-0.2, transfer=-0.5, overlap=0.03, site_energies=(-10.0, -10.0)).value
    -0.2
    """

    value: float
    transfer: float
    overlap: float
    site_energies: tuple[float, float]

    @property
    def positive(self) -> Coupling:
        """The same coupling with the phases chosen such that its value is not negative."""
        if self.value >= 0.0:
            return self
        return replace(self, value=-self.value, transfer=-self.transfer, overlap=-self.overlap)


def dipro(
    first: Orbitals,
    second: Orbitals,
    dimer: Orbitals,
    carrier: str = "hole",
    chosen: tuple[Chosen | Mixture, Chosen | Mixture] | None = None,
) -> Coupling:
    r"""Coupling by projection of the molecules' orbitals on those of the dimer.

    With the projections y_A = C_A S C_AB and y_B of the molecules' orbitals, and the energies E of
    the dimer's, J = y_A E y_B, e_A = y_A E y_A, s = y_A y_B, and in orthogonalized orbitals

    .. math:: V = \frac{J - \frac12 (e_A + e_B) s}{1 - s^2}

    Parameters
    ----------
    first, second : Orbitals
        Of the molecules, each alone as it is in the dimer.
    dimer : Orbitals
        In the basis functions of ``first``, followed by those of ``second``.
    carrier : str
        ``"hole"`` for the highest occupied orbitals, ``"electron"`` for the lowest empty ones.
    chosen : tuple of two Chosen or Mixture, optional
        Other orbitals than these, with their signs, or mixtures of orbitals.

    Raises
    ------
    ValueError
        If the carrier is unknown, the bases do not belong together, or the two orbitals are the
        same to within rounding.

    Notes
    -----
    doi:10.1039/c002337j, equations 2 to 6; the effective coupling is that of Loewdin's
    orthogonalized pair of orbitals.

    Examples
    --------
    Two sites of one function each, -10 eV, with <A|F|B> = -2 eV and no overlap:

    >>> import numpy as np
    >>> def site(fock):
    ...     energies, vectors = np.linalg.eigh(np.array(fock))
    ...     n = len(energies)
    ...     return Orbitals(vectors, energies, 1, np.eye(n), np.arange(n), np.zeros((n, 4, n)))
    >>> pair = site([[-10.0, -2.0], [-2.0, -10.0]])
    >>> round(dipro(site([[-10.0]]), site([[-10.0]]), pair).value, 9)
    -2.0
    """
    check_carrier(carrier)
    split = len(first.overlap)
    if split + len(second.overlap) != len(dimer.overlap):
        raise ValueError(
            f"the molecules have {split} and {len(second.overlap)} basis functions and their dimer "
            f"has {len(dimer.overlap)}, expected their sum; compute all three in one basis"
        )
    if chosen is None:
        chosen = Chosen(first.frontier(carrier), 1.0), Chosen(second.frontier(carrier), 1.0)
    one, other = chosen
    projected = dimer.overlap @ dimer.coefficients
    a = first.coefficients @ one.weights(len(first.energies)) @ projected[:split]
    b = second.coefficients @ other.weights(len(second.energies)) @ projected[split:]
    transfer = float(a @ (dimer.energies * b))
    sites = float(a @ (dimer.energies * a)), float(b @ (dimer.energies * b))
    overlap = float(a @ b)
    if abs(overlap) > 1.0 - 1e-9:
        raise ValueError(
            f"the orbitals of the two molecules have the overlap {overlap:.9f}, expected less than "
            "1: the molecules lie in the same place"
        )
    value = (transfer - 0.5 * (sites[0] + sites[1]) * overlap) / (1.0 - overlap * overlap)
    return Coupling(value, transfer, overlap, sites)


def participation(dimer: Orbitals, atoms_of_first: int, carrier: str = "hole") -> float:
    """Number of molecules that the dimer's frontier orbital is spread over.

    1 / (p_A^2 + p_B^2), where p_A + p_B = 1 are shares of the molecules in the dimer's highest
    occupied (hole) or lowest empty (electron) orbital, by Loewdin populations: 1 for an orbital on
    one molecule, 2 for one on both in equal parts.

    Parameters
    ----------
    dimer : Orbitals
        Atoms of the first molecule first.
    atoms_of_first : int
    carrier : str
    """
    vector = root(dimer.overlap) @ dimer.coefficients[:, dimer.frontier(carrier)]
    share = float(np.sum(vector[dimer.atom < atoms_of_first] ** 2)) / float(np.sum(vector**2))
    return 1.0 / (share**2 + (1.0 - share) ** 2)
