"""DIPRO against the documentation of xtb, energy splittings, and the Fock matrix of the dimer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from kstep_integrators.observables.couplings import Coupling, dimer_coupling, dipro
from kstep_integrators.observables.couplings.dimer import as_dimer
from kstep_integrators.observables.couplings.dipro import Chosen, participation
from kstep_integrators.observables.couplings.orbitals import Orbitals
from kstep_integrators.observables.couplings.pyscf_orbitals import mean_field
from kstep_integrators.observables.couplings.tblite_orbitals import tight_binding
from tests.observables.couplings.dimers import askew, cofacial, xtb_example


def sites(fock: list[list[float]], overlap: list[list[float]] | None = None) -> Orbitals:
    """Orbitals of sites with one function each."""
    from scipy.linalg import eigh

    count = len(fock)
    metric = np.eye(count) if overlap is None else np.array(overlap)
    energies, vectors = eigh(np.array(fock), metric)
    return Orbitals(vectors, energies, 1, metric, np.arange(count), np.zeros((count, 4, count)))


def test_two_sites_by_hand() -> None:
    e, f, j, s = -9.0, -10.0, -2.0, 0.1
    pair = sites([[e, j], [j, f]], [[1.0, s], [s, 1.0]])
    found = dipro(sites([[e]]), sites([[f]]), pair)
    assert found.transfer == pytest.approx(j, abs=1e-12)
    assert found.overlap == pytest.approx(s, abs=1e-12)
    assert found.site_energies == pytest.approx((e, f), abs=1e-12)
    assert found.value == pytest.approx((j - 0.5 * (e + f) * s) / (1 - s * s), abs=1e-12)


def test_xtb_documentation() -> None:
    """Every number of the printed output: https://xtb-docs.readthedocs.io/en/latest/dipro.html."""
    dimer = as_dimer(xtb_example())
    parts = dimer.first, dimer.second, dimer.joined
    nitrobenzene, benzene, both = (tight_binding(part, "GFN1-xTB").orbitals for part in parts)

    def between(first: int, second: int) -> Coupling:
        pair = Chosen(nitrobenzene.occupied + first, 1.0), Chosen(benzene.occupied + second, 1.0)
        return dipro(nitrobenzene, benzene, both, chosen=pair)

    def printed(coupling: Coupling) -> tuple[float, ...]:
        return (*coupling.site_energies, abs(coupling.transfer), abs(coupling.value))

    def output(*numbers: float) -> object:
        # Three digits, of a looser self-consistency than ours.
        return pytest.approx(numbers, abs=8e-4)

    homo, homo_1, lumo, lumo_1 = -1, -2, 0, 1
    assert printed(between(homo, homo)) == output(-12.966, -12.099, 0.238, 0.113)
    assert printed(between(homo, homo_1)) == output(-12.966, -12.094, 0.001, 0.0)
    assert printed(between(homo, lumo)) == output(-12.966, -7.366, 0.002, 0.001)
    assert printed(between(homo, lumo_1)) == output(-12.966, -7.361, 0.0, 0.0)
    assert printed(between(lumo, homo_1)) == output(-9.417, -12.094, 0.035, 0.019)
    assert abs(between(homo, homo).overlap) == pytest.approx(0.00998928, abs=2e-7)
    assert abs(between(lumo, homo_1).overlap) == pytest.approx(0.00153946, abs=2e-7)
    holes = np.hypot(between(homo, homo).value, between(homo, homo_1).value)
    electrons = np.hypot(between(lumo, lumo).value, between(lumo, lumo_1).value)
    assert (round(holes, 3), round(electrons, 3)) == (0.113, 0.062)


@pytest.mark.parametrize("distance", [3.5, 5.0])
@pytest.mark.parametrize("method", ["GFN2-xTB", "HF/sto-3g"])
def test_half_the_splitting_of_a_symmetric_dimer(method: str, distance: float) -> None:
    """Alike molecules share their orbitals alike: the levels split by twice the coupling."""
    atoms = cofacial(distance)
    dimer = as_dimer(atoms)
    if method == "GFN2-xTB":
        orbitals = tight_binding(dimer.joined).orbitals
    else:
        orbitals = mean_field(dimer.joined, "HF", "sto-3g").orbitals
    levels = orbitals.energies[: orbitals.occupied]
    found = dimer_coupling(atoms, method).value
    # The pi orbitals mix with deeper ones of the other molecule, to second order in the overlap.
    assert found == pytest.approx(0.5 * (levels[-1] - levels[-2]), rel=0.02)
    assert participation(orbitals, len(dimer.first)) == pytest.approx(2.0, abs=1e-6)


def test_couplings_fall_off_exponentially() -> None:
    distances = np.array([3.5, 4.0, 4.5, 5.0])
    values = [dimer_coupling(cofacial(distance)).value for distance in distances]
    slopes = -np.diff(np.log(values)) / np.diff(distances)
    assert (slopes > 2.5).all()
    assert (slopes < 5.0).all()
    assert np.ptp(slopes) < 0.35 * slopes.mean()


@pytest.mark.parametrize("carrier", ["hole", "electron"])
def test_fragment_block_of_the_fock_matrix(carrier: str) -> None:
    """The matrix of the dimer between the two orbitals, orthogonalized after Loewdin."""
    dimer = as_dimer(askew())
    first, second = (mean_field(part, "HF", "6-31g") for part in (dimer.first, dimer.second))
    both = mean_field(dimer.joined, "HF", "6-31g", (first, second))
    orbitals = np.zeros((len(both.fock), 2))
    split = len(first.fock)
    for column, part in enumerate((first.orbitals, second.orbitals)):
        rows = slice(None, split) if column == 0 else slice(split, None)
        orbitals[rows, column] = part.coefficients[:, part.frontier(carrier)]
    root = fractional_matrix_power(orbitals.T @ both.orbitals.overlap @ orbitals, -0.5)
    block = root @ (orbitals.T @ both.fock @ orbitals) @ root
    found = dipro(first.orbitals, second.orbitals, both.orbitals, carrier)
    assert found.value == pytest.approx(block[0, 1], abs=1e-9)
    assert abs(found.value) > 1e-3


def test_fock_matrix_is_that_of_pyscf() -> None:
    from pyscf import gto, scf

    atoms = as_dimer(askew()).first
    ours = mean_field(atoms, "HF", "sto-3g")
    sites = list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True))
    field = scf.RHF(gto.M(atom=sites, basis="sto-3g", verbose=0)).density_fit()
    field.conv_tol = 1e-12
    field.kernel()
    from kstep_integrators.units import HARTREE

    assert ours.fock == pytest.approx(field.get_fock() * HARTREE, abs=2e-3)


def test_participation_by_hand() -> None:
    alike = sites([[-9.0, -1.0], [-1.0, -9.0]])
    assert participation(alike, 1) == pytest.approx(2.0, abs=1e-12)
    apart = sites([[-9.0, 0.0], [0.0, -8.0]])
    assert participation(apart, 1) == pytest.approx(1.0, abs=1e-12)
    # tan(2 theta) = 2 j / (e - f); shares are the squares of cosine and sine.
    shares = np.array([np.cos(0.5 * np.arctan2(2.0, 1.0)), np.sin(0.5 * np.arctan2(2.0, 1.0))]) ** 2
    between = sites([[-9.0, -1.0], [-1.0, -8.0]])
    assert participation(between, 1) == pytest.approx(1.0 / (shares**2).sum(), abs=1e-12)


def test_positive() -> None:
    one = Coupling(-0.2, -0.5, 0.03, (-10.0, -9.0))
    assert one.positive == Coupling(0.2, 0.5, -0.03, (-10.0, -9.0))


def test_refusals() -> None:
    one, pair = sites([[-10.0]]), sites([[-10.0, -2.0], [-2.0, -10.0]])
    with pytest.raises(ValueError, match="carrier is 'spin', expected 'hole'"):
        dipro(one, one, pair, "spin")
    with pytest.raises(ValueError, match="have 2 and 1 basis functions and their dimer has 2"):
        dipro(pair, one, pair)
    with pytest.raises(ValueError, match="there is none for carrier='electron'"):
        dipro(one, one, pair, "electron")
    near = sites([[-10.0, -9.999], [-9.999, -10.0]], [[1.0, 1.0 - 1e-10], [1.0 - 1e-10, 1.0]])
    with pytest.raises(ValueError, match="lie in the same place"):
        dipro(one, one, near)
