"""Backends of a network: asked for, had, and refused."""

import logging

import pytest
import torch

from kstep_integrators import KStepDynamics, NetworkPotential, load_model
from kstep_integrators.ase.checkpoint_file import read_checkpoint, write_checkpoint
from kstep_integrators.jumps.source import ModelSource
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials import backends
from kstep_integrators.potentials.backends import BACKENDS, resolve_backend
from kstep_integrators.testing import CountingCalculator
from tests.conftest import network, physics
from tests.direct_systems import untrained

MISSING = "it was built without a compiler"


@pytest.mark.parametrize(
    ("asked", "backbone", "device", "missing", "expected"),
    [
        ("auto", "painn", "cpu", None, "native"),
        ("auto", "painn", "cpu", MISSING, "eager"),
        ("auto", "painn", "cuda", None, "eager"),
        ("auto", "egnn", "cpu", None, "eager"),
        ("native", "painn", "cpu", None, "native"),
        ("eager", "painn", "cpu", None, "eager"),
        ("eager", "egnn", "cuda", MISSING, "eager"),
        ("compiled", "egnn", "cpu", MISSING, "compiled"),
        ("compiled", "painn", "cuda", None, "compiled"),
    ],
)
def test_what_computes(asked, backbone, device, missing, expected):
    assert resolve_backend(asked, backbone, device, missing) == expected


@pytest.mark.parametrize(
    ("asked", "backbone", "device", "missing", "message"),
    [
        ("native", "egnn", "cpu", None, "for the backbone 'painn' on a CPU, .* is 'egnn'"),
        ("native", "painn", "cuda", None, "is on the device 'cuda': take 'auto', 'eager' or 'com"),
        ("native", "painn", "cpu", MISSING, f"{MISSING}. Take 'auto' or 'eager'"),
        ("compiled", "painn", "cpu", None, "take 'auto' or 'native', which is faster"),
        ("compiled", "painn", "cpu", MISSING, "take 'auto' or 'eager'"),
        ("fast", "painn", "cpu", None, "backend is 'fast', expected one of 'auto', 'native'"),
    ],
)
def test_what_cannot(asked, backbone, device, missing, message):
    with pytest.raises(ValueError, match=message):
        resolve_backend(asked, backbone, device, missing)


@pytest.fixture
def without(monkeypatch, caplog):
    """No native kernel here."""
    monkeypatch.setattr(backends, "native_missing", lambda: MISSING)
    vars(backends)["_say_once"].cache_clear()
    return caplog


def potential(backbone="painn", **arguments):
    built = network(backbone)
    return NetworkPotential(built, ModelHeader("mine", built.config, "none"), **arguments)


def test_a_missing_kernel_is_said_once_where_it_would_have_been_taken(without):
    potential("egnn", device="cpu")
    potential(device="cpu", backend="eager")
    assert not without.records
    for _ in range(2):
        assert potential(device="cpu").backend == "eager"
    (record,) = without.records
    assert MISSING in record.getMessage()
    assert record.levelno == logging.WARNING


def test_another_device_has_what_was_asked_for(without, monkeypatch):
    compiled = potential("egnn", device="cpu", backend="compiled")
    assert (compiled.backend, compiled.describe()["backend"]) == ("compiled", "compiled")
    assert compiled.to("meta").backend == "compiled"
    assert potential(device="cpu").to("meta").asked_backend == "auto"
    monkeypatch.setattr(backends, "native_missing", lambda: None)
    native = potential(device="cpu", backend="native")
    assert native.describe()["backend"] == "native"
    with pytest.raises(ValueError, match="is on the device 'meta'"):
        native.to("meta")


def test_direct_jumps_have_one(tmp_path):
    path = tmp_path / "direct.safetensors"
    write_model(path, untrained(), ModelHeader("mine", {}, "none"))
    load_model(path, device="cpu", backend="eager")
    for backend in ("native", "compiled"):
        with pytest.raises(ValueError, match=f"backend is '{backend}', but .* direct jumps"):
            load_model(path, device="cpu", backend=backend)


def test_a_pickled_model_goes_on_with_another_backend(without):
    model = load_model("organic-gfn2", device="cpu")
    source = ModelSource.of(model)
    assert source.backend == "auto"
    native = ModelSource(source.name, source.sha256, "cpu", "float32", "native")
    with pytest.warns(KStepWarning, match=f"other rounding: .* {MISSING}"):
        assert native.load().backend == "eager"


@pytest.mark.filterwarnings("ignore:the forces of model")
@pytest.mark.parametrize("moved", [False, True])
def test_a_run_goes_on_with_another_backend(without, moved, tmp_path, atoms):
    path = tmp_path / "run.ckpt"
    KStepDynamics(atoms, "organic-gfn2", k=2, device="cpu", checkpoint=path).run(1)
    kept = read_checkpoint(path)
    assert kept.jump["describes"]["backend"] == "eager"
    KStepDynamics.resume(path, CountingCalculator(physics()))
    kept.jump["describes"]["backend"] = "native"
    write_checkpoint(path, kept)
    with pytest.warns(KStepWarning, match="other rounding .*: backend was native, now eager"):
        dynamics = KStepDynamics.resume(
            path, CountingCalculator(physics()), "organic-gfn2" if moved else None
        )
    assert dynamics.potential.backend == "eager"
    dynamics.run(1)


def test_every_backend_has_a_word_in_the_docs():
    assert all(f'"{name}"' in str(NetworkPotential.__doc__) for name in BACKENDS)


def test_a_checkpoint_names_the_backend_that_was_set(tmp_path, atoms, monkeypatch):
    """A run goes on with its own backend where ``"auto"`` would be another."""
    path = tmp_path / "run.ckpt"
    model = load_model("organic-gfn2", device="cpu", dtype=torch.float64, backend="eager")
    KStepDynamics(atoms, model, k=2, checkpoint=path).run(1)
    monkeypatch.setattr(backends, "native_missing", lambda: None)
    again = KStepDynamics.resume(path, CountingCalculator(physics()))
    assert again.potential.backend == "eager"
