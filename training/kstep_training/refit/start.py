"""Network that a refit starts from, with what it knows of its data brought to the labels."""

from __future__ import annotations

import numpy as np
import torch

from kstep_integrators.mechanics.near_pairs import neighbor_pairs
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_training.refit.targets import Array, TargetBatches, Targets

__all__ = ["start_on"]


def start_on(start: EnergyNetwork, targets: Targets, fitted: int) -> tuple[EnergyNetwork, Array]:
    """Make the network to be fitted, and the energies that it is to give without its shifts.

    Element shifts move by the least that brings the mean energy of each composition to that of the
    labels, because methods differ in energy by far more than in forces. What that leaves, of more
    compositions than elements, is taken from the labels: only differences of energy are fitted.

    Parameters
    ----------
    start : EnergyNetwork
    targets : Targets
    fitted : int
        How many of them, from the first, are fitted; the others change nothing.

    Returns
    -------
    network : EnergyNetwork
        float32; all weights may change.
    energies : (n,) float64, eV
        Of all targets.
    """
    start = start.to(torch.float32)
    elements, shifts = start.config["elements"], np.array(start.config["shifts"])
    counts = targets.counts(elements)
    own = targets.energies - counts @ shifts
    gaps = own - _energies(start, targets)
    compositions, which = np.unique(counts, axis=0, return_inverse=True)
    which = which.reshape(-1)
    means = np.zeros(len(compositions))
    for composition in range(len(compositions)):
        here = np.flatnonzero(which == composition)
        first = here[here < fitted]
        means[composition] = gaps[first if len(first) else here].mean()
    seen = np.unique(which[:fitted])
    moved, *_ = np.linalg.lstsq(compositions[seen], means[seen], rcond=None)
    arguments = {
        **start.config,
        "shifts": (shifts + moved).tolist(),
        "nearest": _nearest(start, targets.part(0, fitted)),
    }
    network = EnergyNetwork(**arguments)
    network.load_state_dict(start.state_dict())
    return network.to(torch.float32), own - means[which]


def _energies(network: EnergyNetwork, targets: Targets) -> Array:
    """What the network makes of the labels, without shifts, (n,) eV."""
    elements, given = network.config["elements"], np.zeros(len(targets))
    # The number of each label in place of its energy, to find it again among the groups.
    batches = TargetBatches(targets, elements, np.arange(len(targets), dtype=float), network.cutoff)
    for first, last in zip(batches.offsets[:-1], batches.offsets[1:], strict=True):
        for begin in range(first, last, 64):
            batch = batches[range(begin, min(begin + 64, last))]
            energy, _ = energy_and_forces(network, None, batch.positions, batch.graph)
            given[batch.energies.long().numpy()] = energy.double().sum(-1).numpy()
    return given


def _nearest(start: EnergyNetwork, targets: Targets) -> list[list[float]]:
    """Closest approaches in the data of the start and in the labels, angstrom."""
    nearest = np.array(start.config["nearest"])
    elements = start.config["elements"]
    for numbers, x, cell, pbc in zip(
        targets.numbers, targets.positions, targets.cells, targets.pbc, strict=True
    ):
        kinds = np.array([elements.index(z) for z in numbers.tolist()])
        found = neighbor_pairs(torch.from_numpy(x), torch.from_numpy(cell), pbc, nearest.max())
        pairs, offsets = (part.numpy() for part in found)
        distances = np.linalg.norm(x[pairs[:, 1]] - x[pairs[:, 0]] + offsets, axis=1)
        np.minimum.at(nearest, (kinds[pairs[:, 0]], kinds[pairs[:, 1]]), distances)
    return [[float(d) for d in row] for row in nearest]
