"""The network a fit starts with: new, or that of a model file, to be tuned on other labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from kstep_integrators.model_file import model_path, read_model
from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_integrators.nn.forces import energy_and_forces
from kstep_training.config import NetworkConfig, Recipe
from kstep_training.dataset import FrameDataset, closest_approach, element_shifts
from kstep_training.trajectory import Trajectory

__all__ = ["starting_network"]


def starting_network(
    recipe: Recipe, trajectories: Mapping[str, Trajectory]
) -> tuple[EnergyNetwork, dict[str, Any]]:
    """A float32 network with weights that may change, and where it comes from.

    Parameters
    ----------
    recipe : Recipe
        With ``fit.start_from`` the network is that model's. Its weights are kept; its element
        shifts move by the least that brings the mean energy of each molecule to that of the
        labels, because methods differ in energy by far more than in forces.
    trajectories : mapping of str to Trajectory
        Training data.

    Returns
    -------
    network : EnergyNetwork
    origin : dict
        Name and SHA-256 of the model that the fit starts from, for the record; empty without one.

    Raises
    ------
    ValueError
        If the recipe describes another network than the model it starts from, or the data have
        elements that the model does not.
    """
    data = list(trajectories.values())
    found = sorted({int(z) for t in data for z in t.numbers})
    if recipe.fit.start_from is None:
        network = EnergyNetwork(
            found,
            shifts=element_shifts(data, found),
            nearest=closest_approach(data, found),
            **dataclasses.asdict(recipe.network),
        )
        return network.to(torch.float32), {}
    start, header, digest = read_model(model_path(recipe.fit.start_from))
    if not isinstance(start, EnergyNetwork):
        raise ValueError(
            f"{header.name!r} (fit.start_from) is a model of {header.kind}, but forces are fitted "
            "here: name a model of a potential"
        )
    start.to(torch.float32)  # buffers too
    missing = sorted(set(found) - set(header.elements))
    if missing:
        raise ValueError(
            f"the data have the atomic numbers {missing}, which {header.name!r} (fit.start_from) "
            f"does not cover; it covers {header.elements}"
        )
    described = {key: start.config[key] for key in dataclasses.asdict(recipe.network)}
    if recipe.network not in (NetworkConfig(), NetworkConfig(**described)):
        raise ValueError(
            f"the recipe's network is {dataclasses.asdict(recipe.network)}, but that of "
            f"{header.name!r} (fit.start_from) is {described}; leave the network out of the recipe"
        )
    config = {
        **start.config,
        "shifts": _moved_shifts(start, recipe, data),
        "nearest": _nearest(start, data, found),
    }
    network = EnergyNetwork(**config)
    network.load_state_dict(start.state_dict())
    return network.to(torch.float32), {"name": header.name, "sha256": digest}


def _moved_shifts(start: EnergyNetwork, recipe: Recipe, data: list[Trajectory]) -> list[float]:
    elements, shifts = start.config["elements"], np.array(start.config["shifts"])
    gaps = []
    for trajectory in data:
        frames = FrameDataset([trajectory], elements, shifts.tolist(), recipe.fit.padding)
        batch = frames[np.arange(len(frames))]
        energy, _ = energy_and_forces(start, None, batch.positions, batch.graph)
        gaps.append(float((batch.energies - energy.sum(-1)).double().mean()))
    counts = np.array([[np.sum(t.numbers == z) for z in elements] for t in data], dtype=float)
    moved = shifts + np.linalg.lstsq(counts, np.array(gaps), rcond=None)[0]
    return [float(shift) for shift in moved]


def _nearest(start: EnergyNetwork, data: list[Trajectory], found: list[int]) -> list[list[float]]:
    """Closest approaches in the data of both fits."""
    nearest = np.array(start.config["nearest"])
    here = np.ix_(*(2 * [[start.config["elements"].index(z) for z in found]]))
    nearest[here] = np.minimum(nearest[here], closest_approach(data, found))
    return [[float(d) for d in row] for row in nearest]
