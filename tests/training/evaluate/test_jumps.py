"""Runs of jumps: states inside them, and models that make direct jumps."""

import dataclasses

import numpy as np
import pytest
import torch

from kstep_integrators import CalculatorPotential, FlowJump, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.state import Evaluation
from kstep_training.evaluate.jumps import WatchedJump
from kstep_training.evaluate.plan import make_methods
from kstep_training.evaluate.runs import make_records
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.models import read_model, trained_strides
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import make_physics
from tests.direct_systems import arguments
from tests.training import evaluate_physics as springs

SETTINGS = EvaluateSettings(
    physics="tests.training.evaluate_physics:physics", seeds=2, length_ps=0.032, respa="none",
    compared_fs=16.0, spot_checks=1,
)  # fmt: skip


@pytest.fixture
def direct(tmp_path):
    path = tmp_path / "direct.safetensors"
    write_model(path, IncrementNetwork(**arguments()), ModelHeader("tiny", {}, "none"))
    return str(path)


def test_watching_changes_nothing(starts):
    jump = FlowJump(CalculatorPotential(springs.cheap(starts[0])), 0.5 * units.FS)
    state = state_from_atoms(starts[0])
    watched = WatchedJump(jump, 3)
    assert watched.describe() == jump.describe()
    plain, info = jump.bind(state)(state, Evaluation(torch.zeros(1), None), None, 8)
    seen, seen_info = watched.bind(state)(state, Evaluation(torch.zeros(1), None), None, 8)
    assert torch.equal(plain.positions, seen.positions)
    assert torch.equal(plain.momenta, seen.momenta)
    assert torch.equal(info.end.energy, seen_info.end.energy)
    assert seen_info.steps == 8
    assert [float(s.time[0]) / units.FS for s in watched.inside] == pytest.approx([1.5, 3.0])


def test_a_direct_model_runs_at_its_strides_and_nowhere_else(direct):
    molecule = read_molecule("water")
    model = read_model(direct, molecule.atoms)
    strides = trained_strides(direct)
    assert list(strides) == pytest.approx([k * model.timestep / units.FS for k in model.allowed_k])
    methods = make_methods(direct, SETTINGS)
    tests = [m for m in methods if m.role == "test"]
    assert [m.name for m in tests] == [f"direct-{h:g}" for h in strides]
    assert {m.corrector for m in tests} == set(model.correctors)
    assert not [m for m in methods if m.part == "ensemble" or m.name == "potential-only"]
    atoms = molecule.atoms
    atoms.set_momenta(np.zeros((3, 3)))
    record = make_records(tests[0], [atoms], make_physics(SETTINGS), SETTINGS, [1])[0]
    assert record.interval == pytest.approx(tests[0].stride_fs * units.FS)
    assert record.facts["spot"]["residual"] == []
    assert record.facts["counted"] == record.facts["evaluations"] == tests[0].steps + 1


def test_a_stride_that_misses_the_time_of_comparison(direct):
    with pytest.raises(ValueError, match="was trained for"):
        make_methods(direct, dataclasses.replace(SETTINGS, compared_fs=2.0, strides_fs=[2.0]))
