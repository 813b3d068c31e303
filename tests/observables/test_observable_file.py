"""Files of observables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelFileError, bundled_models
from kstep_integrators.observables.observable_file import (
    ObservableHeader,
    read_observable,
    write_observable,
)
from tests.observables.networks.systems import GRID, coupling, dimer, shaken, spectrum, structure

KEY = "kstep_integrators_observable"
HEADER = ObservableHeader(
    "pairs",
    "HF/def2-svp",
    cheap_method="GFN2-xTB",
    carrier="hole",
    charge=(0, 0),
    errors={"mae": 0.01},
    training={"labels": 800},
)

CONFIG = coupling().config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = coupling()
    network.set_statistics(dimer(), torch.tensor([0.25]))
    shaken(network).float()
    write_observable(tmp_path / "pairs.safetensors", network, HEADER)
    return tmp_path / "pairs.safetensors"


def test_a_coupling_comes_back_bit_for_bit(path: Path, tmp_path: Path) -> None:
    network, header, digest = read_observable(path)
    assert header == dataclasses.replace(HEADER, network=network.config)
    assert header.elements == [1, 6, 8, 16]
    assert header.grid is None
    assert not network.training
    assert not any(weights.requires_grad for weights in network.parameters())
    write_observable(tmp_path / "again.safetensors", network, header)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    again, _, same = read_observable(tmp_path / "again.safetensors")
    assert same == digest
    assert torch.equal(again(dimer()), network(dimer()))
    assert network.correction_mean.item() == 0.25


def test_a_spectrum_comes_back_bit_for_bit(tmp_path: Path) -> None:
    network = shaken(spectrum()).float()
    network.set_statistics(structure(), torch.rand(2, len(GRID)))
    path = tmp_path / "oxygen.safetensors"
    write_observable(path, network, ObservableHeader("oxygen", "CAM-B3LYP/6-31G"))
    again, header, _ = read_observable(path)
    assert (header.kind, header.unit, header.grid) == ("spectrum", "1/eV", GRID)
    assert torch.equal(again(structure()), network(structure()))
    for name, weights in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], weights), name


def test_a_coupling_says_what_it_corrects(tmp_path: Path) -> None:
    for missing in ({"cheap_method": None}, {"carrier": None}):
        header = dataclasses.replace(HEADER, **missing)
        with pytest.raises(ValueError, match="cheap_method and carrier of a coupling are"):
            write_observable(tmp_path / "x.safetensors", coupling(), header)
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused_by_name(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no file of an observable .*absent"):
        read_observable(tmp_path / "absent.safetensors")
    rubbish = tmp_path / "rubbish.safetensors"
    rubbish.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match=r"rubbish.safetensors is not a readable safetensors"):
        read_observable(rubbish)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match=r"cut.safetensors is not a readable safetensors"):
        read_observable(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign, {"format": "pt"})
    with pytest.raises(ModelFileError, match=r"foreign.safetensors is .* of another program"):
        read_observable(foreign)
    save_file({"a": torch.zeros(1)}, foreign, {"kstep_integrators": "{"})
    with pytest.raises(ModelFileError, match="is a model of the kind 'unknown'"):
        read_observable(foreign)
    with pytest.raises(ModelFileError, match="model of the kind 'potential', which moves atoms"):
        read_observable(bundled_models()["organic-gfn2"])
    with pytest.raises(
        ModelFileError, match=r"of an observable, .* kstep_integrators.Observable\.load"
    ):
        load_model(path)


def altered(path: Path, **entries: Any) -> Path:
    """The file with other entries of its header; None leaves one out."""
    with safe_open(str(path), framework="pt") as handle:
        described = json.loads(handle.metadata()[KEY])
        weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    described = {
        name: value for name, value in {**described, **entries}.items() if value is not None
    }
    other = path.with_name("altered.safetensors")
    save_file(weights, other, {KEY: json.dumps(described)})
    return other


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format_version": 2}, "has format version 2 of observables; .* reads 1: upgrade"),
        ({"format_version": None}, "has a damaged header: KeyError"),
        ({"name": None}, "has a damaged header: TypeError"),
        ({"colour": "red"}, "has a damaged header: TypeError"),
        ({"kind": "gap"}, "damaged header.*kind in the header of an observable is 'gap'"),
        ({"unit": "meV"}, "damaged header.*unit .* is 'meV', expected 'eV' of a coupling"),
        ({"carrier": "exciton"}, "damaged header.*carrier .* is 'exciton', expected hole or"),
        ({"charge": [1, 0]}, r"damaged header.*charge and multiplicities .* are \(1, 0\)"),
        ({"multiplicities": []}, r"damaged header.*multiplicities .* are \(\)"),
        ({"errors": 0.1}, "damaged header.*errors .* is 0.1, expected dict"),
        ({"network": {**CONFIG, "elements": [1, 6]}}, "has weights that do not fit its header"),
        ({"cheap_method": "GFN1-xTB"}, "couplings by 'GFN1-xTB', expected 'GFN2-xTB'"),
        ({"network": {"elements": []}}, "has a damaged header"),
    ],
)
def test_damaged_headers_are_refused(path: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_observable(altered(path, **entries))


@pytest.mark.parametrize("name", sorted({*CONFIG} - {"elements"}))
def test_an_argument_that_an_earlier_network_had_not_is_no_default(path: Path, name: str) -> None:
    network = {key: value for key, value in CONFIG.items() if key != name}
    message = rf"altered.* says nothing of its network's {name}: another version .* fit again"
    with pytest.raises(ModelFileError, match=message):
        read_observable(altered(path, network=network))


def test_weights_of_a_fit_that_blew_up_are_refused(path: Path) -> None:
    network, header, _ = read_observable(path)
    network.get_parameter("element.weight").data[0, 0] = float("nan")
    write_observable(path, network, header)
    with pytest.raises(ModelFileError, match=r"has weights that are not finite, element\.weight"):
        read_observable(path)
