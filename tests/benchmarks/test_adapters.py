import pytest

pytest.importorskip("metatomic.torch", reason="metatomic is not installed")
pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from benchmarks.adapters import AdapterOptions, adapters


@pytest.mark.filterwarnings("ignore:forces of the torch-sim model:kstep_integrators.KStepWarning")
def test_both_ways_go_the_same_way(tmp_path):
    result = adapters(AdapterOptions.smoke(tmp_path))
    assert [row["interface"] for row in result["rows"]] == ["metatomic", "torch-sim"]
    for row in result["rows"]:
        assert row["apart"] < 1e-12
        assert row["travelled"] > 0.05
        assert row["direct_ms"] > 0.0
