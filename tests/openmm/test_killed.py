"""A Simulation that was killed goes on from its checkpoint as if nothing had been."""

import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

from tests.openmm.killed_run import STEPS, go_on
from tests.openmm.systems import moving, where

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def frames(path):
    """How many frames the header of a DCD file tells of."""
    return struct.unpack("<i", path.read_bytes()[8:12])[0]


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_a_killed_simulation_goes_on(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    # The start, six steps, three reports of the temperature; the next is the middle of a step.
    command = [sys.executable, "-m", "tests.openmm.killed_run", str(killed), "11"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert frames(killed / "run.dcd") == 3
    end, expected = go_on(killed), go_on(whole)
    assert end.currentStep == expected.currentStep == STEPS
    assert end.integrator.stats.jumps == STEPS
    assert end.integrator.stats.physics_evaluations == STEPS + 1
    # The network in single precision starts from a potential computed anew.
    assert np.abs(where(end.context) - where(expected.context)).max() < 1e-6
    assert np.abs(moving(end.context) - moving(expected.context)).max() < 1e-3
    for simulation in (end, expected):
        simulation.reporters.clear()
    rows = [(folder / "run.csv").read_text().split() for folder in (killed, whole)]
    steps = [[row.split(",")[0] for row in each if row[0].isdigit()] for each in rows]
    assert steps[0] == steps[1] == ["2", "4", "6", "8", "10", "12"]
    assert frames(killed / "run.dcd") == frames(whole / "run.dcd") == STEPS // 2
