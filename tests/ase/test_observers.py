"""Observers as in ASE's own dynamics: when they are called, and what they may edit."""

import io

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCom
from ase.md import MDLogger
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.testing import CountingCalculator

FS = units.fs


def copper(seed=0):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
    thermalize_momenta(atoms, temperature_K=300.0, rng=rng)
    atoms.calc = EMT()
    return atoms


def ours(atoms, **settings):
    """Strides of one step by the physics itself: what velocity Verlet does."""
    return KStepDynamics(atoms, CalculatorPotential(EMT()), k=1, timestep=2.0 * FS, **settings)


def theirs(atoms, **settings):
    return VelocityVerlet(atoms, 2.0 * FS, **settings)


def calls(make, act):
    """Calls of observers in their order, with the positions that they see."""
    atoms = copper()
    dynamics, seen = make(atoms), []

    def note(name):
        return lambda: seen.append((name, dynamics.nsteps, float(atoms.positions[0, 0])))

    for name, interval in (("each", 1), ("third", 3), ("fourth", -4), ("first", 0)):
        dynamics.attach(note(name), interval=interval)
    dynamics.insert_observer(note("in front"), position=0, interval=2)
    act(dynamics, note("yielded"))
    return seen


def loop(dynamics, note, steps=6):
    for _ in dynamics.irun(steps=steps):
        note()


def left_early(dynamics, note):
    for _ in dynamics.irun(steps=6):
        note()
        if dynamics.nsteps == 2:
            break
    loop(dynamics, note, 3)


@pytest.mark.parametrize(
    "act",
    [
        loop,
        left_early,
        lambda dynamics, note: dynamics.run(5),
        lambda dynamics, note: dynamics.run(0),
        lambda dynamics, note: (dynamics.run(2), note(), dynamics.run(2)),
        lambda dynamics, note: (loop(dynamics, note, 1), loop(dynamics, note, 2)),
    ],
    ids=["irun", "left early", "run", "nothing", "twice", "irun twice"],
)
def test_calls_come_in_the_order_of_ase(act):
    found, wanted = calls(ours, act), calls(theirs, act)
    assert [call[:2] for call in found] == [call[:2] for call in wanted]
    np.testing.assert_allclose([c[2] for c in found], [c[2] for c in wanted], atol=1e-10)
    assert any(call[0] == "in front" for call in found)


def test_the_first_frame_is_seen_once():
    """Unlike in ASE, where run(0) and run(n) write it twice."""
    found = calls(ours, lambda dynamics, note: (dynamics.run(0), dynamics.run(1)))
    assert [call[:2] for call in found] == [
        ("in front", 0), ("each", 0), ("third", 0), ("first", 0), ("each", 1)
    ]  # fmt: skip


def stretch(atoms):
    atoms.set_cell(1.002 * np.array(atoms.cell), scale_atoms=True)


def shear(atoms):
    cell = np.array(atoms.cell)
    cell[1, 0] += 0.05
    atoms.set_cell(cell, scale_atoms=True)


EDITS = {
    "cell": stretch,
    "skewed cell": shear,
    "cell alone": lambda atoms: atoms.set_cell(1.01 * np.array(atoms.cell)),
    "momenta": lambda atoms: atoms.set_momenta(0.9 * atoms.get_momenta()),
    "one momentum": lambda atoms: atoms.arrays["momenta"].__setitem__((0, 0), 0.0),
    "fixed atoms": lambda atoms: atoms.set_constraint(FixAtoms([1, 2, 3])),
    "fixed centre": lambda atoms: atoms.set_constraint(FixCom()),
    "released": lambda atoms: atoms.set_constraint(),
    "positions": lambda atoms: atoms.rattle(0.01, seed=1),
    "wrapped": lambda atoms: atoms.wrap(),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("held", [False, True], ids=["free", "fixed before"])
def test_what_an_observer_edits_is_what_the_next_step_starts_from(name, held):
    """As by velocity Verlet of ASE, and as by an edit between two runs."""
    ends = []
    for make in (ours, theirs):
        atoms = copper()
        if held:
            atoms.set_constraint(FixAtoms([0, 5]))
        dynamics = make(atoms)
        dynamics.attach(
            lambda d=dynamics, a=atoms: EDITS[name](a) if d.nsteps in (2, 3) else None, interval=1
        )
        dynamics.run(6)
        ends.append(atoms)
    between = copper()
    if held:
        between.set_constraint(FixAtoms([0, 5]))
    dynamics = ours(between)
    for steps in (2, 1, 3):
        dynamics.run(steps)
        if steps < 3:
            EDITS[name](between)
    np.testing.assert_array_equal(ends[0].positions, between.positions)
    np.testing.assert_array_equal(ends[0].get_momenta(), between.get_momenta())
    np.testing.assert_allclose(ends[0].positions, ends[1].positions, atol=1e-8)
    np.testing.assert_allclose(ends[0].get_momenta(), ends[1].get_momenta(), atol=1e-7)
    np.testing.assert_array_equal(ends[0].cell, ends[1].cell)


def test_an_edit_of_the_last_step_is_not_lost():
    atoms = copper()
    dynamics = ours(atoms)
    dynamics.attach(lambda: stretch(atoms) if dynamics.nsteps == 2 else None)
    dynamics.run(2)
    here = atoms.copy()
    here.calc = EMT()
    assert atoms.get_potential_energy() == pytest.approx(here.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(atoms.get_stress(), here.get_stress(), atol=1e-12)


def test_stress_in_the_log():
    """Of each frame, as a new calculator has it, kinetic part included; and in ASE's columns."""
    lines = []
    for make in (ours, theirs):
        atoms, text, frames = copper(), io.StringIO(), []
        dynamics = make(atoms)
        dynamics.attach(MDLogger(dynamics, atoms, text, stress=True, peratom=True), interval=1)
        dynamics.attach(lambda a=atoms, f=frames: f.append(a.copy()), interval=1)
        dynamics.run(4)
        rows = np.array([line.split() for line in text.getvalue().splitlines()[1:]], dtype=float)
        assert len(rows) == 5
        for row, frame in zip(rows, frames, strict=True):
            frame.calc = EMT()
            wanted = frame.get_stress(include_ideal_gas=True) / units.GPa
            np.testing.assert_allclose(row[5:11], wanted, atol=6e-4)  # as many digits as it has
            assert row[2] == pytest.approx(frame.get_potential_energy() / len(frame), abs=1e-4)
        assert np.ptp(rows[:, 5]) > 0.01
        lines.append(text.getvalue())
    assert lines[0].splitlines()[0] == lines[1].splitlines()[0]
    np.testing.assert_allclose(
        *(np.array([line.split() for line in one.splitlines()[1:]], float) for one in lines),
        atol=1.1e-3,
    )


def test_stress_costs_what_it_costs_in_ase():
    """One calculation a step, as EMT computes stress with forces."""
    counts = []
    for make in (ours, theirs):
        atoms = copper()
        atoms.calc = CountingCalculator(EMT())
        dynamics = make(atoms)
        dynamics.attach(lambda a=atoms: a.get_stress(), interval=1)
        dynamics.run(4)
        counts.append(atoms.calc.evaluations)
    assert counts[0] <= counts[1] + 5
