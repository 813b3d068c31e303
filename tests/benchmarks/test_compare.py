"""Changes between two results: by standard errors where they are recorded, else by a part."""

import copy

import numpy as np

from benchmarks.compare import RELATIVE, TIMES, compare, report

RESULT = {
    "machine": {"processor": "one"},
    "load": 1.0,
    "rows": [
        {"method": "a", "stride_fs": 2.0, "width": 1.0, "drift": 0.1, "drift_error": 0.02},
        {"method": "b", "stride_fs": 2.0, "width": 2.0, "drift": 0.2, "drift_error": 0.02},
    ],
    "signed": {"mean": 1.0, "standard_error": 0.1, "of": 10},
    "hops_per_ns": {"methyl": [100.0, 10.0]},
    "samples": [1.0, 1.2, 0.8, 1.0],
    "seconds": 10.0,
    "lost": ["water"],
    "works": True,
}


def moved(**changes):
    new = copy.deepcopy(RESULT)
    for key, value in changes.items():
        new[key] = value
    return {move.place: move for move in compare(RESULT, new).moved}


def row(number, **changes):
    rows = copy.deepcopy(RESULT["rows"])
    rows[number] |= changes
    return moved(rows=rows)


def test_nothing_moves_between_equal_results():
    assert moved() == {}
    assert moved(machine={"processor": "two"}, load=9.0) == {}
    assert "None moved" in report(compare(RESULT, RESULT))


def test_rows_are_found_by_their_names_not_by_their_order():
    assert moved(rows=RESULT["rows"][::-1]) == {}
    (move,) = row(1, width=2.5).values()
    assert move.place == "rows[b 2.0].width"
    assert move.relative == 0.25


def test_a_part_where_no_error_is_recorded():
    assert row(0, width=1.0 + 0.9 * RELATIVE) == {}
    assert row(0, width=1.0 + 1.1 * RELATIVE)
    assert moved(seconds=10.0 * (1.0 + 0.9 * TIMES)) == {}
    assert moved(seconds=10.0 * (1.0 + 1.1 * TIMES))
    assert row(0, width=float("nan"))


def test_standard_errors_where_they_are_recorded():
    # a quarter more, but within two standard errors of the difference
    assert row(0, drift=0.15) == {}
    (move,) = row(0, drift=0.25).values()
    assert move.sigma == np.float64(0.15 / np.hypot(0.02, 0.02))
    assert row(0, drift=0.25, drift_error=0.2) == {}
    assert moved(signed={"mean": 1.3, "standard_error": 0.1, "of": 10}) == {}
    assert list(moved(signed={"mean": 2.0, "standard_error": 0.1, "of": 10})) == ["signed.mean"]
    # the count beside it is no measured number
    assert list(moved(signed={"mean": 1.0, "standard_error": 0.1, "of": 20})) == ["signed.of"]
    assert moved(hops_per_ns={"methyl": [120.0, 10.0]}) == {}
    assert moved(hops_per_ns={"methyl": [200.0, 10.0]})


def test_samples_by_their_spread():
    assert moved(samples=[1.1, 1.3, 0.9, 1.1]) == {}
    (move,) = moved(samples=[3.0, 3.2, 2.8, 3.0]).values()
    assert move.sigma > 5.0


def test_the_limit_grows_with_the_number_of_comparisons():
    """Of two thousand numbers that only noise moves, nearly always none is reported."""
    rng = np.random.default_rng(0)

    def result():
        rows = [
            {"name": str(i), "x": x, "x_error": 1.0} for i, x in enumerate(rng.normal(size=2000))
        ]
        return {"rows": rows}

    assert sum(bool(compare(result(), result()).moved) for _ in range(20)) <= 1
    assert compare(result(), result()).limit > 4.5


def test_what_is_missing_or_other():
    new = copy.deepcopy(RESULT)
    del new["samples"]
    del new["signed"]
    new |= {"more": 1.0, "works": False, "lost": ["ammonia"]}
    text = report(compare(RESULT, new))
    assert "| samples | 1 ± 0.082 | missing |" in text
    assert '| signed | "2 values" | missing |' in text
    assert "signed.mean" not in text
    assert "| more | missing | 1 |" in text
    assert "| works | true | false |" in text
    assert '| lost[0] | "water" | "ammonia" |' in text
