"""Processes killed with SIGKILL at random moments: the benchmark, in small."""

import signal

import pytest

from benchmarks.kill import KILLED, kill_runs

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

EXACT = ("trajectory_bytes_equal", "log_bytes_equal", "noise_equal")
NOTHING = ("frames_missing", "frames_doubled", "log_lines_missing", "log_lines_doubled")


@pytest.mark.parametrize(("name", "kills"), [("morse", 4), ("gfn2-fresh", 2), ("ensemble", 3)])
def test_a_killed_run_goes_on_bit_for_bit(name, kills, tmp_path):
    result = kill_runs(name, kills, tmp_path, seed=1)
    worst = result["largest"]
    assert [worst[key] for key in NOTHING] == [0] * 4
    frames = KILLED[name].replicas * (KILLED[name].steps + 1)
    assert worst["frames"] == frames
    assert worst["evaluations"] == worst["evaluations_uninterrupted"] == frames
    assert [result["always"][key] for key in EXACT] == [True] * 3
    for key in ("position_A", "momentum", "energy_eV", "forces_eV_per_A"):
        assert worst[key] == 0.0
    assert sum(len(row["checkpoint_at_kill"]) for row in result["runs"]) == kills


def test_an_scf_that_starts_from_the_one_before_goes_on_within_a_tolerance(tmp_path):
    result = kill_runs("gfn2", 2, tmp_path, seed=1)
    worst = result["largest"]
    assert [worst[key] for key in NOTHING] == [0] * 4
    assert worst["evaluations"] == worst["evaluations_uninterrupted"]
    assert result["always"]["noise_equal"]
    # tblite's forces differ by up to 2e-4 eV/A between a warm and a cold start
    assert worst["position_A"] < 1e-3
    assert worst["energy_eV"] < 1e-3
