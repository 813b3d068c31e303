"""Bonds that break or form in OpenMM, counted as in KStepDynamics."""

import numpy as np
import openmm
import pytest
from ase import units
from openmm import unit

from kstep_integrators import KStepDynamics
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.conftest import hot
from tests.openmm.systems import (
    OpenMMCalculator,
    make_context,
    model,
    moving,
    place,
    springs,
    where,
)

__all__ = ["model"]

FS = unit.femtosecond
BONDS = "ignore::kstep_integrators.KStepWarning"


def pair(stiffness=0.0):
    """H2 on a spring of no length, or flying freely."""
    system = openmm.System()
    spring = openmm.HarmonicBondForce()
    spring.addBond(system.addParticle(1.008), system.addParticle(1.008), 0.0, stiffness)
    system.addForce(spring)
    return system


def flying(model, speed, **settings):
    """Two atoms, 0.74 A apart, that fly apart at a speed (nm/ps)."""
    system = pair()
    integrator = KStepIntegrator(system, model, k=1, timestep=1.0 * FS, **settings)
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0.074, 0, 0]])
    context.setVelocities([[0, 0, 0], [speed, 0, 0]])
    return integrator, context


def test_a_bond_breaks_once(model, caplog):
    """Broken beyond 1.6 of 0.62 A; what was reported is not reported again."""
    integrator, context = flying(model, 10.0)
    counts = []
    for _ in range(8):
        integrator.step(1)
        counts.append(integrator.stats.bond_changes)
    apart = where(context)[1, 0] - where(context)[0, 0]
    assert apart > 0.14
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 1
    (line,) = [message for message in caplog.messages if "bond" in message]
    assert "the bond H0-H1 has broken" in line
    context.setVelocities(-moving(context))
    integrator.step(10)
    assert integrator.stats.bond_changes == 2  # and has formed


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize("settings", [{"corrector": "none"}, {"corrector": "impulse"}], ids=str)
def test_counts_are_those_of_ase(model, settings):
    """Through a checkpoint and a state of the same process too; fallbacks are looked at as well."""
    molecule = hot(temperature=3000.0)
    system = springs(hot())
    integrator = KStepIntegrator(system, model, k=4, timestep=0.5 * FS, **settings)
    context = place(make_context(system, integrator), molecule)
    molecule.calc = OpenMMCalculator(springs(hot()))
    dynamics = KStepDynamics(molecule, model, k=4, timestep=0.5 * units.fs, **settings)
    context.setParameter("stiffness", 0.01)
    molecule.calc.context.setParameter("stiffness", 0.01)
    seen = set()
    for _ in range(6):
        integrator.step(1)
        dynamics.run(1)
        context.loadCheckpoint(context.createCheckpoint())
        assert integrator.stats.bond_changes == dynamics.stats.bond_changes
        seen.add(integrator.stats.bond_changes)
    assert len(seen) > 1
    assert np.abs(where(context) - molecule.positions / 10.0).max() < 1e-6


def test_bonds_are_found_anew_where_positions_are_set(model):
    """As in ASE: what a user moves is no change of a step."""
    integrator, context = flying(model, 0.0)
    integrator.step(1)
    context.setPositions([[0, 0, 0], [0.3, 0, 0]])
    integrator.step(2)
    assert integrator.stats.bond_changes == 0
    context.setPositions([[0, 0, 0], [0.074, 0, 0]])
    integrator.step(2)
    assert integrator.stats.bond_changes == 0


def test_rejected_jumps_change_no_bonds(model):
    """At zero temperature nothing that costs energy is accepted."""
    system = pair(stiffness=1e6)
    bath = {"temperature": 1e-9, "friction": 0.0}
    integrator = KStepIntegrator(
        system, model, k=1, timestep=4.0 * FS, corrector="none", metropolize=True,
        extra_chances=2, **bath,
    )  # fmt: skip
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0.074, 0, 0]])
    context.setVelocities([[0, 0, 0], [12.0, 0, 0]])
    integrator.step(1)
    assert integrator.stats.flips == 1
    assert integrator.stats.bond_changes == 0


def test_only_the_bonds_that_the_model_covers(model):
    """A third atom flies away from the second; the model knows the first two."""
    counts = []
    for particles in ([0, 1], [0, 1, 2]):
        system = openmm.System()
        for _ in range(3):
            system.addParticle(1.008)
        system.addForce(openmm.HarmonicBondForce())
        add_jump(system, model, particles=particles)
        integrator = KStepIntegrator(system, model, k=1, timestep=0.5 * FS)
        context = make_context(system, integrator)
        context.setPositions([[0, 0, 0], [0, 0.074, 0], [0, 0.148, 0]])
        context.setVelocities([[0, 0, 0], [0, 0, 0], [0, 20.0, 0]])
        integrator.step(6)
        counts.append(integrator.stats.bond_changes)
    assert counts[0] == 0
    assert counts[1] > 0


def test_an_error_in_the_question_leaves_the_context_in_order(model, monkeypatch):
    integrator, context = flying(model, 10.0)

    def interrupted(*_):
        raise KeyboardInterrupt("stop")

    starts = []

    def run():
        for _ in range(8):
            starts.append((where(context), moving(context)))
            integrator.step(1)

    with monkeypatch.context() as patch:
        patch.setattr("kstep_integrators.openmm.force.milestone", interrupted)
        with pytest.raises(openmm.OpenMMException, match="stop"):
            run()
    assert np.array_equal(where(context), starts[-1][0])
    assert np.array_equal(moving(context), starts[-1][1])
    assert integrator.stats.bond_changes == 0
    integrator.step(1)
    assert integrator.stats.bond_changes == 1
