"""Tables are filled from committed results, between their marks and nowhere else."""

import json
import re

import pytest

from benchmarks import documents, results, run, tables_jumps

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


ROW = {
    "replicas": 4, "workers": 1, "jump_ms_per_replica_stride": 1.5,
    "physics_ms_per_replica_stride": 2.0,
}  # fmt: skip


@pytest.fixture
def kept(tmp_path, monkeypatch):
    (tmp_path / "evaluate_quick.json").write_text(json.dumps(RESULT))
    monkeypatch.setattr(results, "RESULTS", tmp_path)


def test_the_table_says_what_the_result_says(kept):
    text = tables_jumps.evaluate_quick()
    assert (
        "| `organic-gfn2`, `impulse` | 4 | 250 | 0.0061 / inf |  |  | -1 | 22 | 0 / 2 | 1 / 1 / 0 |"
        in text
    )
    assert "| `organic-gfn2`, Metropolis | 20 | 50 | 0.91 / 0.80 |  | 0 / 0 / 1 |" in text
    assert "| velocity Verlet | 8 |  |" in text
    assert "| free flight (control) | 8 | 0 |  |  |  | +0 |" in text
    assert "3 checks pass, 1 miss, 0 open" in text
    assert "2 molecules (water, methanol; 3 more of the suite have not been run yet)." in text


def test_only_what_is_marked_is_filled(kept):
    text = "before\n<!-- table evaluate_quick -->\nold\n<!-- /table -->\nafter\n"
    full = documents.filled(text)
    assert full.startswith("before\n<!-- table evaluate_quick -->\n| run |")
    assert full.endswith("\n<!-- /table -->\nafter\n")
    assert "old" not in full
    assert documents.filled(full) == full
    with pytest.raises(ValueError, match="no table 'nothing'"):
        documents.filled("<!-- table nothing -->\n<!-- /table -->")


def test_a_table_without_its_result(kept):
    with pytest.raises(ValueError, match=r"'evaluate_full' has no committed result"):
        documents.filled("<!-- table evaluate_full -->\n<!-- /table -->")


def test_the_tables_of_the_documents_are_up_to_date():
    assert documents.fill(check=True) == [], "run python -m benchmarks.run --fill"


def test_a_stale_table_is_told(tmp_path, monkeypatch, capsys):
    """A changed result is found, and so is a changed text."""
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "DOCUMENTS", ("page.md",))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    (tmp_path / "ensemble.json").write_text(json.dumps({"rows": [ROW]}))
    page = tmp_path / "page.md"
    page.write_text("<!-- table ensemble -->\n<!-- /table -->\n")
    assert run.main(["--fill", "--check"]) == 1
    assert run.main(["--fill"]) == 0
    assert "| 4 | 1 | 1.50 | 2.00 |" in page.read_text()
    assert run.main(["--fill", "--check"]) == 0
    page.write_text(page.read_text().replace("1.50", "1.20"))
    assert run.main(["--fill", "--check"]) == 1
    assert run.main(["--fill"]) == 0
    (tmp_path / "ensemble.json").write_text(json.dumps({"rows": [{**ROW, "workers": 2}]}))
    assert run.main(["--fill", "--check"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "out of date: page.md"


def test_every_table_of_figures_is_filled_by_program():
    """No table of numbers stands outside the marks, or says why."""
    names = "README.md", "benchmarks/README.md", "docs/observables.md", "docs/theory.md"
    for name in names:
        text = documents.BLOCK.sub("", (documents.ROOT / name).read_text())
        figure = re.compile(r"\|.*\|\s*[+-]?\d[\d.]*\s*\|")
        figures = [line for line in text.splitlines() if figure.match(line)]
        assert figures == [], name
