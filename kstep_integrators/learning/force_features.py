"""Energies and forces of every function of a linear readout: what a label is fitted with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vmap

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.common.neighbor_lists import build_skin_list, dense_layout
from kstep_integrators.nn.energy.linear_readout import LinearReadout
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.native.network import NativeNetwork

__all__ = ["ForceFeatures", "force_features", "native_force_features"]

NUMBERS_AT_ONCE = 20_000_000
"""Numbers per layer and batch of displacements: what fits into some hundred megabytes."""


@dataclass(frozen=True)
class ForceFeatures:
    """The functions of a linear readout for one molecule, summed over the atoms of each element.

    Attributes
    ----------
    energies : (S, D) float64
        Sums of the functions.
    forces : (3 N, S, D) float64, 1/angstrom
        Minus their derivatives by the coordinates: with weights in eV, forces.
    """

    energies: Tensor
    forces: Tensor | None


def force_features(
    network: EnergyNetwork,
    positions: Tensor,
    species: Tensor,
    dense: bool,
    forces: bool = True,
) -> ForceFeatures:
    """The functions of a network's linear readout and their forces, at one geometry.

    Forward derivatives along every coordinate, some at once: 3 N of them give what a backward
    pass for each of the S x D functions would.

    Parameters
    ----------
    network : EnergyNetwork
        With a linear readout.
    positions : (N, 3) float64, angstrom
    species : (N,) int64
        Index of each atom's element in the network's table.
    dense : bool
        All pairs, or a neighbour list.
    forces : bool
        False: energies alone.

    Raises
    ------
    ValueError
        If the network has no linear readout.
    """
    linear = _readout_of(network)
    graph = _graph(network, positions, species, dense)
    kinds = linear.weight.shape[0]
    used = torch.nn.functional.one_hot(species.to(positions.device), kinds).to(linear.weight.dtype)

    def sums(x: Tensor) -> Tensor:
        invariants, _ = network.invariants(x.unsqueeze(0) if dense else x, graph)
        functions = linear.functions(invariants)
        return used.T @ functions.reshape(len(x), -1)

    with torch.no_grad():
        energies = sums(positions).to(torch.float64)
        if not forces:
            return ForceFeatures(energies, None)
        width = network.config["channels"] * 3 * graph.pair_mask.numel()
        at_once = max(1, NUMBERS_AT_ONCE // width)
        basis = torch.eye(positions.numel(), dtype=positions.dtype, device=positions.device)

        def along(direction: Tensor) -> Tensor:
            slope: Tensor = jvp(sums, (positions,), (direction.reshape(positions.shape),))[1]
            return slope

        with warnings.catch_warnings():
            # PyTorch 2.13 scripts some derivatives, by its own deprecated way, at the first call.
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
            parts = [vmap(along)(some).to(torch.float64) for some in basis.split(at_once)]
        slopes = torch.cat(parts)
    return ForceFeatures(energies, -slopes)


def native_force_features(
    native: NativeNetwork, positions: Tensor, species: Tensor, forces: bool = True
) -> ForceFeatures:
    """The same by the native kernel, whose forward pass is so cheap that differences serve.

    Parameters
    ----------
    native : NativeNetwork
        In float64, with a linear readout.
    positions : (N, 3) float64, angstrom
    species : (N,) int64
    forces : bool
        False: energies alone.
    """
    system = native.system(species.numpy(), [len(species)])
    sums, slopes = system.functions(positions.cpu().numpy(), forces)
    return ForceFeatures(
        torch.from_numpy(sums), None if slopes is None else -torch.from_numpy(slopes)
    )


def _readout_of(network: EnergyNetwork) -> LinearReadout:
    if network.linear is None:
        raise ValueError(
            "the network has no linear readout to learn; make one with EnergyNetwork(linear=...)"
        )
    return network.linear


def _graph(network: EnergyNetwork, positions: Tensor, species: Tensor, dense: bool) -> Graph:
    batch = torch.zeros_like(species)
    if dense:
        return dense_layout(species, batch, positions.device)[1]
    device = positions.device
    return build_skin_list(positions, species.to(device), batch.to(device), network.cutoff).graph
