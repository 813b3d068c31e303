"""What counts as the end of a trajectory, with two particles in OpenMM."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from ase import Atoms

from kstep_integrators import units
from kstep_training.prep.molecules import hydrogenated
from kstep_training.prep.prepared import Prepared, topology
from kstep_training.simulate.engine import Run, TrajectoryEnded
from kstep_training.simulate.mm_dynamics import MMEngine
from kstep_training.simulate.recorder import Recorder
from kstep_training.simulate.settings import SimulateSettings

START = np.array([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0]])
NUMBERS = np.array([1, 1])
REST = np.zeros((2, 3))


def pair(expression: str, constrained: bool = False) -> MMEngine:
    """Two hydrogen atoms, bonded at the start, under a force of one's choice (nm, kJ/mol)."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    force = openmm.CustomBondForce(expression)
    force.addBond(0, 1, [])
    system.addForce(force)
    if constrained:
        system.addConstraint(0, 1, 0.07)
    atoms = Atoms(NUMBERS, START, info={"charge": 0, "smiles": "[H][H]"})
    prepared = Prepared("pair", topology(hydrogenated("[H][H]")), system, (atoms,))
    prep = {"forcefield": "springs", "constraints": None}
    return MMEngine(Run(prepared, prep, SimulateSettings(timestep_fs=1.0), 300.0, 0))


def recorder(engine: MMEngine, temperature: float = 300.0, conserved: bool = True) -> Recorder:
    return Recorder(engine, temperature, NUMBERS, START, conserved)


def at(engine: MMEngine, x: float, speed: float = 0.0) -> None:
    """Bond length in angstrom, and speeds apart in nm/ps."""
    velocities = np.array([[-speed, 0.0, 0.0], [speed, 0.0, 0.0]]) * units.NM_PER_PS
    engine.verlet(np.array([[0.0, 0.0, 0.0], [x, 0.0, 0.0]]), velocities)


def test_frames_at_intervals_and_at_the_end() -> None:
    engine = pair("1000*(r - 0.07)^2")
    at(engine, 0.72)
    frames = recorder(engine)
    frames.advance(20, 7)
    assert [round(frame.time / units.FS) for frame in frames.frames] == [0, 7, 14, 20]
    assert engine.degrees == 6
    assert pair("0", constrained=True).degrees == 5


def test_too_hot() -> None:
    engine = pair("0")
    at(engine, 0.7, speed=8.0)  # 64 kJ/mol
    recorder(engine).keep()
    with pytest.raises(TrajectoryEnded, match=r"2566 K at 0\.000 ps, more than 10 times the 100 K"):
        recorder(engine, temperature=100.0).keep()


def test_energy_that_is_not_conserved() -> None:
    engine = pair("80000*(r - 0.07)^2")
    at(engine, 0.7)
    frames = recorder(engine)
    frames.keep()
    at(engine, 1.07)  # 110 kJ/mol
    with pytest.raises(TrajectoryEnded, match=r"the total energy has changed by 1\.14 eV at 0\.0"):
        frames.keep()
    frames.conserved = False
    frames.keep()


def test_a_bond_that_breaks() -> None:
    engine = pair("0")
    at(engine, 1.08)  # 1.75 times 0.62
    recorder(engine).keep()
    at(engine, 1.09)
    with pytest.raises(TrajectoryEnded, match=r"the bond H0-H1 is 1\.09 A long at .*: it broke"):
        recorder(engine).keep()
    apart = np.array([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]])
    Recorder(engine, 300.0, NUMBERS, apart, True).keep()  # no bond at the start


def test_what_is_not_finite() -> None:
    engine = pair("log(r - 1)")
    at(engine, 0.7)
    with pytest.raises(TrajectoryEnded, match=r"not finite at 0\.000 ps"):
        recorder(engine).keep()
