"""The program of a step: short enough for what OpenMM makes of it before the first."""

import openmm
import pytest

from kstep_integrators.openmm import KStepIntegrator
from tests.openmm.direct_jumps import BATH, make, molecule_of
from tests.openmm.systems import model

__all__ = ["make", "model"]

KINDS = openmm.CustomIntegrator


def paths(kinds):
    """Ways through a program, or a block, as OpenMM counts them: loops are made once, or twice."""
    ways = 1
    for kind in kinds:
        if kind == KINDS.BlockEnd:
            break
        if kind == KINDS.IfBlockStart:
            ways *= 1 + paths(kinds)
        elif kind == KINDS.WhileBlockStart:
            inside = paths(kinds)
            ways *= 1 + inside + inside**2
    return ways


def steps_of(integrator):
    return [integrator.getComputationStep(i)[0] for i in range(integrator.getNumComputations())]


def test_paths_are_counted():
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("a", 0)
    for _ in range(3):
        integrator.beginIfBlock("a < 1")
        integrator.beginWhileBlock("a < 2")
        integrator.addComputeGlobal("a", "a + 1")
        integrator.endBlock()
        integrator.endBlock()
    assert paths(iter(steps_of(integrator))) == 4**3


@pytest.mark.parametrize(
    ("settings", "fixed"),
    [
        ({}, False),
        (BATH, True),
        ({"corrector": "none"}, True),
        ({"metropolize": True, **BATH}, False),
    ],
    ids=["controlled", "constrained", "none", "metropolized"],
)
def test_few_paths(model, settings, fixed):
    """OpenMM goes through all paths of two steps in a row: squares of these numbers.

    Each block more, side by side with the others, doubles them; 40,000 took seven seconds, once
    for each ``Context.reinitialize`` too.
    """
    _, system = molecule_of(fixed)
    integrator = KStepIntegrator(system, model, k=2, **settings)
    assert paths(iter(steps_of(integrator))) <= 56


def test_few_paths_of_direct_jumps(make):
    _, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, make(constraints="HBonds", force_head=True), k=2)
    assert paths(iter(steps_of(integrator))) <= 56


def test_the_program_is_printed(model):
    """One line for each computation, under the names of the program, and what stages mean."""
    _, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, model, k=2, **BATH)
    text = integrator.describeProgram()
    assert "kstep_" not in text
    program, stages = text.split("\n\n")
    ends = sum(kind == KINDS.BlockEnd for kind in steps_of(integrator))
    assert len(program.splitlines()) == integrator.getNumComputations() - ends
    for line in (
        "update the state of the Context",
        "start_kinetic <- sum of 0.5*m*v*v",
        "      v <- v + 0.5*dt*correction/m",
        "stage <- JUMP*delta(failed)",
        "      dx <- force of the jump",
        "      while count < base_steps:",
        "          constrain positions",
        "constrain velocities",
    ):
        assert any(each.endswith(line) for each in program.splitlines()), line
    assert max(map(len, program.splitlines())) < 120
    assert "JUMP: takes v, nm/ps, and jumps" in stages
    assert "BOX" not in stages


def test_parts_of_the_program(model):
    """Each option has its lines, and only then."""

    def text(**settings):
        _, system = molecule_of(fixed=False)
        return KStepIntegrator(system, model, k=2, **settings).describeProgram()

    lines = {
        "heat bath": ("*kT/m)*noise", BATH),
        "test": ("limit <- -kT*log(1 - drawn)", {"metropolize": True, **BATH}),
        "corrector": ("v + 0.5*dt*correction/m", {"corrector": "impulse"}),
    }
    without = text(corrector="none")
    for line, settings in lines.values():
        assert line in text(**settings)
        assert line not in without
