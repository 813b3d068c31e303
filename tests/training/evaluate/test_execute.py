"""Jobs of a plan: those that are missing, and no others."""

from kstep_training.evaluate.execute import execute, jobs_of, load_records
from kstep_training.evaluate.settings import EvaluateSettings
from tests.training.evaluate.water_runs import METHODS, SETTINGS, WATER


def test_what_is_cached_is_never_made_again(tmp_path):
    methods = [METHODS[name] for name in ("reference", "impulse-4")]
    starts, jobs = jobs_of([WATER], methods, SETTINGS, tmp_path)
    assert [(job.method, job.seeds) for job in starts] == [(None, (0,)), (None, (1,))]
    assert [job.seeds for job in jobs] == [(0, 1), (0, 1)]
    assert [problem for _, problem in execute([*starts, *jobs], 1)] == [""] * 4
    assert jobs_of([WATER], methods, SETTINGS, tmp_path) == ([], [])
    records = load_records(WATER, methods, SETTINGS, tmp_path)
    assert {name: len(runs) for name, runs in records.items()} == {"reference": 2, "impulse-4": 2}
    # A file that is gone is the only one made again.
    next(iter(sorted(tmp_path.glob("*[0-9a-f].npz")))).unlink()
    _, left = jobs_of([WATER], methods, SETTINGS, tmp_path)
    assert sum(len(job.seeds) for job in left) <= 1


def test_workers_and_problems(tmp_path):
    settings = EvaluateSettings(
        physics="tests.training.evaluate_physics:refuses", seeds=2, equilibration_ps=0.01
    )
    starts, _ = jobs_of([WATER], list(METHODS.values())[:1], settings, tmp_path)
    problems = {problem for _, problem in execute(starts, 2)}
    assert problems == {"LookupError: no parameters for this molecule"}
