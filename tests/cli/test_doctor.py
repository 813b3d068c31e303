"""The report of the installation, and how it reads."""

from __future__ import annotations

import ctypes
import dataclasses
import io
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from rich.console import Console

from kstep_integrators.cli import doctor
from kstep_integrators.cli.doctor import EXTRAS, Device, Package, Report, collect, render
from kstep_integrators.nn.native import NativeLibrary, native_library, native_missing


def text_of(report: Report) -> str:
    stream = io.StringIO()
    render(report, Console(file=stream, width=200, color_system=None))
    return stream.getvalue()


@pytest.fixture(scope="module")
def report() -> Report:
    return collect()


def test_versions_are_those_installed(report: Report) -> None:
    versions = {package.name: package.version for package in report.packages}
    assert versions["torch"] == metadata.version("torch")
    assert versions["ase"] == metadata.version("ase")
    assert set(EXTRAS) <= set(versions)


def test_devices_begin_with_the_cpu_and_hold_every_card(report: Report) -> None:
    assert report.devices[0].name == "cpu"
    assert str(torch.get_num_threads()) in report.devices[0].description
    assert len(report.devices) == 1 + (
        torch.cuda.device_count() if torch.cuda.is_available() else 0
    )


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "rdkit":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = collect()
    assert "rdkit" in [package.name for package in found.missing]
    line = next(line for line in text_of(found).splitlines() if "rdkit" in line)
    assert "missing" in line
    assert "pip install 'kstep-integrators[prep]'" in line


def test_a_missing_core_package_asks_for_a_new_installation(report: Report) -> None:
    broken = dataclasses.replace(report, packages=(Package("safetensors", None),))
    assert "pip install 'kstep-integrators'" in text_of(broken)


def test_compiler_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert collect().compiler == str(compiler)
    monkeypatch.setenv("CXX", "no-such-compiler-anywhere")
    assert collect().compiler is None


@pytest.mark.parametrize(
    ("compiler", "headers", "words"),
    [
        ("/usr/bin/g++", True, "torch.compile can use it"),
        (None, True, "torch.compile needs one"),
        ("/usr/bin/g++", False, "Python.h is missing"),
    ],
)
def test_says_what_a_compiler_means(
    report: Report, compiler: str | None, headers: bool, words: str
) -> None:
    changed = dataclasses.replace(report, compiler=compiler, python_headers=headers)
    assert words in text_of(changed)
    assert changed.can_compile is (compiler is not None and headers)


def test_the_native_kernel_is_shown_or_what_to_do_about_it(report: Report, tmp_path: Path) -> None:
    assert report.native is native_library()
    assert report.native_missing == native_missing()
    if report.native is not None:
        assert f"Native kernel: {report.native.level}, {report.native.path}" in text_of(report)
    old = tmp_path / "kernel.so"
    old.touch()
    native = NativeLibrary(ctypes.CDLL(None), "x86_64", old)
    assert "make native" not in text_of(dataclasses.replace(report, native=native))
    (tmp_path / "source").mkdir()
    os.utime(old, (0, 0))
    (tmp_path / "source/kernel.cpp").touch()
    assert "make native" in text_of(dataclasses.replace(report, native=native))
    without = dataclasses.replace(report, native=None, native_missing="not built; do this")
    assert "Native kernel: none; not built; do this" in text_of(without)


def test_cards_openmm_and_models_are_shown(report: Report, tmp_path: Path) -> None:
    model = tmp_path / "some-model.safetensors"
    model.write_bytes(b"\0" * 1_500_000)
    changed = dataclasses.replace(
        report,
        devices=(Device("cpu", "x86_64, 2 threads"), Device("cuda:0", "Some Card", 79.6)),
        openmm=("Reference", "CPU"),
        pyscf="the CPU: CUDA finds no device",
        models=(model,),
    )
    text = text_of(changed)
    assert "cuda:0" in text
    assert "79.6" in text
    assert "OpenMM platforms: Reference, CPU" in text
    assert "PySCF runs on the CPU: CUDA finds no device" in text
    assert "some-model (1.5 MB)" in text


def test_without_models_the_installation_is_called_incomplete(report: Report) -> None:
    assert "incomplete" in text_of(dataclasses.replace(report, models=()))


def test_openmm_that_does_not_load_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "8.6.1")
    monkeypatch.setitem(sys.modules, "openmm", None)
    assert collect().openmm is None


def test_the_extras_named_are_those_of_the_distribution() -> None:
    required = metadata.requires("kstep-integrators") or []
    for package, (extra, _) in EXTRAS.items():
        # `extra` or `(... ) and extra`, with either kind of quotes.
        # Names of distributions have no case.
        found = [line for line in required if line.lower().startswith(package.lower())]
        assert any(f"extra == '{extra}'" in line.replace('"', "'") for line in found), package
