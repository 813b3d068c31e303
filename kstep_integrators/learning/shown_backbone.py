"""A trained backbone for the elements of a run: those it does not know are shown as others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from ase.data import covalent_radii

from kstep_integrators.models.model_file import ModelHeader, model_path, read_model
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["FUNCTIONS", "SHORT", "shown_as", "shown_backbone"]

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
_COVALENT = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 33, 34, 35, 52, 53))
"""Elements whose bonds look like those of others of their group at another length. In a crystal the
others have more neighbours: brought as near as bonds of carbon they would be more than any backbone
for molecules has met, and its features grow without bounds from layer to layer (1e14 in copper)."""


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
    elements: Sequence[int], name: str | Path, repulsion: bool, cells: bool = False
) -> tuple[ModelHeader, EnergyNetwork]:
    """A network without energies of its own, and a linear readout on a trained backbone.

    An element that the backbone has not learned is shown to it as one of the same group, at
    distances scaled by the covalent radii, so that a bond looks like a bond; in cells that is
    done between nonmetals alone. Its weights are its own, and so the energy knows which is which.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers of the run, ascending.
    name : str or Path
        Of the model with the backbone.
    repulsion : bool
        Whether it repels nuclei at close contact.
    cells : bool
        Whether it is for periodic cells.

    Raises
    ------
    ModelFileError
        If there is no such model.
    ValueError
        If it is a model of direct jumps.
    """
    network, header, _ = read_model(model_path(name))
    if not isinstance(network, EnergyNetwork):
        raise ValueError(
            f"backbone is {str(name)!r}, a model of direct jumps; expected that of a potential"
        )
    config, known = network.config, header.elements
    shown = [shown_as(z, known) for z in elements]
    rows = torch.tensor([known.index(z) for z in shown])
    real, seen = (torch.tensor([covalent_radii[z] for z in zs]) for zs in (elements, shown))
    stretch = (seen[:, None] + seen) / (real[:, None] + real)
    if cells:
        bonding = torch.tensor([z in _COVALENT for z in elements])
        stretch = torch.where(bonding[:, None] & bonding, stretch, 1.0)
    nearest = network.nearest[rows][:, rows] / stretch
    arguments = {
        **config,
        "elements": list(elements),
        "shifts": [0.0] * len(elements),
        "nearest": torch.minimum(nearest, SHORT * (real[:, None] + real)).tolist(),
        "stretch": None if bool((stretch == 1.0).all()) else stretch.tolist(),
        "readout": False,
        "repulsion": repulsion,
        "linear": FUNCTIONS,
    }
    made = EnergyNetwork(**arguments)
    kept = {n: v for n, v in network.state_dict().items() if n.startswith("backbone")}
    kept["backbone.embedding.weight"] = kept["backbone.embedding.weight"][rows]
    made.load_state_dict(kept, strict=False)
    made.requires_grad_(False)
    header = dataclasses.replace(
        header,
        charge=(-99, 99),  # whatever it is, it learns
        multiplicities=tuple(range(1, 12)),
        network=dict(made.config),
        training={},
    )
    return header, made
