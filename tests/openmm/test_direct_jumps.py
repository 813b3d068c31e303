"""Direct jumps in OpenMM: the trajectory of KStepDynamics on the same System, and restarts."""

import numpy as np
import openmm
import pytest

from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.openmm.force import JumpForce
from kstep_integrators.openmm.stages import Stage
from tests.openmm.direct_jumps import BATH, BONDS, both, distance, make, molecule_of, off_lengths
from tests.openmm.systems import Counted, make_context, model, moving, place, where

__all__ = ["make", "model"]


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize(
    ("baseline", "fixed", "platform", "jumps"),
    [
        ("verlet", True, "Reference", 100),
        ("plain", True, "Reference", 100),
        ("verlet", False, "Reference", 20),
        ("verlet", True, "CPU", 20),
        ("plain", False, "CPU", 20),
    ],
)
def test_trajectory_of_direct_jumps(make, baseline, fixed, platform, jumps):
    jump = make(baseline, "HBonds" if fixed else "none", force_head=True)
    context, integrator, counter, dynamics = both(jump, jumps, fixed, platform, k=2)
    assert (
        distance(context, dynamics) < 1e-8
    )  # constants of ASE and OpenMM differ in the tenth digit
    if baseline == "verlet":
        assert integrator.stats.fallbacks == 0
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks
    assert counter.calls == integrator.stats.physics_evaluations
    assert counter.calls == dynamics.stats.physics_evaluations
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-6)
    assert integrator.stats.energy_error is dynamics.stats.energy_error is None
    if fixed:
        assert off_lengths(context.getSystem(), where(context)) < 1e-11


@pytest.mark.parametrize(("kind", "calls"), [("flow", 4), ("direct", 5)])
def test_forces_are_handed_over_to_jumps_that_look_at_them(make, model, monkeypatch, kind, calls):
    """One exchange more per jump, and only for them."""
    asked = []
    call = JumpForce.__call__

    def counted(self, state):
        asked.append(round(state.getParameters()["kstep_stage"]))
        return call(self, state)

    monkeypatch.setattr(JumpForce, "__call__", counted)
    molecule, system = molecule_of(fixed=False)
    jump = make() if kind == "direct" else model
    integrator = KStepIntegrator(system, jump, k=2)
    context = place(make_context(system, integrator), molecule)
    integrator.step(1)
    asked.clear()
    integrator.step(5)
    assert integrator.stats.fallbacks == 0
    assert context.getStepCount() == 6
    assert len(asked) == 5 * calls
    assert asked.count(Stage.FORCES) == (5 if kind == "direct" else 0)


def test_increments_matter(make):
    """The comparison above is one of jumps, not of their baseline."""
    ends = []
    for size in (1e-4, 2e-4):
        context, integrator, *_ = both(make(constraints="HBonds", size=size), 5, True, k=4)
        assert integrator.stats.fallbacks == 0
        assert integrator.stats.residual_rms is None
        ends.append(where(context))
    assert np.abs(ends[0] - ends[1]).max() > 1e-6


def test_without_increments_it_is_velocity_verlet(make):
    jump = make(size=1e-14)
    molecule, system = molecule_of(fixed=False)
    verlet = openmm.CustomIntegrator(0.001)
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    verlet.addComputePerDof("x", "x+dt*v")
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    plain = place(make_context(system, verlet), molecule)
    verlet.step(40)
    integrator = KStepIntegrator(system, jump, k=2)
    context = place(make_context(system, integrator), molecule)
    integrator.step(40)
    assert integrator.stats.fallbacks == 0
    assert np.abs(where(context) - where(plain)).max() < 1e-8
    assert np.abs(moving(context) - moving(plain)).max() < 1e-6


def test_checkpoint_and_xml_go_on(make):
    """Forces at the start are handed over at each jump: what Python remembers does not matter."""
    jump = make(constraints="HBonds")
    molecule, system = molecule_of(fixed=True)
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, jump, k=4, **BATH)
    context = place(make_context(system, integrator), molecule)
    integrator.step(3)
    saved = context.createCheckpoint()
    state = context.getState(
        getPositions=True, getVelocities=True, getParameters=True, getIntegratorParameters=True
    )
    texts = [openmm.XmlSerializer.serialize(each) for each in (system, integrator, state)]
    integrator.step(3)
    end = where(context)
    context.loadCheckpoint(saved)
    before = counter.calls
    integrator.step(3)
    assert counter.calls == before + 3
    assert np.array_equal(where(context), end)

    other = KStepIntegrator(system, jump, k=4, **BATH)
    elsewhere = make_context(system, other)
    elsewhere.loadCheckpoint(saved)
    other.step(3)
    assert np.abs(where(elsewhere) - end).max() < 1e-13

    again, same, state = [openmm.XmlSerializer.deserialize(text) for text in texts]
    context.loadCheckpoint(saved)
    integrator.setTemperature(0.0)
    third = make_context(again, same)
    third.setState(state)
    same.setGlobalVariableByName("kstep_kT", 0.0)
    for each in (integrator, same):
        each.step(3)
    assert np.abs(where(third) - where(context)).max() < 1e-13


def test_two_contexts_take_turns(make):
    """Two Contexts that hand over things are not taken for each other."""
    jump = make(force_head=True)
    ends = []
    for turns in (1, 6):
        molecule, system = molecule_of(fixed=False)
        runs = []
        for sign in (1.0, -1.0):
            integrator = KStepIntegrator(system, jump, k=2)
            context = place(make_context(system, integrator), molecule)
            context.setVelocities(sign * moving(context))
            runs.append((integrator, context))
        for _ in range(turns):
            for integrator, _ in runs:
                integrator.step(6 // turns)
        ends.append([where(context) for _, context in runs])
    assert np.abs(np.array(ends[0]) - np.array(ends[1])).max() < 1e-13
