import json

import pytest
import torch
from safetensors.torch import save_file

from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.model_file import (
    FORMAT_VERSION,
    ModelFileError,
    ModelHeader,
    bundled_models,
    model_path,
    read_model,
    write_model,
)
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_integrators.units import FS
from tests.conftest import network
from tests.direct_systems import untrained


def rewritten(path, target, change):
    """The file with its header entry changed."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as handle:
        header = json.loads(handle.metadata()["kstep_integrators"])
        weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    change(header, weights)
    save_file(weights, str(target), metadata={"kstep_integrators": json.dumps(header)})
    return target


@pytest.fixture
def model(tmp_path):
    net = network("egnn").float()
    path = tmp_path / "m.safetensors"
    write_model(path, net, ModelHeader("m", {}, "GFN2-xTB", training={"data_sha256": "x"}))
    return path


def test_round_trip(model):
    net, header, digest = read_model(model)
    assert header.elements == [1, 6, 7, 8]
    assert header.method == "GFN2-xTB"
    assert header.training == {"data_sha256": "x"}
    assert len(digest) == 64
    original = dict(network("egnn").float().named_parameters())
    for name, weight in net.named_parameters():
        assert torch.equal(weight, original[name])
        assert not weight.requires_grad
    assert net.shifts.tolist() == [-1.0, -2.0, -3.0, -4.0]


def test_missing_corrupt_and_foreign_files(tmp_path, model):
    with pytest.raises(ModelFileError, match="neither a file nor a bundled model"):
        load_model("organic-gfn3")
    with pytest.raises(ModelFileError, match="there is no model file"):
        read_model(tmp_path / "absent.safetensors")
    corrupt = tmp_path / "corrupt.safetensors"
    corrupt.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_model(corrupt)
    corrupt.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_model(corrupt)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, str(foreign))
    with pytest.raises(ModelFileError, match="of another program"):
        load_model(foreign)


def test_headers_that_do_not_fit(tmp_path, model):
    target = tmp_path / "changed.safetensors"

    def newer(header, weights):
        header["format_version"] = 99

    with pytest.raises(ModelFileError, match=f"version 99; this .* reads 1 to {FORMAT_VERSION}"):
        read_model(rewritten(model, target, newer))

    def without_method(header, weights):
        del header["method"]

    with pytest.raises(ModelFileError, match="damaged header"):
        read_model(rewritten(model, target, without_method))

    def wider(header, weights):
        header["network"]["channels"] = 32

    with pytest.raises(ModelFileError, match="do not fit its header"):
        read_model(rewritten(model, target, wider))


def test_a_file_of_increments(tmp_path):
    net = untrained(force_head=True).float()
    path = tmp_path / "jump.safetensors"
    write_model(path, net, ModelHeader("jump", {}, "GFN2-xTB", constraints="HBonds"))
    read, header, digest = read_model(path)
    assert isinstance(read, IncrementNetwork)
    assert (header.kind, header.constraints, header.timestep_fs) == ("increments", "HBonds", 0.5)
    assert header.network == net.config
    for name, weight in read.named_parameters():
        assert torch.equal(weight, dict(net.named_parameters())[name])
        assert not weight.requires_grad
    jump = load_model(path, device="cpu", dtype=torch.float64)
    assert isinstance(jump, DirectJump)
    assert jump.describe() == {
        "jump": "direct",
        "timestep": 0.5 * FS,
        "strides": [2, 4, 8],
        "baseline": "verlet",
        "constraints": "HBonds",
        "model": "jump",
        "method": "GFN2-xTB",
        "sha256": digest,
        "dtype": "float64",
    }


def test_files_of_the_first_version_are_potentials(tmp_path, model):
    def first(header, weights):
        header["format_version"] = 1
        del header["kind"], header["constraints"]

    old = rewritten(model, tmp_path / "old.safetensors", first)
    net, header, _ = read_model(old)
    assert (header.kind, header.constraints) == ("potential", None)
    now, _, _ = read_model(model)
    for name, weight in net.named_parameters():
        assert torch.equal(weight, dict(now.named_parameters())[name])


def test_headers_of_unknown_kinds(tmp_path, model):
    target = tmp_path / "changed.safetensors"

    def another(header, weights):
        header["kind"] = "flow"

    with pytest.raises(ModelFileError, match="damaged header: KeyError"):
        read_model(rewritten(model, target, another))

    def unknown(header, weights):
        header["network"]["backbone"] = "schnet"

    with pytest.raises(ModelFileError, match=r"damaged header: .*unknown backbone 'schnet'"):
        read_model(rewritten(model, target, unknown))


def test_bundled_models_are_small_and_readable():
    assert "organic-gfn2" in bundled_models()
    for name, path in bundled_models().items():
        assert path.stat().st_size < 5_000_000
        _, header, _ = read_model(model_path(name))
        assert header.name == name
        assert header.licence
        assert len(header.training["data_sha256"]) == 64
