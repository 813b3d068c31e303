"""The real tblite and xtb."""

import sys

import numpy as np
import pytest

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.testing import CountingCalculator
from tests.conftest import hot


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB"])
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
    monkeypatch.delitem(sys.modules, "kstep_integrators.calculators.gfnff", raising=False)
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
