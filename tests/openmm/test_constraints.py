"""Constraints in OpenMM: kept by flows, by direct jumps, by starts and by what undoes a jump."""

import numpy as np
import openmm
import pytest
from ase import units
from openmm import unit

from kstep_integrators.mechanics.shake import shake
from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.direct_jumps import (
    BATH,
    BONDS,
    FS,
    both,
    distance,
    make,
    molecule_of,
    off_lengths,
)
from tests.openmm.systems import growth, make_context, model, moving, place, where

__all__ = ["make", "model"]


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_flow_on_constraints(model, corrector):
    """RATTLE inside the flow, impulses that pull at no fixed bond."""
    hosts = ({"timestep": 0.25 * FS}, {"timestep": 0.25 * units.fs})
    context, integrator, counter, dynamics = both(
        model, 20, True, hosts=hosts, k=2, corrector=corrector
    )
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks
    assert distance(context, dynamics) < 1e-8
    assert counter.calls == dynamics.stats.physics_evaluations
    assert off_lengths(context.getSystem(), where(context)) < 1e-11


@pytest.mark.filterwarnings(BONDS)
def test_undone_jumps_are_made_on_the_constraints(make, caplog):
    """Increments that tear everything apart: physics steps in their place, in both hosts."""
    jump = make(constraints="HBonds", size=1.0)
    context, integrator, counter, dynamics = both(jump, 5, True, k=4)
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks == 5
    assert "a jump was undone" in caplog.text
    assert distance(context, dynamics) < 1e-6  # to OpenMM's own tolerance of constraints
    assert counter.calls == dynamics.stats.physics_evaluations
    assert off_lengths(context.getSystem(), where(context)) < 1e-5


def test_landings_off_the_constraints_are_undone(make, caplog, monkeypatch):
    """A jump that says it could not land is believed, however harmless its numbers look."""
    molecule, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, make(constraints="HBonds"), k=2)
    context = place(make_context(system, integrator), molecule)
    integrator.step(1)

    def fails(state, positions):
        return type(there := shake(state, positions))(
            there.positions, there.displacement, {0: "the fixed bond cannot be put back"}
        )

    monkeypatch.setattr("kstep_integrators.jumps.direct.shake", fails)
    integrator.step(1)
    assert integrator.stats.fallbacks == 1
    assert "the fixed bond cannot be put back" in caplog.text
    assert off_lengths(system, where(context)) < 1e-5


def test_starts_are_put_on_the_constraints(make):
    molecule, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, make(constraints="HBonds"), k=2)
    context = place(make_context(system, integrator), molecule)
    on = where(context)
    rng = np.random.default_rng(0)
    context.setPositions(on + rng.normal(scale=1e-3, size=on.shape))
    context.setVelocities(rng.normal(scale=0.1, size=on.shape))
    integrator.step(3)
    assert integrator.stats.fallbacks == 0
    assert off_lengths(system, where(context)) < 1e-11
    free = [
        abs((where(context)[i] - where(context)[j]) @ (moving(context)[i] - moving(context)[j]))
        for i, j, _ in (system.getConstraintParameters(n) for n in range(6))
    ]
    assert max(free) < 1e-10


@pytest.mark.parametrize("kind", ["direct", "flow"])
def test_langevin_temperature_on_constraints(make, model, kind):
    """Velocities are drawn anew at each step: 2 kinetic / kT is chi-squared in 3N - C degrees."""
    molecule, system = molecule_of(fixed=True)
    jump = make(constraints="HBonds") if kind == "direct" else model
    integrator = KStepIntegrator(system, jump, k=2, temperature=300.0, friction=1e6)
    integrator.setRandomNumberSeed(3)
    context = place(make_context(system, integrator), molecule)
    kt = 300.0 * unit.MOLAR_GAS_CONSTANT_R / (unit.kilojoule_per_mole / unit.kelvin)
    degrees = 27 - system.getNumConstraints()
    values = []
    for _ in range(60):
        integrator.step(1)
        values.append(float((molecule.get_masses()[:, None] * moving(context) ** 2).sum()) / kt)
    error = np.sqrt(2.0 * degrees / len(values))
    assert abs(np.mean(values) - degrees) < 3.0 * error
    assert off_lengths(system, where(context)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["direct", "flow"])
def test_memory_stays_on_constraints(make, model, tmp_path, kind):
    """A thousand jumps with every reporter: one array kept per jump would be more."""
    molecule, system = molecule_of(fixed=True)
    jump = make(constraints="HBonds", force_head=True) if kind == "direct" else model
    timestep = None if kind == "direct" else 0.25 * FS
    k = 2 if kind == "direct" else 1
    integrator = KStepIntegrator(system, jump, k=k, timestep=timestep, **BATH)
    resident, traced = growth(molecule, system, integrator, tmp_path)
    assert integrator.stats.fallbacks < 100
    assert resident < 500_000
    assert traced < 30_000


def test_rigid_water_flows(tmp_path):
    """Three constraints in a ring: RATTLE takes them as any others."""
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    for i, j, length in ((0, 1, 0.09572), (0, 2, 0.09572), (1, 2, 0.15139)):
        system.addConstraint(i, j, length)
    integrator = KStepIntegrator(system, "organic-gfn2", k=4)
    context = make_context(system, integrator)
    context.setPositions([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(20)
    assert integrator.stats.fallbacks == 0
    assert off_lengths(system, where(context)) < 1e-11
