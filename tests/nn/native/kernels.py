"""Networks, molecules and boxes that the kernel is tried on, and the same by PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from kstep_integrators import named_molecule
from kstep_integrators.nn.common.graph import Graph, pair_values
from kstep_integrators.nn.common.neighbor_lists import dense_layout
from kstep_integrators.nn.common.radial import frozen_below
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.library import NativeLibrary
from kstep_integrators.nn.native.network import NativeNetwork
from tests.conftest import ELEMENTS

TABLE = [[1.0, 0.8, 1.0, 1.2], [0.8, 1.1, 0.9, 1.0], [1.0, 0.9, 1.0, 1.0], [1.2, 1.0, 1.0, 1.0]]
CONFIGS = {
    "two layers": {},
    "one layer": {"layers": 1, "radial": 5},
    "odd widths": {"layers": 3, "radial": 7, "cutoff": 3.5},
    "linear readout": {"linear": 21},
    "linear readout alone": {"linear": 48, "readout": False, "repulsion": False},
    "stretched": {"linear": 5, "stretch": TABLE, "layers": 3},
}
BOXES = {
    "small": (np.diag([4.0, 5.0, 9.0]), (True, True, True)),
    "oblique": (np.array([[4.5, 0, 0], [1.5, 5.0, 0], [-1.0, 2.0, 14.0]]), (True, True, True)),
    "two directions": (np.diag([6.0, 4.0, 11.0]), (True, False, True)),
    "large": (np.diag([13.0, 13.5, 14.0]), (True, True, True)),
    "left-handed": (np.array([[0, 0, 6.0], [7.0, 0, 0], [0, 6.5, 1.0]]), (False, True, True)),
}
"""Cells and the directions in which they are periodic."""


def configured(channels: int, config: dict) -> EnergyNetwork:
    """A network of one of the configurations, in float64, with weights of all readouts."""
    torch.manual_seed(1)
    net = EnergyNetwork(ELEMENTS, channels=channels, scale=20.0, **config).double()
    if net.linear is not None:
        torch.nn.init.normal_(net.linear.weight, std=0.3)
    return net.requires_grad_(False)


def squeezed(name: str = "ethanol", seed: int = 0) -> Atoms:
    """A molecule with distances at which repulsion and frozen distances act."""
    atoms = named_molecule(name)
    rng = np.random.default_rng(seed)
    atoms.positions = 0.8 * atoms.positions + rng.normal(0.0, 0.1, atoms.positions.shape)
    return atoms


def species(atoms: Atoms) -> list[int]:
    return [ELEMENTS.index(z) for z in atoms.numbers]


def native(net: EnergyNetwork, library: NativeLibrary, dtype: torch.dtype = torch.float64):
    return NativeNetwork(net, dtype, library)


def system(net: EnergyNetwork, library: NativeLibrary, atoms: Atoms, dtype=torch.float64):
    return native(net, library, dtype).system(species(atoms), [len(atoms)])


def weights(net: EnergyNetwork):
    return None if net.linear is None else net.linear.weight.double().numpy()


def eager(net: EnergyNetwork, atoms: Atoms):
    """Energy and forces by PyTorch, and what a Hessian needs."""
    kinds = torch.tensor(species(atoms))
    padding, graph = dense_layout(kinds, torch.zeros_like(kinds), torch.device("cpu"))
    x = padding.pad(torch.tensor(atoms.positions))
    energy, forces = energy_and_forces(net, None, x, graph)
    return energy.double().sum().item(), padding.flat(forces).numpy(), (x, graph)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative error, root of mean squares."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def boxed(name: str) -> Atoms:
    """A molecule in one of the boxes, anywhere and not wrapped."""
    atoms = squeezed("methanol")
    cell, pbc = BOXES[name]
    atoms.set_cell(cell)
    atoms.set_pbc(pbc)
    atoms.positions += [7.0, -20.0, 3.0]
    atoms.positions[2] += 3 * cell[0] * pbc[0] - cell[2]
    return atoms


def periodic_reference(net: EnergyNetwork, atoms: Atoms):
    """Energy of a periodic box by PyTorch, from every image within reach, and the positions."""
    i, j, shifts = neighbor_list("ijS", atoms, net.cutoff)
    width = int(np.bincount(i).max())
    index, mask = np.zeros((len(atoms), width), int), np.zeros((len(atoms), width), bool)
    offset = np.zeros((len(atoms), width, 3))
    for atom in range(len(atoms)):
        mine = np.flatnonzero(i == atom)
        index[atom, : len(mine)], mask[atom, : len(mine)] = j[mine], True
        offset[atom, : len(mine)] = shifts[mine] @ atoms.cell
    x = torch.tensor(atoms.positions, requires_grad=True)
    kinds = torch.tensor(species(atoms))
    graph = Graph(
        kinds, torch.ones_like(kinds, dtype=torch.bool), torch.tensor(mask), torch.tensor(index)
    )
    vectors = x[graph.index] + torch.tensor(offset) - x.unsqueeze(1)
    vectors = torch.where(graph.pair_mask.unsqueeze(-1), vectors, vectors.new_tensor([1e3, 0, 0]))
    distances = vectors.norm(dim=-1)
    seen = frozen_below(distances, pair_values(net.nearest, graph))
    features = net.backbone(vectors * (seen / distances).unsqueeze(-1), seen, graph)
    energy = (net.scale * net.readout(features[-1]) + net.repulsion(distances, graph)).sum()
    return energy, x
