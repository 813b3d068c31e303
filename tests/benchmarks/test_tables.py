"""Tables are filled from committed results, between their marks and nowhere else."""

import json

import pytest

from benchmarks import common, fill, table

RESULT = {
    "model": "organic-gfn2",
    "planned": 5,
    "checks": 40,
    "misses_by_chance": 0.1,
    "totals": {"honesty": {"pass": 3, "miss": 1}},
    "summary": {
        "impulse-4": {
            "part": "dynamics", "stride_fs": 4.0, "evaluations_per_ps": 250.4, "lost": 0,
            "fallbacks": 2, "residual_meV_per_A": 22.0,
            "distance": {"median": 0.0061, "p90": None},
            "bends": {"median": -1.2, "largest": 3.0, "of": 2},
        },
        "verlet-8": {
            "part": "dynamics", "stride_fs": 8.0, "evaluations_per_ps": None, "lost": 16,
            "fallbacks": 0, "residual_meV_per_A": None,
        },
        "ballistic": {
            "part": "dynamics", "stride_fs": 8.0, "evaluations_per_ps": None, "lost": 0,
            "fallbacks": 0, "residual_meV_per_A": None,
            "bends": {"median": -0.2, "largest": 3.0, "of": 2},
        },
        "metropolis-20": {
            "part": "ensemble", "stride_fs": 20.0, "evaluations_per_ps": 50.0,
            "acceptance": {"median": 0.91, "least": 0.8},
        },
    },
    "molecules": {
        "water": {"verdicts": {"dynamics": {"impulse-4": "pass"},
                               "ensemble": {"metropolis-20": "open"}}},
        "methanol": {"verdicts": {"dynamics": {"impulse-4": "miss"}}},
    },
}  # fmt: skip


@pytest.fixture
def results(tmp_path, monkeypatch):
    (tmp_path / "evaluate_quick.json").write_text(json.dumps(RESULT))
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(fill, "RESULTS", tmp_path)


def test_the_table_says_what_the_result_says(results):
    text = table.evaluate_quick()
    assert (
        "| `organic-gfn2`, `impulse` | 4 | 250 | 0.0061 / inf |  |  | -1 | 22 | 0 / 2 | 1 / 1 / 0 |"
        in text
    )
    assert "| `organic-gfn2`, Metropolis | 20 | 50 | 0.91 / 0.80 |  | 0 / 0 / 1 |" in text
    assert "| velocity Verlet | 8 |  |" in text
    assert "| free flight (control) | 8 | 0 |  |  |  | +0 |" in text
    assert "3 checks pass, 1 miss, 0 open" in text
    assert "2 molecules (water, methanol; 3 more of the suite have not been run yet)." in text


def test_only_what_is_marked_is_filled(results):
    text = "before\n<!-- table evaluate_quick -->\nold\n<!-- /table -->\nafter\n"
    found = fill.filled(text)
    assert found.startswith("before\n<!-- table evaluate_quick -->\n| run |")
    assert found.endswith("\n<!-- /table -->\nafter\n")
    assert "old" not in found
    assert fill.filled(found) == found
    with pytest.raises(ValueError, match="no table 'nothing'"):
        fill.filled("<!-- table nothing -->\n<!-- /table -->")


def test_the_tables_of_the_documents_are_up_to_date():
    for name in fill.FILES:
        text = (fill.ROOT / name).read_text()
        assert fill.filled(text) == text, f"run python -m benchmarks.fill for {name}"
