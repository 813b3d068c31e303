"""Weights of a PaiNN energy network as the kernel reads them: one row of numbers, and sizes."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.nn.energy.linear_readout import SIZE
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.nn.energy.painn import PaiNN

__all__ = ["Sizes", "numbers_of", "sizes_of"]


class Sizes(ctypes.Structure):
    """Sizes and constants of a network, as the C side declares them."""

    _fields_ = (
        ("species", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("radial", ctypes.c_int32),
        ("readout", ctypes.c_int32),
        ("functions", ctypes.c_int32),
        ("repulsion", ctypes.c_int32),
        ("is_double", ctypes.c_int32),
        ("cutoff", ctypes.c_double),
        ("scale", ctypes.c_double),
        ("amplitude", ctypes.c_double),
        ("coulomb", ctypes.c_double),
        ("screening", ctypes.c_double),
    )


def sizes_of(network: EnergyNetwork, dtype: torch.dtype) -> Sizes:
    """Sizes of a network, to be computed in float32 or float64.

    Parameters
    ----------
    network : EnergyNetwork
        Of the backbone ``painn``.
    dtype : torch.dtype
    """
    config, linear = network.config, network.linear
    functions = 0 if linear is None else len(linear.phases)
    return Sizes(
        species=len(config["elements"]),
        channels=config["channels"],
        layers=config["layers"],
        radial=config["radial"],
        readout=0 if network.readout is None else network.readout.hidden.out_features,
        functions=functions,
        repulsion=int(network.repulsion is not None),
        is_double=int(dtype == torch.float64),
        cutoff=config["cutoff"],
        scale=network.scale,
        amplitude=math.sqrt(SIZE / functions) if functions else 0.0,
        coulomb=units.COULOMB,
        screening=0.88534 * units.BOHR,
    )


def numbers_of(network: EnergyNetwork) -> NDArray[np.float64]:
    """Tables and weights of a network in the order that the kernel takes them in, float64.

    The weights of a linear readout are not among them: they change while a run learns, and every
    call is given them.

    Parameters
    ----------
    network : EnergyNetwork

    Raises
    ------
    ValueError
        If the backbone is another than ``painn``.
    """
    backbone = network.backbone
    if not isinstance(backbone, PaiNN):
        raise ValueError(
            f"the network has the backbone {network.config['backbone']!r}, expected 'painn': the "
            "native kernel computes no other; use backend='eager'"
        )
    species = len(network.config["elements"])
    none = torch.zeros(species * species)
    repulsion = network.repulsion
    parts: list[Tensor] = [network.nearest, network.stretch]
    if repulsion is None:
        parts += [none, none[:species], none[:species]]
    else:
        parts += [repulsion.radius, repulsion.charge, repulsion.charge_power]
    parts.append(backbone.embedding.weight)
    for message, update in zip(backbone.messages, backbone.updates, strict=True):
        for module in (message, update):
            parts += list(module.parameters())
    if network.readout is not None:
        parts += list(network.readout.parameters())
    if network.linear is not None:
        parts += [network.linear.directions, network.linear.phases]
    rows = [part.detach().to("cpu", torch.float64).reshape(-1) for part in parts]
    return np.ascontiguousarray(torch.cat(rows).numpy())
