"""First network of a fit: new, or that of a model file, to be tuned on other data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kstep_integrators.models.model_file import ModelHeader, model_path, read_model
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.increments.network import IncrementNetwork
from kstep_training.dataset.batches import Batch
from kstep_training.dataset.dataset_file import DatasetFile, Molecule
from kstep_training.dataset.periodic_batches import in_cells
from kstep_training.dataset.windows import check_isolated
from kstep_training.fit.settings import FitStage, NetworkSettings

__all__ = ["frozen_parameters", "starting_network"]

_SIZES = ("backbone", "channels", "layers", "radial", "cutoff")
_OF_KIND = {
    "flow": (*_SIZES, "scale"),
    "direct": (*_SIZES, "heads", "baseline", "bound", "force_head"),
}
"""Settings that are arguments of the network of each kind."""
_BACKBONE = {"flow": "painn", "direct": "egnn"}
_KIND_OF = {EnergyNetwork: "flow", IncrementNetwork: "direct"}
FRAMES_FOR_SHIFTS = 200
"""Frames of each molecule from which its mean energy is taken."""
ATOMS_AT_ONCE = 10_000
"""In one pass over these frames."""


def frozen_parameters(network: EnergyNetwork | IncrementNetwork, layers: int) -> list[str]:
    """Names of the weights of the first layers.

    Parameters
    ----------
    network : EnergyNetwork or IncrementNetwork
    layers : int
        The first layer is all that stands before the message-passing layers: the embedding.

    Raises
    ------
    ValueError
        If the network has fewer layers.
    """
    depth = int(network.config["layers"]) + 1
    if layers > depth:
        raise ValueError(
            f"freeze_layers is {layers}, but the network has {depth} layers with its embedding; "
            "freeze fewer"
        )
    return [name for name, _ in network.named_parameters() if _layer(name, depth) < layers]


def _layer(name: str, depth: int) -> int:
    module, *rest = name.split(".")
    if module == "readout":
        return depth
    numbered = module == "backbone" and len(rest) > 1 and rest[1].isdigit()
    return int(rest[1]) + 1 if numbered else 0


def starting_network(
    stage: FitStage, data: DatasetFile
) -> tuple[EnergyNetwork | IncrementNetwork, dict[str, Any]]:
    """A float32 network with weights that may change, and where it comes from.

    With ``fit.init_from`` the weights are that model's, and what it knows of its data is brought to
    the new ones. A flow's element shifts move by the least that brings the mean energy of each
    molecule to that of the labels, because methods differ in energy by far more than in forces. A
    direct network gets the strides, the base step and the standard deviations of the new data.

    Parameters
    ----------
    stage : FitStage
    data : DatasetFile

    Returns
    -------
    network : EnergyNetwork or IncrementNetwork
        The weights of frozen layers do not require a gradient.
    origin : dict
        Name and SHA-256 of the model that the fit starts from, for the record; empty without one.

    Raises
    ------
    ValueError
        If the settings describe another network than the model the fit starts from, the data have
        elements that the model does not cover, no windows of a stride, or cells for a direct
        network.
    """
    if stage.network.kind == "direct":
        check_isolated(data)
    network, origin = _new(stage, data), dict[str, Any]()
    if stage.fit.init_from is not None:
        network, origin = _tuned(stage, data, stage.fit.init_from)
    network = network.to(torch.float32)
    for name in frozen_parameters(network, stage.fit.freeze_layers):
        network.get_parameter(name).requires_grad_(False)
    return network, origin


def _arguments(network: NetworkSettings) -> dict[str, Any]:
    chosen = {name: getattr(network, name) for name in _OF_KIND[network.kind]}
    chosen["backbone"] = chosen["backbone"] or _BACKBONE[network.kind]
    return chosen


def _new(stage: FitStage, data: DatasetFile) -> EnergyNetwork | IncrementNetwork:
    arguments = _arguments(stage.network)
    if stage.network.kind == "flow":
        known = {key: data.statistics[key] for key in ("elements", "shifts", "nearest")}
        return EnergyNetwork(**known, **arguments)
    return IncrementNetwork(**_windows(stage.network, data), **arguments)


def _windows(network: NetworkSettings, data: DatasetFile) -> dict[str, Any]:
    """Arguments of an increment network that the data decide."""
    if data.timestep_fs is None:
        raise ValueError(
            f"{data.folder} has no windows: direct jumps are learned from segments of constant "
            "energy; simulate with production=nve"
        )
    strides = network.k or data.settings["k"]
    masses = {z: m for mol in data.molecules for z, m in zip(mol.numbers, mol.masses, strict=True)}
    return {
        "elements": data.elements,
        "strides": list(strides),
        "timestep_fs": data.timestep_fs,
        "scales": data.scales(network.baseline, strides),
        "masses": [masses[z] for z in data.elements],
    }


def _tuned(
    stage: FitStage, data: DatasetFile, source: str
) -> tuple[EnergyNetwork | IncrementNetwork, dict[str, Any]]:
    start, header, digest = read_model(model_path(source))
    _check_kind(stage.network, start, header)
    missing = sorted(set(data.elements) - set(header.elements))
    if missing:
        raise ValueError(
            f"the data have the atomic numbers {missing}, which {header.name!r} (fit.init_from) "
            f"does not cover; it covers {header.elements}"
        )
    start.to(torch.float32)  # buffers too
    network: EnergyNetwork | IncrementNetwork
    if isinstance(start, EnergyNetwork):
        shifts, nearest = _moved_shifts(start, data), _nearest(start, data)
        network = EnergyNetwork(**{**start.config, "shifts": shifts, "nearest": nearest})
    else:
        network = IncrementNetwork(**_moved_windows(stage.network, start, data))
    network.load_state_dict(start.state_dict())
    return network, {"name": header.name, "sha256": digest}


def _check_kind(
    settings: NetworkSettings, start: EnergyNetwork | IncrementNetwork, header: ModelHeader
) -> None:
    """Refuse settings that ask for another network than that of the model."""
    kind = _KIND_OF[type(start)]
    if settings.kind != kind:
        raise ValueError(
            f"network.kind is {settings.kind!r}, but {header.name!r} (fit.init_from) is a {kind} "
            f"model; set network.kind={kind} or start from another model"
        )
    given, default = _arguments(settings), _arguments(NetworkSettings(kind=kind))
    described = {name: start.config[name] for name in given}
    # What is left at its default is the model's.
    if any(given[name] not in (default[name], described[name]) for name in given):
        raise ValueError(
            f"the network asked for is {given}, but that of {header.name!r} (fit.init_from) is "
            f"{described}; leave out its settings or start from another model"
        )


def _moved_windows(
    settings: NetworkSettings, start: IncrementNetwork, data: DatasetFile
) -> dict[str, Any]:
    """Arguments of the model's network, with those that the data decide replaced."""
    old = start.config
    new = _windows(dataclasses.replace(settings, baseline=old["baseline"]), data)
    if len(new["strides"]) != len(old["strides"]):
        raise ValueError(
            f"the data have windows of {new['strides']} base steps, but the model of fit.init_from "
            f"was made for {len(old['strides'])}: {old['strides']}; set network.k to as many"
        )
    here = [old["elements"].index(z) for z in new["elements"]]
    # Elements that the data lack keep what the model knew of them.
    scales, masses = np.array(old["scales"]), np.array(old["masses"])
    scales[:, here], masses[here] = new["scales"], new["masses"]
    moved = {"strides": new["strides"], "timestep_fs": new["timestep_fs"]}
    return {**old, **moved, "scales": scales.tolist(), "masses": masses.tolist()}


def _moved_shifts(start: EnergyNetwork, data: DatasetFile) -> list[float]:
    elements, shifts = start.config["elements"], np.array(start.config["shifts"])
    trained = {shard.molecule for shard in data.shards if shard.part == "train"}
    molecules = [molecule for molecule in data.molecules if molecule.name in trained]
    gaps = [_energy_gap(start, data, molecule) for molecule in molecules]
    counts = np.array([[m.numbers.count(z) for z in elements] for m in molecules], dtype=float)
    moved = shifts + np.linalg.lstsq(counts, np.array(gaps), rcond=None)[0]
    return [float(shift) for shift in moved]


def _energy_gap(start: EnergyNetwork, data: DatasetFile, molecule: Molecule) -> float:
    """Mean of label minus prediction over frames of a molecule, eV."""
    frames = [
        np.load(data.path(shard), mmap_mode="r")
        for shard in data.shards
        if (shard.molecule, shard.part) == (molecule.name, "train")
    ]
    each = max(1, FRAMES_FOR_SHIFTS // len(frames))
    rows: npt.NDArray[np.void] = np.concatenate(
        [part[:: max(1, len(part) // each)][:each] for part in frames]
    )
    pieces = max(1, len(rows) * len(molecule.numbers) // ATOMS_AT_ONCE)
    gaps = [_gaps(start, molecule, part) for part in np.array_split(rows, pieces)]
    return float(torch.cat(gaps).mean())


def _gaps(start: EnergyNetwork, molecule: Molecule, rows: npt.NDArray[np.void]) -> Tensor:
    """Label minus prediction of each frame, (n,) eV."""
    species = start.species_of[torch.tensor(molecule.numbers)].expand(len(rows), -1)
    x, f, e = (torch.tensor(rows[name]) for name in ("positions", "forces", "energy"))
    batch = Batch(x.float(), f.float(), e.float(), species, torch.ones_like(species).bool())
    if molecule.in_cell:
        batch = in_cells(batch, rows["cell"], [molecule.pbc] * len(rows), start.cutoff)
    energy, _ = energy_and_forces(start, None, batch.positions, batch.graph)
    absolute = energy.sum(-1).double() + start.shift_energy(batch.graph).sum(-1).double()
    return e - absolute


def _nearest(start: EnergyNetwork, data: DatasetFile) -> list[list[float]]:
    """Closest approaches in the data of both fits."""
    nearest = np.array(start.config["nearest"])
    here = np.ix_(*(2 * [[start.config["elements"].index(z) for z in data.elements]]))
    nearest[here] = np.minimum(nearest[here], data.statistics["nearest"])
    return [[float(d) for d in row] for row in nearest]
