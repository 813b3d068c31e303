"""Wheel and source distribution, built with the project's backend and used from elsewhere."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

import kstep_integrators
from kstep_integrators.nn.native.library import LEVELS, SUFFIX

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "kstep_integrators": "kstep_integrators",
    "kstep_training": "training/kstep_training",
}
LEFT_OUT = shutil.ignore_patterns(
    ".*",
    "*.egg-info",
    "*.pyc",
    "__pycache__",
    "_build",
    "build",
    "dist",
    "kernel.*.so",
    "kernel.*.dylib",
)
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"

LOAD = """
import importlib, pkgutil
import kstep_integrators, kstep_training
for package in (kstep_integrators, kstep_training):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    print(package.__file__)
"""

NATIVE = "kstep_integrators/nn/native"
# Another kernel of the same build, compiled in a moment.
KERNEL = """
#include "export.h"
#include "level.h"
KSTEP_EXPORT int kstep_abi(void) { return 0; }
"""

USE = """
from importlib import resources
import numpy as np
from ase.calculators.lj import LennardJones
from kstep_integrators import KStepDynamics, load_model, named_molecule

atoms = named_molecule("ethanol")
atoms.calc = LennardJones(sigma=1.0, epsilon=0.01)
dyn = KStepDynamics(atoms, load_model("organic-gfn2"), k=2)
dyn.run(1)
assert dyn.nsteps == 1 and np.isfinite(atoms.positions).all()
training = resources.files("kstep_training")
for name in ("recipes/qm-gfn2.yaml", "evaluate/page.html", "molecules/qm_train.smi"):
    assert training.joinpath(name).read_text().strip(), name
"""


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a command in a folder, without the paths to this checkout."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kept |= environment
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(kind: str, source: Path, into: Path, **environment: str) -> Path:
    """Build a distribution of a source folder, as pip does, in this environment."""
    into.mkdir(exist_ok=True)
    command = (sys.executable, "-c", BUILD.format(kind), into)
    return into / run(*command, folder=source, **environment).splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, because building leaves folders behind, and with a small native kernel."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    (tree / NATIVE / "source/kernel.cpp").write_text(KERNEL)
    return tree


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a fresh environment that borrows everything else from this one: its folder."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False)
    binaries = folder / "venv" / "bin"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", binaries / "python", *install, folder=folder)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = run(binaries / "python", "-c", ask, folder=folder).strip()
    # A line of a .pth file is searched last, and .pth files in it, such as that of an editable
    # installation of this checkout, are not read.
    borrowed = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (Path(purelib) / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_of_both_packages(source: Path) -> set[str]:
    """Those of a checkout, but for the source of the native kernel."""
    return {
        f"{package}/{path.relative_to(source / folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in (source / folder).rglob("*")
        if path.is_file() and path.parent != source / NATIVE / "source"
    }


def test_the_wheel_has_every_file_of_both_packages_and_the_native_kernel(
    wheel: Path, source: Path
) -> None:
    levels = LEVELS[{"aarch64": "arm64"}.get(platform.machine(), platform.machine())]
    libraries = {f"{NATIVE}/kernel.{level}{SUFFIX}" for level in levels}
    packed = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert packed == files_of_both_packages(source) | libraries
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")


def test_without_a_compiler_the_wheel_is_of_every_platform(source: Path, tmp_path: Path) -> None:
    # What an older build left in its folder, that of the other tests, must not get in.
    (source / NATIVE / "source/level.h").touch()
    wheel = build("wheel", source, tmp_path, CXX="no-such-compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
    files = contents(wheel)
    (record,) = (name for name in files if name.endswith(".dist-info/WHEEL"))
    assert b"Root-Is-Purelib: true" in files[record]
    assert {name for name in files if ".dist-info/" not in name} == files_of_both_packages(source)


def test_the_source_distribution_builds_the_same_wheel(
    wheel: Path, source: Path, tmp_path: Path
) -> None:
    archive = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(archive) as packed:
        # Python 3.11 has it from 3.11.4 on.
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(tmp_path, **safely)
    (unpacked,) = tmp_path.glob("kstep_integrators-*")
    again = build("wheel", unpacked, tmp_path / "wheel")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)
    # It can be tested and documented as well.
    for name in ("tests/conftest.py", "docs/conf.py", "examples", "benchmarks/results", "Makefile"):
        assert (unpacked / name).exists(), name


def test_every_module_of_the_wheel_can_be_imported(installed: Path) -> None:
    python = installed / "venv/bin/python"
    files = run(python, "-W", "error", "-c", LOAD, folder=installed).split()
    assert len(files) == 2
    assert all(Path(file).is_relative_to(installed) for file in files)


def test_a_bundled_model_runs_a_bundled_molecule(installed: Path) -> None:
    run(installed / "venv/bin/python", "-c", USE, folder=installed)


def test_the_command_line_is_installed(installed: Path) -> None:
    kstep = installed / "venv/bin/kstep"
    assert kstep_integrators.__version__ in run(kstep, "--version", folder=installed)
    report = run(kstep, "doctor", folder=installed, COLUMNS="400")
    assert "organic-gfn2" in report
    assert "Native kernel: none" in report
    assert "its interface is 0" in report  # the small one was found, asked and refused
