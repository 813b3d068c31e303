"""The documentation, built as a reader gets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(tmp_path / "doctrees"), str(ROOT / "docs"), str(tmp_path / "html")]
    # The sidebars of 150 pages would copy every object of the reference, a fifth of the time.
    command += ["-D", "toc_object_entries=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "html/api/library.html").read_text()
    assert 'id="kstep_integrators.KStepDynamics"' in reference
    # Links between files of the repository have become links between pages.
    assert 'href="benchmarks.html#' in (tmp_path / "html/index.html").read_text()
