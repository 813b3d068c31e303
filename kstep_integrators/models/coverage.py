"""Check of the atoms that a model covers, before a run extrapolates unawares."""

from __future__ import annotations

import torch
from ase.data import chemical_symbols
from torch import Tensor

from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.state import PhaseState

__all__ = ["check_coverage", "species_of"]


def check_coverage(header: ModelHeader, state: PhaseState) -> None:
    """Refuse atoms that a model does not cover.

    Raises
    ------
    ValueError
        For an unknown element, or a periodic cell if the model has not been fitted in one.
    """
    unknown = sorted(set(state.numbers.tolist()) - set(header.elements))
    if unknown:
        raise ValueError(
            f"model {header.name!r} does not cover the elements "
            f"{[chemical_symbols[z] for z in unknown]}; it covers "
            f"{[chemical_symbols[z] for z in header.elements]}"
        )
    if any(state.pbc) and not header.periodic:
        advice = "Use a potential: a direct jump learns the motion of a molecule as a whole"
        if header.kind == "potential":
            advice = "Pass learn=True, and it learns of them from the run"
        raise ValueError(
            f"model {header.name!r} was fitted to isolated molecules only, and the system has "
            f"pbc={state.pbc}: it knows no neighbours of a molecule. {advice}; or set atoms.pbc = "
            "False for a molecule alone"
        )


def species_of(header: ModelHeader, state: PhaseState) -> Tensor:
    """Index of each atom's element in the table of a model that covers it, (N,) int64."""
    order = [header.elements.index(z) for z in state.numbers.tolist()]
    return torch.tensor(order, dtype=torch.int64)
