"""SCFs that do not converge at once: every rung provoked with the real PySCF."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from pyscf import gto

from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf.ladder import LADDER, NotConverged, converge


def fluorine(distance, **settings):
    """Singlet F2 in a pure functional: pulled apart, its frontier orbitals are degenerate."""
    atoms = Atoms("F2", [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    atoms.calc = PySCFCalculator(xc="pbe", basis="6-31g", grid_level=1, device="cpu", **settings)
    return atoms


def test_a_dissociating_molecule_goes_down_the_ladder(caplog):
    atoms = fluorine(1.4)
    easy = atoms.get_potential_energy()
    assert atoms.calc.last_call.retries == 0
    atoms.positions[1, 2] = 4.0
    with caplog.at_level(logging.WARNING):
        forces = atoms.get_forces()
    call = atoms.calc.last_call
    assert call.attempt == "second-order solver"
    assert call.retries == 3
    text = caplog.text
    for name in ("extrapolated density", "atomic guess"):
        assert f"SCF attempt failed: {name}: not converged in 50 cycles" in text
    assert "SCF attempt failed: damping and level shift: converged in" in text
    assert "SCF converged by second-order solver" in text
    assert "an occupied orbital above an empty one" in text
    # A converged solution: near-zero forces on separated atoms, above the molecule in energy, and
    # the energy is stationary with respect to a further SCF step from its density.
    assert np.abs(forces).max() < 0.2
    assert easy < atoms.get_potential_energy() < easy + 6.0
    mean_field = atoms.calc.mean_field
    orbital_gradient = mean_field.get_grad(mean_field.mo_coeff, mean_field.mo_occ)
    assert np.abs(orbital_gradient).max() < 1e-4


def test_settings_and_callback_are_put_back():
    mean_field = gto.M(atom="F 0 0 0; F 0 0 4", basis="6-31g", verbose=0).RKS(xc="pbe")
    mean_field.grids.level = 1
    mean_field.damp, mean_field.level_shift, mean_field.max_cycle = 0.1, 0.05, 12
    seen = []
    mean_field.callback = listener = lambda local: seen.append(local["e_tot"])
    found = converge(mean_field, None)
    assert mean_field.damp == 0.1
    assert mean_field.level_shift == 0.05
    assert mean_field.max_cycle == 12
    assert mean_field.callback is listener
    assert len(seen) == found.cycles
    assert found.attempts == len(LADDER)
    assert mean_field.converged


def test_orbitals_of_another_geometry_are_no_guess():
    """PySCF's kernel would take them silently, whatever geometry they belong to."""
    mean_field = gto.M(atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="6-31g", verbose=0).RHF()
    first = converge(mean_field, None)
    mean_field.reset(mean_field.mol.set_geom_("O 0 0 0; H 0 0 1.3; H 0 1.2 0", inplace=False))
    second = converge(mean_field, None)
    fresh = gto.M(atom="O 0 0 0; H 0 0 1.3; H 0 1.2 0", basis="6-31g", verbose=0).RHF()
    assert second.cycles == converge(fresh, None).cycles
    assert mean_field.e_tot == fresh.e_tot
    assert first.name == second.name == "atomic guess"


@pytest.mark.parametrize("warm", [False, True])
def test_if_all_fail_there_are_no_results(warm, tmp_path):
    """One cycle is too few for any rung; a warm start that fails is no exception."""
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0.8, 0.5], [0, -0.8, 0.5]])
    atoms.calc = PySCFCalculator(
        method="hf", basis="6-31g", device="cpu", max_cycle=1 if not warm else 50,
        directory=tmp_path,
    )  # fmt: skip
    if warm:
        atoms.get_forces()
        mean_field = atoms.calc.mean_field
        mean_field.max_cycle = 1
        atoms.positions[0, 2] += 0.3
    with pytest.raises(CalculationFailed, match="did not converge") as caught:
        atoms.get_forces()
    message = str(caught.value)
    expected = [rung.name for rung in LADDER]
    for name in ["extrapolated density", *expected] if warm else expected:
        assert f"{name}: " in message
    assert "pyscf-failed-1.extxyz" in message
    assert atoms.calc.results == {}
    call = atoms.calc.last_call
    assert call.attempt == ""
    assert call.retries == (3 if warm else 2)
    assert call.scf_cycles > 0
    assert atoms.calc.totals.failures == 1
    assert atoms.calc.totals.gradients == (1 if warm else 0)


def test_a_solver_that_raises_is_a_failed_attempt():
    mean_field = gto.M(atom="He 0 0 0", basis="sto-3g", verbose=0).RHF()

    def broken(*_, **__):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    mean_field.eig = broken
    with pytest.raises(NotConverged, match="LinAlgError: Eigenvalues did not converge") as caught:
        converge(mean_field, None)
    assert caught.value.attempts == 3


def test_an_interrupt_is_not_swallowed():
    mean_field = gto.M(atom="He 0 0 0", basis="6-31g", verbose=0).RHF()
    mean_field.damp = 0.2

    def interrupted(local):
        raise KeyboardInterrupt

    mean_field.callback = interrupted
    with pytest.raises(KeyboardInterrupt):
        converge(mean_field, None)
    assert mean_field.callback is interrupted
    assert mean_field.damp == 0.2
