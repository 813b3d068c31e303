"""Energies, forces and virials of the functions of a linear readout, to fit labels with."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vmap

from kstep_integrators.mechanics.near_pairs import periodic_cell
from kstep_integrators.mechanics.strain import STRAINS, strained
from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.common.neighbor_lists import Box, build_skin_list, dense_layout
from kstep_integrators.nn.energy.linear_readout import LinearReadout
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.network import NativeNetwork
from kstep_integrators.state import PhaseState

__all__ = ["ForceFeatures", "force_features", "native_force_features"]

NUMBERS_AT_ONCE = 20_000_000
"""Numbers per layer and batch of displacements: what fits into some hundred megabytes."""
STRAIN = 1e-5
"""Of the central differences of the native kernel, in float64."""
NO_STRAINS = torch.zeros(0, dtype=torch.int64)
"""Default of those that want none."""


@dataclass(frozen=True)
class ForceFeatures:
    """The functions of a linear readout for one molecule, summed over the atoms of each element.

    Attributes
    ----------
    energies : (S, D) float64
        Sums of the functions.
    forces : (n, S, D) float64, 1/angstrom
        Minus their derivatives by n of the coordinates: with weights in eV, forces.
    virials : (m, S, D) float64
        Their derivatives by m of the strains of the cell: with weights in eV, stresses times the
        volume.
    """

    energies: Tensor
    forces: Tensor
    virials: Tensor


def force_features(
    network: EnergyNetwork,
    state: PhaseState,
    species: Tensor,
    dense: bool,
    coordinates: Tensor,
    strains: Tensor = NO_STRAINS,
) -> ForceFeatures:
    """The functions of a network's linear readout and their derivatives, at one geometry.

    Forward derivatives along every coordinate, some at once: 3 N of them give what a backward
    pass for each of the S x D functions would.

    Parameters
    ----------
    network : EnergyNetwork
        With a linear readout.
    state : PhaseState
        One molecule, on the device of the network.
    species : (N,) int64
        Index of each atom's element in the network's table.
    dense : bool
        All pairs, or a neighbour list, as in every cell.
    coordinates : (n,) int64
        Of the 3 N, along which forces are wanted.
    strains : (m,) int64
        Of xx, yy, zz, yz, xz, xy, by which derivatives are wanted.

    Raises
    ------
    ValueError
        If the network has no linear readout.
    """
    linear = _readout_of(network)
    graph = _graph(network, state, species, dense)
    x = state.positions
    kinds = linear.weight.shape[0]
    used = torch.nn.functional.one_hot(species.to(x.device), kinds).to(linear.weight.dtype)

    def sums(positions: Tensor, strain: Tensor) -> Tensor:
        moved = positions + positions @ strain
        offsets = None if graph.offsets is None else graph.offsets + graph.offsets @ strain
        there = dataclasses.replace(graph, offsets=offsets)
        invariants, _ = network.invariants(moved.unsqueeze(0) if dense else moved, there)
        functions = linear.functions(invariants)
        return used.T @ functions.reshape(len(x), -1)

    none = x.new_zeros(3, 3)
    steps = x.new_zeros(len(coordinates) + len(strains), x.numel())
    steps[torch.arange(len(coordinates)), coordinates] = 1.0
    still = none.expand(len(coordinates), 3, 3)
    strained_by = torch.cat([still, STRAINS[strains].to(x)])
    with torch.no_grad():
        energies = sums(x, none).to(torch.float64)
        width = network.config["channels"] * 3 * graph.pair_mask.numel()
        at_once = max(1, NUMBERS_AT_ONCE // width)

        def along(step: Tensor, strain: Tensor) -> Tensor:
            slope: Tensor = jvp(sums, (x, none), (step.reshape(x.shape), strain))[1]
            return slope

        with warnings.catch_warnings():
            # PyTorch 2.13 scripts some derivatives, by its own deprecated way, at the first call.
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
            parts = [
                vmap(along)(*some).to(torch.float64)
                for some in zip(steps.split(at_once), strained_by.split(at_once), strict=True)
                if len(some[0])
            ]
        slopes = torch.cat([energies.new_zeros(0, *energies.shape), *parts])
    forces, rest = slopes[: len(coordinates)], slopes[len(coordinates) :]
    return ForceFeatures(energies, -forces, rest)


def native_force_features(
    native: NativeNetwork,
    state: PhaseState,
    species: Tensor,
    coordinates: Tensor,
    strains: Tensor = NO_STRAINS,
) -> ForceFeatures:
    """The same by the native kernel; virials by differences.

    Parameters are those of :func:`force_features`, of a network in float64.
    """

    def at(there: PhaseState, chosen: Tensor) -> tuple[Tensor, Tensor]:
        cell = None
        if any(there.pbc):
            cell = periodic_cell(there.cell[0].cpu().numpy(), there.pbc)
        system = native.system(species.numpy(), [len(species)], cell, there.pbc)
        x, threads = there.positions.cpu().numpy(), torch.get_num_threads()
        sums, slopes = system.functions(x, chosen.numpy(), threads)
        return torch.from_numpy(sums), torch.from_numpy(slopes)

    energies, slopes = at(state, coordinates)
    none, rows = coordinates[:0], [energies.new_zeros(0, *energies.shape)]
    for one in STRAINS[strains]:
        above, below = (at(strained(state, e * one), none)[0] for e in (STRAIN, -STRAIN))
        rows.append((above - below).unsqueeze(0) / (2.0 * STRAIN))
    return ForceFeatures(energies, -slopes, torch.cat(rows))


def _readout_of(network: EnergyNetwork) -> LinearReadout:
    if network.linear is None:
        raise ValueError(
            "the network has no linear readout to learn; make one with EnergyNetwork(linear=...)"
        )
    return network.linear


def _graph(network: EnergyNetwork, state: PhaseState, species: Tensor, dense: bool) -> Graph:
    device, batch = state.positions.device, torch.zeros_like(species)
    if dense:
        return dense_layout(species, batch, device)[1]
    return build_skin_list(
        state.positions, species.to(device), batch.to(device), network.cutoff, box=Box.of(state)
    ).graph
