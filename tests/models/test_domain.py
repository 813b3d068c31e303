"""A model out of its domain says so, by the residual of the first landings."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import KStepDynamics, KStepWarning, load_model, named_molecule, run_ensemble
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.models.domain import FACTOR, LANDINGS, outside_domain, warn_of_domain
from kstep_integrators.models.molecules import named_molecules


@pytest.fixture(scope="module")
def model():
    return load_model("organic-gfn2")


def hot(atoms: Atoms, kelvin: float) -> Atoms:
    thermalize_momenta(atoms, kelvin, rng=np.random.default_rng(0))
    atoms.calc = xtb_calculator()
    return atoms


def peroxide() -> Atoms:
    atoms = molecule("H2O2")
    atoms.set_initial_magnetic_moments(None)
    return atoms


def test_the_rule(model):
    header = dataclasses.replace(model.header, training={"validation": {"val_force_rms": 50.0}})
    assert outside_domain(header, FACTOR * 0.05) is None
    said = outside_domain(header, 0.5)
    assert said == "0.50 eV/angstrom, 10 times its validation error of 0.050"
    for training in ({}, {"validation": None}, {"validation": {"val_force_rms": None}}):
        assert outside_domain(dataclasses.replace(header, training=training), 9.0) is None
    assert outside_domain(header, float("nan")) is None


def test_it_is_said_once_at_the_fourth_landing(model):
    atoms = Atoms("H2")
    landings = [(6.0 * n, 6 * n) for n in range(8)]  # 1 eV/angstrom each
    said = []
    for before, now in itertools.pairwise(landings):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_domain(model, atoms, before, now, 6)
        said.append(len(caught))
    assert said == [0] * (LANDINGS - 1) + [1] + [0] * (7 - LANDINGS)


def test_bundled_molecules_are_within(model):
    largest = 0.0
    for number, name in enumerate(named_molecules()):
        atoms = hot(named_molecule(name), (300, 500)[number % 2])
        run = KStepDynamics(atoms, model, k=8)
        run.run(LANDINGS)  # warnings are errors
        largest = max(largest, run.stats.residual_rms)
    assert 0.02 < largest < 0.1  # a third of where it would be said


def test_other_bonds_and_another_physics_are_not(model):
    dynamics = KStepDynamics(hot(peroxide(), 300), model, k=8)
    dynamics.run(LANDINGS - 1)
    with pytest.warns(
        KStepWarning, match=r"physics of H2O2 by 1\.\d+ eV/angstrom, 1\d times .*0\.068"
    ):
        dynamics.run(1)
    dynamics.run(5)  # once
    ethanol = named_molecule("ethanol")
    ethanol.calc = LennardJones(sigma=1.0, epsilon=0.1, rc=5.0)
    with pytest.warns(KStepWarning, match="or the physics is not GFN2-xTB"):
        KStepDynamics(ethanol, model, k=8).run(LANDINGS)


def test_it_is_said_of_each_molecule_of_an_ensemble(model):
    molecules = [hot(peroxide(), 300), hot(named_molecule("water"), 300)]
    with pytest.warns(KStepWarning) as caught:
        run_ensemble(molecules, model, lambda atoms: xtb_calculator(), LANDINGS, k=8)
    assert len([one for one in caught if "validation error" in str(one.message)]) == 1
    assert "physics of H2O2" in str(caught[0].message)


def test_it_is_said_in_openmm(model):
    openmm = pytest.importorskip("openmm")
    from kstep_integrators.openmm import KStepIntegrator

    system, spring = openmm.System(), openmm.HarmonicBondForce()
    spring.addBond(system.addParticle(1.008), system.addParticle(1.008), 0.1, 2e4)
    system.addForce(spring)
    integrator = KStepIntegrator(system, model, k=2)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions([[0, 0, 0], [0.076, 0, 0]])
    integrator.step(LANDINGS - 1)
    with pytest.warns(KStepWarning, match=r"the physics of the System by .* over the first 4 land"):
        integrator.step(1)
    integrator.step(3)  # once
