"""Systems shared by the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from kstep_integrators import CalculatorPotential, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import PhaseState
from kstep_integrators.testing import CountingCalculator, MorseNetwork

ELEMENTS = [1, 6, 7, 8]
LINEAR: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("painn", {"linear": 48}),
    "correction": ("egnn", {"linear": 48, "readout": False, "repulsion": False}),
}
"""Networks with a linear readout, which tests of all backbones take as well."""


def hot(name: str = "ethanol", temperature: float = 300.0, seed: int = 0) -> Atoms:
    """A molecule at a generic geometry with thermal momenta and no net momentum."""
    rng = np.random.default_rng(seed)
    atoms = named_molecule(name)
    atoms.info.clear()
    atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    return atoms


def network(backbone: str = "painn", seed: int = 0, **config: Any) -> EnergyNetwork:
    """An untrained network with forces of a few eV/A, as a trained one has."""
    torch.manual_seed(seed)
    backbone, readout = LINEAR.get(backbone, (backbone, {}))
    config = {**readout, **config}
    built = EnergyNetwork(
        ELEMENTS, backbone, shifts=[-1.0, -2.0, -3.0, -4.0], scale=20.0, channels=16, **config
    )
    if built.linear is not None:
        torch.nn.init.normal_(built.linear.weight, std=0.3)
    built.requires_grad_(False)
    return built


def potential(
    backbone: str = "painn", dense_limit: int = 64, seed: int = 0, backend: str = "auto"
) -> NetworkPotential:
    """The same as a potential, in float64."""
    built = network(backbone, seed)
    header = ModelHeader("untrained", built.config, "none")
    return NetworkPotential(
        built,
        header,
        device="cpu",
        dtype=torch.float64,
        backend=backend,
        dense_limit=dense_limit,
    )


@pytest.fixture
def ethanol() -> Atoms:
    return hot()


@pytest.fixture
def state(ethanol: Atoms) -> PhaseState:
    return state_from_atoms(ethanol)


REFERENCE = named_molecule("ethanol").positions


def physics(**parameters):
    return MorseNetwork(REFERENCE, **parameters)


def cheap(**parameters):
    return CalculatorPotential(physics(**parameters))


@pytest.fixture
def atoms():
    atoms = hot()
    atoms.calc = CountingCalculator(physics())
    return atoms
