"""The report: one file that asks nothing of the network, the same as JSON, and one screen."""

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from kstep_training.evaluate.metrics import molecule_metrics
from kstep_training.evaluate.page import draw_molecule, draw_overview, write_html
from kstep_training.evaluate.report import build_report, cell, write_json
from kstep_training.evaluate.screen import print_summary
from tests.training.evaluate.harmonic_runs import METHODS, SETTINGS, records

BAR = "verlet-1"


class Page(HTMLParser):
    """Tags that are open, addresses that are asked for, names that are given."""

    def __init__(self):
        super().__init__()
        self.open, self.asked, self.names, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.asked += [given[key] for key in ("src", "href", "srcset", "data") if key in given]
        self.names += [given["id"]] if "id" in given else []
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    runs = records()
    runs["impulse-2"] = [
        dataclasses.replace(r, facts={**r.facts, "error": "<b>lost</b> & gone"})
        for r in runs["impulse-2"]
    ]
    metrics = molecule_metrics("methanol", runs, METHODS, SETTINGS)
    problems = {"methanol": {"respa-2": "no <xtb>"}, "benzene": {"start": "no basis"}}
    report = build_report("organic-gfn2", "abc", [metrics], problems, SETTINGS, BAR)
    pictures = {"methanol": draw_molecule(runs, metrics, METHODS, SETTINGS, BAR)}
    path = tmp_path_factory.mktemp("page") / "evaluation.html"
    write_html(path, report, draw_overview(report, SETTINGS), pictures)
    return report, path, pictures["methanol"]


def test_the_page_is_whole_and_asks_for_nothing(made):
    _, path, _ = made
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.asked
    for address in page.asked:
        assert address.startswith(("data:", "#"))
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text
    for link in [a for a in page.asked if a.startswith("#")]:
        assert link[1:] in page.names
    prose = " ".join(page.text)
    assert "<b>lost</b> & gone" in prose  # escaped in the file, read as it was
    assert "no <xtb>" in prose
    assert "benzene was not evaluated: no basis" in prose
    assert "complete, fluctuation" in prose  # why it missed, beside the mark
    assert "verlet-1 (the bar)" in " ".join(prose.split())
    # Neither exponents where there are hundreds, nor the sign of nothing.
    assert not re.search(r"\de\+0\d|[-+]0[ ,]", prose)
    assert len(text) < 3_000_000


def test_pictures_show_every_method_of_their_part(made):
    _, _, pictures = made
    titles = {p.title: p.svg for p in pictures}
    assert set(titles) == {
        "Speed against error", "Total energy against time", "Vibrational spectra",
        "Distributions at constant energy", "Distributions at constant temperature",
    }  # fmt: skip
    for name in ("verlet-1", "verlet-4", "impulse-4", "filtered-4", "potential-only", "ballistic"):
        assert name in titles["Speed against error"]
    assert "impulse-4" in titles["Vibrational spectra"]
    assert "metropolis-20" in titles["Distributions at constant temperature"]
    for svg in titles.values():
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", svg).replace(
            "http://purl.org", ""
        ).replace("https://matplotlib.org", "").replace("http://creativecommons.org", "")


def test_the_json_is_the_same(made, tmp_path):
    report, _, _ = made
    path = tmp_path / "evaluation.json"
    write_json(path, report)
    back = json.loads(path.read_text())
    assert back == json.loads(json.dumps(report))
    assert back["molecules"][0]["verdicts"]["dynamics"]["impulse-2"] == "miss"
    assert back["molecules"][0]["verdicts"]["dynamics"]["impulse-4"] == "pass"
    assert back["summary"]["impulse-4"]["evaluations_per_ps"] == pytest.approx(251.0, rel=0.01)
    assert back["summary"]["impulse-2"]["lost"] == 8
    assert back["totals"]["ensemble"] == {"pass": 7}
    # Counts do not miss by chance.
    assert 0.0 < back["misses_by_chance"] < 0.0027 * back["checks"]


def test_the_summary_fits_on_a_screen(made):
    report, path, _ = made
    out = io.StringIO()
    print_summary(Console(file=out, width=100, height=40), report, [path])
    lines = out.getvalue().splitlines()
    assert len(lines) < 30
    assert max(len(line) for line in lines if "evaluation.html" not in line) <= 100
    row = next(line for line in lines if line.startswith("  methanol") or "methanol " in line)
    status, number = cell(report["molecules"][0], "dynamics", "impulse-4")
    assert status == "pass"
    assert number in row
    assert "✕" in row


def test_no_verdict_is_hidden_where_there_is_little_room(made):
    report, path, _ = made
    molecule = report["molecules"][0]
    many = {f"impulse-{h}": "pass" for h in range(2, 11)}
    molecule = {**molecule, "name": "dimethylformamide"}
    molecule["verdicts"] = {**molecule["verdicts"], "dynamics": many, "ensemble": {}}
    out = io.StringIO()
    print_summary(Console(file=out, width=80), {**report, "molecules": [molecule]}, [path])
    lines = out.getvalue().splitlines()
    assert any("hon-" in line and "refe-" in line for line in lines)
    row = next(line for line in lines if "dimethylformamide" in line)
    assert sum(row.count(symbol) for symbol in "✓✕∼") == 9 + 2
    assert max(len(line) for line in lines if "evaluation.html" not in line) <= 80


def test_cells(made):
    report, _, _ = made
    molecule = report["molecules"][0]
    assert cell(molecule, "dynamics", "no-such-method") is None
    assert cell(molecule, "honesty", "impulse-4") == ("pass", "")
    status, p_value = cell(molecule, "ensemble", "metropolis-20")
    assert status == "pass"
    assert 0.0027 / 4 < float(p_value) <= 1.0
