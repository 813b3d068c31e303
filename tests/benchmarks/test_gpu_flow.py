"""The benchmark of flows on a GPU, as far as it goes without one."""

import pytest
import torch

from benchmarks import gpu_flow, run
from benchmarks.cost import displaced


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_it_needs_a_device():
    with pytest.raises(RuntimeError, match="gpu_flow needs a CUDA device"):
        run.main(["--suite", "gpu_flow"])


@pytest.mark.parametrize("many", [1, 3])
def test_a_row_has_times_and_differences(many):
    state = gpu_flow.heated(displaced("ethanol", many))
    row = gpu_flow.measured(state, torch.device("cpu"), torch.float32, "eager", 1, 1_000)
    assert row["atoms"] == 9 * many
    assert row["recordings"] == 1
    assert 0.0 < row["difference_force_eV_A"] < 1e-2
    assert row["difference_position_A"] < 1e-5
    assert row["recorded_ms"] > 0.0


def test_a_drop_is_whole_molecules():
    atoms = gpu_flow.drop(1_000)
    assert len(atoms) == 1_029
    distances = atoms.get_all_distances()
    assert (distances < 1.1).sum() == 343 * 3 + 2 * 343 * 2
