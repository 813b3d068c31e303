"""Molecules, references of PySCF itself, and derivatives for the tests of its calculator."""

import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr, Hartree
from pyscf import gto, scf

TIGHT = {"device": "cpu", "conv_tol": 1e-12}
WATER_EPSILON = 78.355


@pytest.fixture(autouse=True)
def no_checkpoints(monkeypatch):
    """Mean fields that open no files, which they would leave to the garbage collector."""
    monkeypatch.setattr(scf.hf, "MUTE_CHKFILE", True)


def shaken(name, seed=0, size=0.04):
    """A molecule without symmetry."""
    atoms = molecule(name)
    atoms.positions += np.random.default_rng(seed).normal(0.0, size, atoms.positions.shape)
    atoms.set_initial_magnetic_moments(None)
    return atoms


def plain(atoms, basis, **kwargs):
    """PySCF's molecule, made without the package."""
    pairs = list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True))
    return gto.M(atom=pairs, basis=basis, unit="Angstrom", verbose=0, **kwargs)


def derivative(function, step):
    """Central difference of fourth order."""
    near, far = ((function(x) - function(-x)) for x in (step, 2 * step))
    return (8 * near - far) / (12 * step)


def energy_of(atoms, calculator, name="energy"):
    atoms.calc = calculator
    return calculator.get_property(name, atoms)


def check_forces(atoms, calculator, tolerance, name="energy"):
    """Forces along a random direction, which sees all of them; hartree/bohr."""
    direction = np.random.default_rng(5).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)

    def moved(x):
        other = atoms.copy()
        other.positions += x * direction
        return energy_of(other, calculator, name)

    slope = derivative(moved, 4e-3)
    atoms.calc = calculator
    along = float((atoms.get_forces() * direction).sum())
    assert abs(along) * Bohr / Hartree > 1e-3  # else the comparison says nothing
    assert along * Bohr / Hartree == pytest.approx(-slope * Bohr / Hartree, abs=tolerance)


def solved(mean_field):
    """Energy and forces, hartree and bohr."""
    mean_field.conv_tol = 1e-12
    mean_field.kernel()
    assert mean_field.converged
    return mean_field.e_tot, -mean_field.nuc_grad_method().kernel()


def kohn_sham(mean_field, xc):
    mean_field.xc = xc
    mean_field.grids.level = 1
    return mean_field


def pcm(mean_field):
    mean_field = mean_field.PCM()
    mean_field.with_solvent.method = "IEF-PCM"
    mean_field.with_solvent.eps = WATER_EPSILON
    return mean_field


def with_dispersion(mean_field, name):
    """Energy and forces plus D3(BJ), the latter from s-dftd3 and not through PySCF's SCF."""
    from pyscf.dispersion.dftd3 import DFTD3Dispersion

    energy, forces = solved(mean_field)
    extra = DFTD3Dispersion(mean_field.mol, xc=name, version="d3bj").get_dispersion(grad=True)
    assert abs(extra["energy"]) > 1e-5
    return energy + extra["energy"], forces - extra["gradient"]


def radical(name, basis):
    return lambda atoms: plain(atoms, basis, spin={"CH3": 1, "O2": 2}[name])
