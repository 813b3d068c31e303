"""What importing costs, and what the installed distribution says of itself."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]

HEAVY = (
    "openmm", "pyscf", "gpu4pyscf", "cupy", "lightning", "pytorch_lightning", "tblite", "xtb",
    "e3nn", "torch_geometric", "metatensor", "metatomic", "torch_sim",
)  # fmt: skip
PUBLIC = [
    "kstep_integrators",
    "kstep_integrators.calculators",
    "kstep_integrators.diagnostics",
    "kstep_integrators.openmm",
    "kstep_integrators.testing",
]
ALSO_NOT = ("dask", "distributed", "rdkit", "omegaconf", "kstep_training")
SLOW = ("scipy.stats", "scipy.signal")
"""Half a second of every start, for what few runs use."""


@pytest.mark.parametrize(
    "module", ["kstep_integrators", "kstep_integrators.cli", "kstep_integrators.cli.doctor"]
)
def test_importing_loads_nothing_optional(module: str) -> None:
    unwanted = {*HEAVY, *ALSO_NOT, *SLOW}
    code = f"import sys, {module}\nprint(*sorted({{*sys.modules}} & {unwanted!r}))"
    # In a process of its own: here other tests have imported them already.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_demonstration_needs_the_extra_demo_alone(tmp_path: Path) -> None:
    """Of the optional packages, it runs with those of ``demo``; SMILES and OpenMM need others."""
    missing = {*HEAVY, *ALSO_NOT, "openmmml", "h5py", "tensorboardX", "tqdm", "yaml"}
    missing -= {"tblite", "kstep_training"}
    code = f"""\
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from kstep_integrators.cli import main

words = ["demo", "--name", "water", "--time", "12", "--output", {str(tmp_path)!r}]
sys.exit(main(words))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo.png").is_file()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_public_names_exist() -> None:
    import kstep_integrators

    for name in kstep_integrators.__all__:
        assert hasattr(kstep_integrators, name), name


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_class_and_function_has_an_example(module: str) -> None:
    public = importlib.import_module(module)
    for name in public.__all__:
        thing = getattr(public, name)
        if isinstance(thing, type) or callable(thing):
            text = inspect.cleandoc(thing.__doc__ or "")
            section = text.partition("Examples\n--------\n")[2]
            assert ">>> " in section, f"{module}.{name} has no example"


def test_metadata() -> None:
    import kstep_integrators

    found = metadata.metadata("kstep-integrators")
    assert found["Version"] == kstep_integrators.__version__
    assert found["Requires-Python"] == ">=3.10"
    extras = set(found.get_all("Provides-Extra") or [])
    wanted = {"xtb", "pyscf", "gpu-cuda12", "gpu-cuda13", "dask", "prep", "openmm", "demo", "train"}
    assert {*wanted, "dev"} <= extras
    (script,) = metadata.entry_points(group="console_scripts", name="kstep")
    assert script.value == "kstep_integrators.cli:main"


def test_the_citation_names_this_version() -> None:
    import kstep_integrators

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == kstep_integrators.__version__
    assert citation["license"] == metadata.metadata("kstep-integrators")["License-Expression"]


@pytest.mark.parametrize(
    ("package", "path"),
    [
        ("kstep_integrators", "py.typed"),
        ("kstep_integrators", "models/named.xyz"),
        ("kstep_training", "py.typed"),
        ("kstep_training", "molecules/qm_train.smi"),
        ("kstep_training", "recipes/qm-gfn2.yaml"),
    ],
)
def test_data_files_are_there(package: str, path: str) -> None:
    assert resources.files(package).joinpath(path).is_file()
