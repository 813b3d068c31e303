"""Folders of refits whose labels are those of a network of known weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.learning.refit import write_refit
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork

ELEMENTS = [1, 7, 8]
HEADER = ModelHeader("taught", {}, "springs", charge=(0, 1), training={"recipe": "by hand"})
SETTINGS: dict[str, Any] = {"epochs": 6, "batch_size": 4, "compile": False, "learning_rate": 3e-3}
OFFSET = -400.0
"""eV by which the labels lie below what the networks give."""


def tiny_network(noise: float = 0.0) -> EnergyNetwork:
    """Always the same weights, moved a little if asked for."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = EnergyNetwork(ELEMENTS, scale=10.0, channels=8, layers=1, radial=8).float()
        with torch.no_grad():
            for weight in network.parameters():
                weight += noise * weight.std(correction=0) * torch.randn_like(weight)
    return network


def forces_of(network: EnergyNetwork, atoms: Atoms) -> tuple[float, np.ndarray]:
    species = network.species_of[torch.tensor(atoms.numbers)]
    n = len(atoms)
    others = ~torch.eye(n, dtype=torch.bool)
    graph = Graph(species[None], torch.ones(1, n, dtype=torch.bool), others[None])
    positions = torch.tensor(atoms.positions[None], dtype=torch.float32)
    energy, forces = energy_and_forces(network, None, positions, graph)
    return float(energy.double().sum()), forces[0].double().numpy()


def labelled(count: int, formulas: tuple[str, ...] = ("H2O",), seed: int = 0) -> list[Atoms]:
    """Distorted molecules with the energies and forces of the network without noise."""
    rng, teacher, made = np.random.default_rng(seed), tiny_network(), []
    for number in range(count):
        atoms = molecule(formulas[number % len(formulas)])
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
        energy, forces = forces_of(teacher, atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy + OFFSET, forces=forces)
        made.append(atoms)
    return made


def make_folder(folder: Path, targets: list[Atoms] | None = None, **settings: Any) -> Path:
    """A refit that starts from weights moved by a tenth."""
    targets = labelled(24) if targets is None else targets
    write_refit(folder, tiny_network(0.1), HEADER, targets, {**SETTINGS, **settings})
    return folder


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return record
