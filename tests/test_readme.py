"""The Python of README and guide runs as it is written, and the README's commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README + GUIDE, flags=re.DOTALL)


def test_there_are_snippets():
    assert SNIPPETS


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # shorter runs, the same code
    source = re.sub(r"\.run\(\d+\)", ".run(3)", SNIPPETS[number])
    source = source.replace("def2-svp", "sto-3g")
    if "__main__" not in source:
        exec(compile(source, f"snippet {number}", "exec"), {})
        return
    # It starts processes, which import it.
    Path("snippet.py").write_text(source)
    found = subprocess.run(
        [sys.executable, "-W", "error", "snippet.py"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("{}")


def test_the_script_with_a_checkpoint_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,) = (snippet for snippet in SNIPPETS if ".resume(" in snippet)
    for steps in (4, 8):
        names = {}
        exec(compile(source.replace("20 -", f"{steps} -"), "snippet", "exec"), names)
        assert names["dyn"].nsteps == names["dyn"].stats.jumps == steps
    assert len((tmp_path / "md.log").read_text().splitlines()) == 1 + 9


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_kstep_command_named_exists():
    from kstep_integrators.cli.command_line import build_parser

    for line in re.findall(r"^(?:\$ )?kstep (.*)$", README, flags=re.MULTILINE):
        words = line.split("#")[0].split()
        build_parser().parse_args(words)
