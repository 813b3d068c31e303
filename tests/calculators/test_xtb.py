"""The real tblite and xtb."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.testing import CountingCalculator
from tests.conftest import hot


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"])
def test_tblite(method, capfd):
    from tblite.ase import TBLite

    atoms, other = hot(), hot()
    atoms.calc, other.calc = xtb_calculator(method), TBLite(method=method, verbosity=0)
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-9)
    assert capfd.readouterr().out == ""


def test_gfnff_is_quiet_and_leaves_no_files(tmp_path, monkeypatch, capfd):
    pytest.importorskip("xtb", reason="xtb has no wheel for this Python")
    monkeypatch.chdir(tmp_path)
    energies = {}
    for name in ("ethanol", "water", "ethanol"):
        atoms = hot(name)
        atoms.calc = xtb_calculator("GFN-FF")
        energies.setdefault(name, []).append(atoms.get_potential_energy())
        shift = np.zeros_like(atoms.positions)
        shift[0, 0] = 1e-3
        force = atoms.get_forces()[0, 0]
        up, down = [], []
        for sign, values in ((1, up), (-1, down)):
            moved = atoms.copy()
            moved.positions += sign * shift
            moved.calc = atoms.calc
            values.append(moved.get_potential_energy())
        assert force == pytest.approx((down[0] - up[0]) / 2e-3, abs=1e-3)
    assert energies["ethanol"][0] == energies["ethanol"][1]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("method", "package"), [("GFN2-xTB", "tblite"), ("GFN-FF", "xtb")])
def test_a_missing_package_names_its_extra(method, package, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("gfn", "gfnff"):
        name = f"kstep_integrators.calculators.{module}"
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{method} needs {package}.*kstep-integrators\[xtb\]"):
        xtb_calculator(method)


def test_wrong_requests():
    with pytest.raises(ValueError, match="unknown method 'GFN3-xTB'; choose one of"):
        xtb_calculator("GFN3-xTB")
    with pytest.raises(ValueError, match="GFN-FF has no spin"):
        xtb_calculator("GFN-FF", multiplicity=2)


def test_gfn1_inside_gfn2_without_any_training():
    atoms = hot()
    atoms.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    inner = CalculatorPotential(xtb_calculator("GFN1-xTB"))
    dynamics = KStepDynamics(atoms, inner, k=4)
    start = atoms.get_total_energy()
    dynamics.run(30)
    assert atoms.calc.evaluations == 31
    assert abs(atoms.get_total_energy() - start) < 9 * 0.003
    assert 0.05 < dynamics.stats.residual_rms < 0.3
    assert dynamics.stats.fallbacks == 0


def ammonium():
    corners = [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]
    return Atoms("NH4", 0.6 * np.array(corners))


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB"])
def test_charge_and_spin_of_the_atoms_count(method):
    from tblite.ase import TBLite

    given = ammonium()
    given.calc = TBLite(method=method, charge=1, multiplicity=1, verbosity=0)
    expected = given.get_potential_energy()
    for source in ("info", "arrays", "argument"):
        ion = ammonium()
        ion.calc = xtb_calculator(method, charge=1 if source == "argument" else None)
        if source == "info":
            ion.info["charge"] = 1
        elif source == "arrays":
            ion.set_initial_charges([1, 0, 0, 0, 0])
        assert ion.get_potential_energy() == pytest.approx(expected, abs=1e-6)
    triplet, singlet = molecule("O2"), molecule("O2")  # ASE's has the moments of the triplet
    triplet.calc = xtb_calculator(method)
    singlet.calc = xtb_calculator(method, multiplicity=1)
    assert triplet.get_potential_energy() < singlet.get_potential_energy() - 0.3


def test_charge_in_info_that_changes_is_computed_anew():
    atoms = ammonium()
    atoms.info["charge"] = 1
    atoms.calc = xtb_calculator()
    cation = atoms.get_potential_energy()
    atoms.info.update(charge=0, multiplicity=2)
    radical = atoms.get_potential_energy()
    assert radical < cation - 2  # an electron is bound by more than 2 eV
    atoms.info.update(charge=1, multiplicity=1)
    assert atoms.get_potential_energy() == pytest.approx(cation, abs=1e-5)


def test_sources_that_disagree_and_impossible_spins_are_refused():
    atoms = ammonium()
    atoms.calc = xtb_calculator()
    with pytest.raises(
        ValueError, match=r"11 electrons, an odd number.*cannot have multiplicity 1"
    ):
        atoms.get_potential_energy()
    atoms.set_initial_charges([1, 0, 0, 0, 0])
    atoms.calc = xtb_calculator(charge=-1)
    with pytest.raises(ValueError, match=r"charge=-1, but the initial charges.*have the sum 1"):
        atoms.get_potential_energy()
    atoms.info["charge"] = -1
    with pytest.raises(
        ValueError, match=r"charge in atoms.info is -1, but the initial charges.*sum 1"
    ):
        atoms.get_potential_energy()


def test_cells_that_are_open_in_a_direction_are_refused():
    slab = Atoms("C2", [[0, 0, 0], [1.23, 0.71, 0]], cell=[2.46, 2.13, 15], pbc=[True, True, False])
    slab.calc = xtb_calculator()
    with pytest.raises(ValueError, match="takes the open directions of a cell as periodic"):
        slab.get_potential_energy()
    flat = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], pbc=True)
    flat.calc = xtb_calculator()
    with pytest.raises(ValueError, match="has no volume; set"):
        flat.get_potential_energy()
