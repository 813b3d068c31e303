"""What goes wrong while the PySCF calculator runs, and what it leaves behind."""

import gc
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.io import read

from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf import CallRecord
from tests.calculators.pyscf.systems import water


def test_unknown_basis_and_missing_core_potential():
    atoms = Atoms("HI", [[0, 0, 0], [0, 0, 1.6]])
    for settings, message in (
        ({"basis": "def2-swp"}, "basis='def2-swp'"),
        ({"basis": "def2-svp"}, r"core electrons of \['I'\].*use ecp='def2-svp'"),
    ):
        atoms.calc = PySCFCalculator(method="hf", device="cpu", **settings)
        with pytest.raises(ValueError, match=message):
            atoms.get_potential_energy()
    atoms.calc = PySCFCalculator(method="hf", basis="def2-svp", ecp="def2-svp", device="cpu")
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.get_charges().sum() == pytest.approx(0.0, abs=1e-9)


def test_linear_dependence_is_an_error_with_the_geometry_saved(tmp_path):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])
    atoms.calc = PySCFCalculator(method="hf", basis="aug-cc-pvdz", device="cpu", directory=tmp_path)
    with pytest.raises(CalculationFailed, match="linearly dependent") as caught:
        atoms.get_forces()
    path = tmp_path / "pyscf-failed-1.extxyz"
    assert str(path) in str(caught.value)
    saved = read(path)
    np.testing.assert_allclose(saved.positions, atoms.positions, atol=1e-7)
    assert saved.info["charge"] == 0
    assert saved.info["multiplicity"] == 1
    assert "energy" not in atoms.calc.results
    assert atoms.calc.totals.failures == 1
    with pytest.raises(CalculationFailed):  # nothing is overwritten
        atoms.get_forces()
    assert (tmp_path / "pyscf-failed-2.extxyz").exists()
    atoms.positions[1, 2] = 0.74  # and the calculator is still good for a sound geometry
    assert np.isfinite(atoms.get_potential_energy())


def test_what_does_not_exist_is_not_implemented():
    atoms = water()
    with pytest.raises(PropertyNotImplementedError, match="no stress"):
        atoms.get_stress()
    atoms.pbc, atoms.cell = [True, False, False], [5.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="expected all or none"):
        atoms.get_potential_energy()
    atoms.pbc = True
    atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", solvent="water")
    with pytest.raises(ValueError, match="solvent is for isolated molecules"):
        atoms.get_potential_energy()
    atoms.pbc = False
    for settings, message in (({"pseudo": "gth-pade"}, "use ecp="), ({"kpts": (2, 1, 1)}, "kpts")):
        atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu", **settings)
        with pytest.raises(ValueError, match=message):
            atoms.get_potential_energy()


def test_nothing_is_printed_and_no_files_are_left(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        atoms = water(xc="pbe", method=None, grid_level=0)
        atoms.get_forces()
        atoms.get_dipole_moment()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not caplog.records
    assert not list(tmp_path.iterdir())


def test_the_record_of_no_call():
    assert water().calc.last_call == CallRecord()
    assert water().calc.mean_field is None


@pytest.mark.parametrize(
    ("settings", "ask", "what"),
    [
        ({"xc": "pbe", "density_fit": True}, "get_forces", "no forces for"),
        ({"xc": "pbe", "grid_response": True}, "get_forces", "no forces for"),
        ({"xc": "r2scan"}, "get_forces", "no forces for"),
        ({"xc": "pbe", "dispersion": "d3bj"}, "get_forces", "no forces of dispersion"),
        ({"xc": "pbe"}, "get_dipole_moment", "no dipole moment"),
    ],
)
def test_what_pyscf_lacks_for_crystals_is_not_implemented(settings, ask, what):
    atoms = Atoms("H2", [[0.1, 0.2, 0.3], [0.3, 0.5, 0.95]], cell=[2.6, 2.8, 3.0], pbc=True)
    atoms.calc = PySCFCalculator(
        basis={"H": [[0, [0.9, 1.0]]]}, pseudo="gth-pade", device="cpu", **settings
    )
    with pytest.raises(PropertyNotImplementedError, match=what):
        getattr(atoms, ask)()
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
@pytest.mark.parametrize("settings", [{}, {"density_fit": True}, {"solvent": "water"}])
def test_no_open_files_are_left(settings):
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    atoms = water(**settings)
    atoms.get_forces()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    del atoms
    gc.collect()  # an unclosed file would be a ResourceWarning here
