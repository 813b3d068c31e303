"""Core excitations against published ones, another solver, and what symmetry demands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from kstep_integrators.units import HARTREE
from kstep_training.observables.labels.core_spectra import CoreLevels, core_excitations
from kstep_training.observables.labels.frame_labels import FrameFailed
from kstep_training.observables.labels.xanes_labels import XANESLabelSettings, label_xanes
from kstep_training.observables.samples.broadening import Broadening, broaden, energy_grid

EXACT = CoreLevels(basis="6-31g", grid=3, density_fit=False)


def ethylene() -> Atoms:
    """The geometry of PySCF's example of core-valence separation."""
    return Atoms(
        "C2H4",
        [
            [0.0, 0.0, -0.663984],
            [0.0, 0.0, 0.663984],
            [0.0, 0.919796, -1.223061],
            [0.0, -0.919796, -1.223061],
            [0.0, 0.919796, 1.223061],
            [0.0, -0.919796, 1.223061],
        ],
    )


def test_ethylene_has_the_published_excitations() -> None:
    # examples/tddft of PySCF (I. E. Brumboiu): CAM-B3LYP/6-31G.
    found = core_excitations(ethylene(), "C", EXACT)
    assert found.energies[:3] == pytest.approx([274.81228, 274.81375, 278.97499], abs=1e-5)
    assert found.strengths[:3] == pytest.approx([0.0861, 0.0, 0.0223], abs=5e-5)
    np.testing.assert_allclose(found.hole, 0.5, atol=1e-9)  # atoms that a mirror exchanges


def test_the_iterative_solver_of_pyscf_finds_the_same() -> None:
    from pyscf import dft, gto

    atoms = molecule("H2CO")
    geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    field = dft.RKS(gto.M(atom=geometry, basis="6-31g", verbose=0), xc="camb3lyp")
    field.grids.level = 3
    field.kernel()
    for tda in (False, True):
        solver = field.TDA() if tda else field.TDDFT()
        occupied = np.flatnonzero(field.mo_occ)
        solver.frozen = occupied[[0, *range(2, len(occupied))]].tolist()  # 0 is O 1s
        solver.nstates = 3
        solver.kernel()
        found = core_excitations(atoms, "C", replace(EXACT, tda=tda))
        np.testing.assert_allclose(found.energies[:3], solver.e * HARTREE, atol=2e-6)
        np.testing.assert_allclose(found.strengths[:3], solver.oscillator_strength(), atol=2e-6)


def test_the_element_is_excited_from_its_own_orbitals() -> None:
    atoms = molecule("CH3CHO")
    carbon, oxygen = (core_excitations(atoms, symbol, EXACT) for symbol in "CO")
    assert [atoms[i].symbol for i in carbon.absorbers] == ["C", "C"]
    assert 270.0 < carbon.energies[0] < 280.0
    assert 515.0 < oxygen.energies[0] < 530.0
    assert oxygen.hole.shape == (len(oxygen.energies), 1)
    np.testing.assert_allclose(carbon.hole.sum(axis=1), 1.0, atol=1e-12)
    # The brightest of the first is C 1s -> pi* of the carbonyl carbon; from that of the methyl
    # group it is a dark transfer of charge.
    carbonyl = int(np.argmin(atoms.get_distances(int(oxygen.absorbers[0]), carbon.absorbers)))
    brightest = int(np.argmax(carbon.strengths * (carbon.energies < carbon.energies[0] + 3.0)))
    assert carbon.hole[brightest, carbonyl] > 0.95
    assert carbon.hole[0, carbonyl] < 0.05


def test_spectra_of_absorbers_do_not_depend_on_how_nearly_equal_excitations_mix() -> None:
    # A bond of ethylene that is longer by thousandths of an angstrom localizes its core holes.
    lines = Broadening(gaussian=0.8)
    grid = energy_grid(272.0, 290.0, 0.1)
    even, uneven = ethylene(), ethylene()
    uneven.positions[2] *= 1.001
    spectra, holes = [], []
    for atoms in (even, uneven):
        found = core_excitations(atoms, "C", EXACT)
        np.testing.assert_allclose(found.shares.sum(axis=1), found.strengths, atol=1e-12)
        spectra.append(broaden(found.energies, found.shares, grid, lines))
        each = found.strengths[:, None] * found.hole
        holes.append(broaden(found.energies, each, grid, lines))
    assert spectra[0].min() > -1e-6
    np.testing.assert_allclose(spectra[0][0], spectra[0][1], atol=1e-6)
    assert np.abs(spectra[1] - spectra[0]).max() < 0.01 * spectra[0].max()
    assert np.abs(holes[1] - holes[0]).max() > 0.03 * spectra[0].max()


def test_motion_and_order_of_atoms_change_nothing() -> None:
    atoms = molecule("CH3OH")
    first = core_excitations(atoms, "C", CoreLevels(basis="6-31g", density_fit=False))
    turned = atoms[::-1]
    turned.rotate(90, "x")
    turned.translate([1.0, -2.0, 3.0])
    second = core_excitations(turned, "C", CoreLevels(basis="6-31g", density_fit=False))
    np.testing.assert_allclose(second.energies, first.energies, atol=5e-4)  # of the grid
    np.testing.assert_allclose(second.strengths, first.strengths, atol=5e-4)


def test_hartree_fock_without_and_with_de_excitations() -> None:
    water = molecule("H2O")
    full, tda = (
        core_excitations(water, "O", CoreLevels(xc="hf", basis="6-31g", tda=tda))
        for tda in (False, True)
    )
    assert (full.energies < tda.energies).all()
    np.testing.assert_allclose(full.energies, tda.energies, atol=0.05)


def test_density_fitting_moves_energies_by_millielectronvolts() -> None:
    fitted = core_excitations(ethylene(), "C", replace(EXACT, density_fit=True))
    exact = core_excitations(ethylene(), "C", EXACT)
    np.testing.assert_allclose(fitted.energies, exact.energies, atol=2e-3)


@pytest.mark.parametrize(
    ("atoms", "element", "levels", "message"),
    [
        (molecule("H2O"), "C", CoreLevels(), "no atom of H2O is 'C'; name an element that is in"),
        (molecule("OH"), "O", CoreLevels(), "HO of charge 0 has 9 electrons, expected an even"),
        (molecule("H2O", vacuum=2.0, pbc=True), "O", CoreLevels(), r"pbc is \[True, True, True\]"),
        (molecule("H2O"), "O", CoreLevels(xc="b7lyp"), "xc is 'b7lyp', which PySCF does not kn"),
        (molecule("H2O"), "O", CoreLevels(basis="odd"), "PySCF cannot set up basis='odd'"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    atoms: Atoms, element: str, levels: CoreLevels, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        core_excitations(atoms, element, levels)


def test_core_electrons_have_to_be_there() -> None:
    iodide = Atoms("HI", [[0, 0, 0], [0, 0, 1.61]])
    with pytest.raises(ValueError, match=r"replaces the core electrons of \['I'\] by an effective"):
        core_excitations(iodide, "I", CoreLevels(xc="hf"))


def test_an_scf_that_does_not_converge_is_a_frame_that_failed() -> None:
    with pytest.raises(FrameFailed, match="the SCF did not converge in 2 cycles"):
        core_excitations(molecule("H2O"), "O", CoreLevels(basis="6-31g", cycles=2))


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.2), (0.1, -0.2)])
def test_a_ground_state_that_is_no_minimum_is_a_frame_that_failed(
    a: float, b: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyscf.tdscf.rhf import TDBase

    def matrices(*_: object, **__: object) -> tuple[object, object]:
        return a * np.ones((1, 1, 1, 1)), b * np.ones((1, 1, 1, 1))

    monkeypatch.setattr(TDBase, "get_ab", matrices)
    with pytest.raises(FrameFailed, match="the ground state is unstable against its core excit"):
        core_excitations(molecule("H2O"), "O", CoreLevels(basis="sto-3g"))


def test_labels_of_frames() -> None:
    frames = [molecule("H2O"), molecule("H2O")]
    frames[1].positions[1] *= 1.02
    settings = XANESLabelSettings(element="O", basis="6-31g", window_eV=30.0)
    arrays, failures = label_xanes(frames, settings, frames[0])
    assert (arrays["kind"].item(), failures) == ("H2O", {})
    single = core_excitations(frames[1], "O", settings.levels)
    count = 1 + int((single.energies < single.energies[0] + 30.0).sum())
    assert single.energies[count - 1] > single.energies[0] + 30.0
    assert arrays["excitations"].shape == (2, count) < (2, len(single.energies) + 1)
    np.testing.assert_allclose(arrays["excitations"][1], single.energies[:count], atol=1e-9)
    assert arrays["hole"].shape == arrays["shares"].shape == (2, count, 1)
    np.testing.assert_allclose(arrays["shares"][..., 0], arrays["strengths"], atol=1e-12)
    assert arrays["absorbers"].tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"element": "X"}, "element is 'X', expected a symbol such as C, N or O"),
        ({"grid": 10}, "grid is 10, expected 0 to 9"),
        ({"window_eV": 0.0}, r"window_eV is 0\.0, expected a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        XANESLabelSettings(**changes)  # type: ignore[arg-type]
