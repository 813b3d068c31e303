"""What OpenMM's integrator refuses of direct jumps, and with constraints."""

import numpy as np
import openmm
import pytest

from kstep_integrators import FlowJump
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.openmm.direct_jumps import BATH, FS, make, molecule_of
from tests.openmm.systems import make_context, model, place, where

__all__ = ["make", "model"]


def test_metropolized_direct_jumps_are_refused(make):
    _, system = molecule_of(fixed=False)
    with pytest.raises(ValueError, match="neither time-reversible nor volume-preserving"):
        KStepIntegrator(system, make(), k=2, metropolize=True, **BATH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 3}, r"k=3, but this jump can make strides of \[2, 4, 8\] base steps of 0.5 fs"),
        ({"k": 2, "corrector": "impulse"}, r"cannot take the corrector 'impulse'.*\['delta'\]"),
        ({"k": 2, "timestep": 1.0 * FS}, "base step is 1 fs, .*has learned those of 0.5 fs"),
    ],
    ids=["k", "corrector", "timestep"],
)
def test_settings_refused(make, settings, message):
    _, system = molecule_of(fixed=False)
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, make(), **settings)
    assert system.getNumForces() == 2


def test_other_step_size_refused(make):
    molecule, system = molecule_of(fixed=False)
    integrator = KStepIntegrator(system, make(), k=2)
    context = place(make_context(system, integrator), molecule)
    integrator.setStepSize(0.003)
    start = where(context)
    with pytest.raises(openmm.OpenMMException, match=r"has learned those of 0\.5 fs"):
        integrator.step(1)
    assert np.array_equal(where(context), start)


def test_constraints_that_were_not_learned_are_refused(make):
    for learned, fixed in (("none", True), ("HBonds", False)):
        _, system = molecule_of(fixed)
        with pytest.raises(ValueError, match=f"trained with constraints='{learned}'"):
            add_jump(system, make(constraints=learned))


def test_rigid_water_is_no_direct_jump(make):
    _, system = molecule_of(fixed=True)
    system.addConstraint(3, 4, 0.18)
    with pytest.raises(ValueError, match="rigid"):
        add_jump(system, make(constraints="HBonds"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corrector": "filtered"}, "'filtered' with 6 bonds of fixed length"),
        ({"metropolize": True, **BATH}, "metropolize=True with 6 bonds of fixed length"),
    ],
    ids=["filtered", "metropolize"],
)
def test_not_validated_with_constraints(model, settings, message):
    _, system = molecule_of(fixed=True)
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, model, **settings)


def test_constraints_changed_after_the_jump(model):
    _, system = molecule_of(fixed=True)
    add_jump(system, model)
    system.removeConstraint(0)
    with pytest.raises(ValueError, match="other masses, constraints, boundaries, elements"):
        KStepIntegrator(system, model)


def test_flow_jump_object_is_no_model(model):
    _, system = molecule_of(fixed=False)
    with pytest.raises(TypeError, match="a FlowJump; expected a bundled model name"):
        KStepIntegrator(system, FlowJump(model))
