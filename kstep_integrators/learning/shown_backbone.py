"""A trained backbone for the elements of a run: those it does not know are shown as others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase.data import covalent_radii

from kstep_integrators.models.model_file import ModelHeader, model_path, read_model
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["BACKBONE", "FUNCTIONS", "SHORT", "UNTRAINED", "crowded", "shown_as", "shown_backbone"]

BACKBONE = "organic-gfn2"
"""Model whose features are learned on, beside a base that is no network."""

FUNCTIONS = 512
"""Functions of each atom that are learned on."""

SHORT = 0.7
"""Of the sum of covalent radii: shorter than bonds are. Features change down to there, though the
backbone may have met the two elements at larger distances alone, as N beside N, or O in place of S
beside O: else a bond between them could not be learned."""

_GROUPS = (
    (1, 3, 11, 19, 37, 55, 87),
    (6, 14, 32, 50, 82),
    (7, 15, 33, 51, 83),
    (8, 16, 34, 52, 84),
    (9, 17, 35, 53, 85),
    (5, 13, 31, 49, 81),
    (4, 12, 20, 38, 56, 88),
    (2, 10, 18, 36, 54, 86),
)
"""Groups of the periodic table."""
_OTHERS = {4: 8, 5: 6, 6: 6, 7: 1}
"""Elements that stand for a whole group (by its place above) of which none is known."""
_METAL = 6
"""Element that stands for transition metals."""
UNTRAINED = "untrained"
"""Name of the backbone that is learned on in cells. Atoms there have more neighbours than one for
molecules has met: its features have slopes of thousands in copper and grow from layer to layer, and
in a liquid they change with every contact. After 20 to 50 labels: copper 70 meV/angstrom on the
trained one and 3 on this, a slab of it 500 and 4, water (GFN1, 27 molecules) 190 and 74."""
_SIZES: dict[str, Any] = {"channels": 64, "layers": 2, "radial": 16, "cutoff": 5.0}
"""Of the PaiNN with that name."""
_COVALENT = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 33, 34, 35, 52, 53))
"""Elements whose bonds look like those of others of their group at another length."""
_CLUSTER = 2
"""Atoms of others, metals, ions and noble gases, up to which a molecule is no cluster, whose atoms
have as many neighbours as in cells. After 30 to 60 labels the trained one is at 1 to 13
meV/angstrom for (NaCl)2, Zn(CH3)2, Cu4 and Li4, the untrained one at 18 to 50; for (NaCl)3 at 560
and 38, for (NaCl)4 at 1100 and 25, for Cu13 at 800 and 36; and for Cu38 the trained one has no
finite energies. The limit is where the trained one begins to fail."""


def crowded(numbers: Sequence[int], periodic: bool) -> bool:
    """True if atoms of a system have more neighbours than a backbone for molecules has met.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers of all atoms of one molecule, cluster or cell.
    periodic : bool
        Whether it is in a periodic cell.

    Examples
    --------
    >>> crowded([29] * 13, False), crowded([30, 6, 6], False), crowded([8, 1, 1], True)
    (True, False, True)
    """
    return periodic or sum(z not in _COVALENT for z in numbers) > _CLUSTER


def shown_as(element: int, known: Sequence[int]) -> int:
    """The element that a backbone is shown in place of another: itself, or one of its group.

    Parameters
    ----------
    element : int
        Atomic number.
    known : sequence of int
        Atomic numbers that the backbone has learned.

    Examples
    --------
    >>> [shown_as(z, [1, 6, 7, 8]) for z in (6, 14, 15, 16, 17, 30)]
    [6, 6, 7, 8, 8, 6]
    """
    if element in known:
        return element
    stands = _METAL
    for number, group in enumerate(_GROUPS):
        if element in group:
            near = [z for z in group if z in known]
            stands = near[-1] if near else _OTHERS.get(number, _METAL)
    return stands if stands in known else known[-1]


def shown_backbone(
    elements: Sequence[int], name: str | Path | None, repulsion: bool, packed: bool = False
) -> tuple[ModelHeader, EnergyNetwork]:
    """A network without energies of its own, and a linear readout on a backbone.

    An element that the backbone has not learned is shown to it as one of the same group, at
    distances scaled by the covalent radii, so that a bond looks like a bond. Its weights are its
    own, and so the energy knows which is which. In crowded systems the default is an untrained
    backbone, the same in every run.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers of the run, ascending.
    name : str or Path, optional
        Of the model with the backbone; the bundled one by default.
    repulsion : bool
        Whether it repels nuclei at close contact.
    packed : bool
        Whether it is for crowded systems, see :func:`crowded`.

    Raises
    ------
    ModelFileError
        If there is no such model.
    ValueError
        If it is a model of direct jumps.
    """
    network, header, _ = read_model(model_path(BACKBONE if name is None else name))
    if not isinstance(network, EnergyNetwork):
        raise ValueError(
            f"backbone is {str(name)!r}, a model of direct jumps; expected that of a potential"
        )
    common = {
        "elements": list(elements),
        "shifts": [0.0] * len(elements),
        "readout": False,
        "repulsion": repulsion,
        "linear": FUNCTIONS,
    }
    if packed and name is None:
        made, backbone = _untrained(common), UNTRAINED
    else:
        made, backbone = _trained(network, header, elements, common), header.name
    made.requires_grad_(False)
    header = dataclasses.replace(
        header,
        name=backbone,
        charge=(-99, 99),  # whatever it is, it learns
        multiplicities=tuple(range(1, 12)),
        network=dict(made.config),
        training={},
    )
    return header, made


def _untrained(common: dict[str, Any]) -> EnergyNetwork:
    """Random weights of a fixed seed, whatever the state of PyTorch's generator, which stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EnergyNetwork(**common, **_SIZES)


def _trained(
    network: EnergyNetwork, header: ModelHeader, elements: Sequence[int], common: dict[str, Any]
) -> EnergyNetwork:
    """The backbone of a network, shown the elements of a run."""
    known = header.elements
    shown = [shown_as(z, known) for z in elements]
    rows = torch.tensor([known.index(z) for z in shown])
    real, seen = (torch.tensor([covalent_radii[z] for z in zs]) for zs in (elements, shown))
    stretch = (seen[:, None] + seen) / (real[:, None] + real)
    nearest = network.nearest[rows][:, rows] / stretch
    arguments = {
        **network.config,
        **common,
        "nearest": torch.minimum(nearest, SHORT * (real[:, None] + real)).tolist(),
        "stretch": None if shown == list(elements) else stretch.tolist(),
    }
    made = EnergyNetwork(**arguments)
    kept = {n: v for n, v in network.state_dict().items() if n.startswith("backbone")}
    kept["backbone.embedding.weight"] = kept["backbone.embedding.weight"][rows]
    made.load_state_dict(kept, strict=False)
    return made
