"""A learning run whose energy drifts makes shorter strides, and says so."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase.calculators.morse import MorsePotential
from ase.cluster import Octahedron

from kstep_integrators import KStepDynamics, Learning, units
from kstep_integrators.notices import KStepWarning


class Swirl(MorsePotential):
    """Morse atoms whose forces have a curl: no energy is conserved."""

    strength = 0.0

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        x = self.atoms.positions - self.atoms.positions.mean(axis=0)
        self.results["forces"] += self.strength * np.cross([0.0, 0.0, 1.0], x)


def learned(strength):
    atoms = Octahedron("Cu", 3, cutoff=1)  # 13 atoms
    rng = np.random.default_rng(0)
    atoms.set_momenta(rng.normal(size=(13, 3)) * np.sqrt(units.KB * 300.0 * 63.5))
    spin = np.cross([0.0, 0.0, 0.002], atoms.positions) * 63.5
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0) + spin)
    atoms.calc = Swirl(epsilon=0.35, r0=2.55, rho0=3.9)
    atoms.calc.strength = strength
    log = io.StringIO()
    dynamics = KStepDynamics(
        atoms, None, k=4, timestep=1.0 * units.FS, learn=Learning(refit=False), logfile=log
    )
    dynamics.run(140)
    return dynamics, log.getvalue()


def test_a_conserved_energy_lets_the_stride_grow_to_what_was_asked_for():
    dynamics, _ = learned(0.0)
    assert dynamics._run.pace.k == 4


def test_a_drifting_one_brings_it_back():
    with pytest.warns(KStepWarning, match="not the gradient"):
        dynamics, log = learned(0.03)
    assert dynamics._run.pace.k < 4
    assert "the energy drifts: k =" in log
