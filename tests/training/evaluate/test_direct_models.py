"""Single jumps, and models that only jump: known answers."""

import dataclasses

import numpy as np
import pytest

from kstep_integrators import units
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_training.evaluate.execute import make_records
from kstep_training.evaluate.metrics import one_jump
from kstep_training.evaluate.plan import make_methods
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import make_model, read_targets, trained_strides
from kstep_training.evaluate.structure import coordinates_of
from tests.direct_systems import arguments
from tests.training.evaluate.harmonic_runs import METHODS, Harmonic

MOLECULE = Harmonic()
IMPULSE = next(m for m in METHODS if m.name == "impulse-4")
TRUTH = [MOLECULE.run(81, 2.0, seed) for seed in range(8)]
REFERENCE = [MOLECULE.run(400, 2.0, seed) for seed in range(8)]
COORDINATES = coordinates_of(REFERENCE[0])


def errors(runs):
    return one_jump(runs, TRUTH, REFERENCE, IMPULSE, COORDINATES)


def test_the_truth_has_no_error_and_rest_has_its_own():
    assert errors(TRUTH) == {"velocities": 0.0, "bonds": 0.0, "angles": 0.0}
    still = [dataclasses.replace(r, momenta=np.zeros_like(r.momenta)) for r in TRUTH]
    # Without motion the error is the thermal velocity, within the few starts there are.
    assert errors(still)["velocities"] == pytest.approx(1.0, abs=0.3)


def test_an_error_is_in_thermal_standard_deviations():
    def longer(r):
        positions = r.positions.copy()
        # The first stride ends at the third frame; nothing else is looked at.
        positions[2] = positions[2] + 1e-3 * (positions[2] - positions[2, :1])
        return dataclasses.replace(r, positions=positions)

    found = errors([longer(r) for r in TRUTH])
    lengths = [b for b in COORDINATES["bonds"] if 0 in b]
    assert 0 < len(lengths) < len(COORDINATES["bonds"]) + 1
    assert 0.0 < found["bonds"] < 0.1
    assert found["velocities"] == 0.0
    assert found["angles"] < found["bonds"]


def test_what_cannot_be_told_is_left_out():
    short = [dataclasses.replace(r, time=r.time[:2], positions=r.positions[:2]) for r in TRUTH]
    assert errors(short) is None
    odd = dataclasses.replace(IMPULSE, stride_fs=3.0)
    assert one_jump(TRUTH, TRUTH, REFERENCE, odd, COORDINATES) is None


@pytest.fixture
def direct(tmp_path):
    path = tmp_path / "direct.safetensors"
    write_model(path, IncrementNetwork(**arguments()), ModelHeader("tiny", {}, "none"))
    return str(path)


SETTINGS = EvaluateSettings(
    physics="tests.training.evaluate_physics:physics", seeds=2, length_ps=0.032, respa="none",
    compared_fs=16.0, spot_checks=1,
)  # fmt: skip


def test_a_direct_model_runs_at_its_strides_and_nowhere_else(direct):
    target = read_targets("water")[0]
    model = make_model(direct, target.atoms, False)
    strides = trained_strides(direct)
    assert list(strides) == pytest.approx([k * model.timestep / units.FS for k in model.allowed_k])
    methods = make_methods(direct, SETTINGS)
    tests = [m for m in methods if m.role == "test"]
    assert [m.name for m in tests] == [f"direct-{h:g}" for h in strides]
    assert {m.corrector for m in tests} == set(model.correctors)
    assert not [m for m in methods if m.part == "ensemble" or m.name == "potential-only"]
    atoms = target.atoms
    atoms.set_momenta(np.zeros((3, 3)))
    record = make_records(tests[0], [atoms], SETTINGS, [1])[0]
    assert record.interval == pytest.approx(tests[0].stride_fs * units.FS)
    assert record.facts["spot"]["residual"] == []
    assert record.facts["counted"] == record.facts["evaluations"] == tests[0].steps + 1


def test_a_stride_that_misses_the_time_of_comparison(direct):
    with pytest.raises(ValueError, match="was trained for"):
        make_methods(direct, dataclasses.replace(SETTINGS, compared_fs=2.0, strides_fs=[2.0]))
