"""A state from its arrays, with shapes, values and fixed bonds checked."""

from __future__ import annotations

import torch
from torch import Tensor

from kstep_integrators.mechanics.check_bonds import check_bonds
from kstep_integrators.state import PhaseState, inverse_masses

__all__ = ["make_state"]


def make_state(
    numbers: Tensor,
    masses: Tensor,
    positions: Tensor,
    momenta: Tensor,
    batch: Tensor | None = None,
    mobile: Tensor | None = None,
    cell: Tensor | None = None,
    pbc: tuple[bool, bool, bool] = (False, False, False),
    fix_com: bool = False,
    time: float = 0.0,
    bonds: Tensor | None = None,
    bond_lengths: Tensor | None = None,
) -> PhaseState:
    """Build a state, checking shapes and values.

    Parameters are those of :class:`PhaseState`; ``masses`` may be (N,) or (N, 1), and ``cell``
    (3, 3) if all molecules have the same. In a periodic cell atoms that are bound may lie in
    different images.

    Raises
    ------
    ValueError
        If shapes disagree, a position or momentum is not finite, a mass is not positive, or bonds
        cannot be kept at their lengths.
    """
    n = len(numbers)
    masses = masses.to(torch.float64).reshape(-1, 1)
    for name, tensor, shape in (
        ("masses", masses, (n, 1)),
        ("positions", positions, (n, 3)),
        ("momenta", momenta, (n, 3)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
        if not bool(torch.isfinite(tensor).all()):
            bad = torch.nonzero(~torch.isfinite(tensor).all(1)).flatten().tolist()
            raise ValueError(
                f"{name} of atoms {bad[:10]} are not finite; check the geometry and momenta that "
                "the run starts from"
            )
    if bool((masses <= 0).any()):
        light = torch.nonzero(masses[:, 0] <= 0).flatten().tolist()
        raise ValueError(
            f"masses of atoms {light[:10]} are not positive; give every atom a mass in u"
        )
    if bool((numbers < 0).any()):
        raise ValueError(
            f"numbers of the atoms are {numbers.tolist()[:10]}, expected atomic numbers from 0"
        )
    device = positions.device
    batch = torch.zeros(n, dtype=torch.int64, device=device) if batch is None else batch
    molecules = int(batch[-1]) + 1
    cell = torch.zeros(3, 3, dtype=torch.float64, device=device) if cell is None else cell
    cells = cell.expand(molecules, 3, 3).contiguous() if cell.ndim == 2 else cell
    if cells.shape != (molecules, 3, 3):
        raise ValueError(
            f"cell has shape {tuple(cell.shape)}, expected (3, 3) or {(molecules, 3, 3)}: one cell "
            "for all molecules, or one for each"
        )
    for one in cells:
        _check_cell(one, pbc)
    state = PhaseState(
        numbers=numbers.to(torch.int64),
        masses=masses,
        positions=positions.to(torch.float64),
        momenta=momenta.to(torch.float64),
        batch=batch,
        mobile=None if mobile is None else mobile.to(torch.float64).reshape(-1, 1),
        cell=cells,
        pbc=pbc,
        fix_com=fix_com,
        time=torch.full((molecules,), time, dtype=torch.float64, device=device),
    )
    if bonds is None and bond_lengths is None:
        return state
    if bonds is None or bond_lengths is None:
        raise ValueError("bonds and bond_lengths belong together; give both of them, or neither")
    bonds, lengths = bonds.to(torch.int64), bond_lengths.to(torch.float64)
    weights = inverse_masses(state)
    offsets = check_bonds(bonds, lengths, state.positions, batch, weights, state.cell, pbc)
    return state.replace(bonds=bonds, bond_lengths=lengths, bond_offsets=offsets)


def _check_cell(cell: Tensor, pbc: tuple[bool, bool, bool]) -> None:
    """Refuse a cell whose periodic directions do not span as many dimensions."""
    if not bool(torch.isfinite(cell).all()):
        raise ValueError(f"the cell {cell.tolist()} is not finite; expected vectors in angstrom")
    periodic = cell[list(pbc)]
    if len(periodic) and int(torch.linalg.matrix_rank(periodic)) < len(periodic):
        raise ValueError(
            f"pbc is {list(pbc)} and the cell {cell.tolist()}: the vectors of its periodic "
            "directions are zero or lie in one plane; set atoms.cell, or atoms.pbc = False"
        )
