"""Bodies whose centres of mass follow a change of the cell: molecules as a whole, or atoms."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from kstep_integrators.fields import ATOM, GLOBAL, scoped
from kstep_integrators.mechanics.bond_watch import BOND, find_bonds
from kstep_integrators.state import PhaseState

__all__ = ["SCALES", "Bodies", "cell_volume", "find_bodies", "scaled"]

SCALES = ("molecules", "atoms")
"""Groups of atoms that a change of the cell moves as a whole."""


@dataclass(frozen=True)
class Bodies:
    """Groups of atoms that keep their inner geometry when the cell changes.

    They stay what they are from one change to the next, or a change could not be taken back.

    Attributes
    ----------
    body : (N,) int64
        Body of each atom.
    images : (N, 3) float64
        Whole cell vectors that make a body whole, if they are added to the position of each atom.
    count : int
    """

    body: Tensor = scoped(ATOM)
    images: Tensor = scoped(ATOM)
    count: int = scoped(GLOBAL)


def cell_volume(cell: Tensor) -> float:
    """Volume of a cell (3, 3), angstrom^3."""
    return abs(float(torch.linalg.det(cell)))


def find_bodies(state: PhaseState, scales: str) -> Bodies:
    """Find the bodies of a state.

    Parameters
    ----------
    state : PhaseState
        Of one replica, periodic in all three directions. Molecules may be wrapped.
    scales : str
        One of :data:`SCALES`. Molecules are what bonds join: distances below 1.3 times the sum of
        the covalent radii, and bonds of fixed length.

    Raises
    ------
    ValueError
        If bonds join an atom with its own periodic image: a crystal or a polymer is no molecule.
    """
    count, device = len(state.numbers), state.positions.device
    if scales == "atoms":
        return Bodies(torch.arange(count, device=device), torch.zeros_like(state.positions), count)
    neighbors = _neighbors(state)
    body = [-1] * count
    images: list[tuple[int, ...]] = [(0, 0, 0)] * count
    bodies = 0
    for first in range(count):
        if body[first] >= 0:
            continue
        body[first], waiting = bodies, deque([first])
        while waiting:
            i = waiting.popleft()
            for j, step in neighbors[i]:
                image = tuple(a + b for a, b in zip(images[i], step, strict=True))
                if body[j] < 0:
                    body[j], images[j] = bodies, image
                    waiting.append(j)
                elif images[j] != image:
                    raise ValueError(
                        f"barostat_scales is 'molecules', but atom {j} is joined by bonds to its "
                        "own periodic image: a network of bonds through the cell cannot be scaled "
                        "as a whole; use barostat_scales='atoms'"
                    )
        bodies += 1
    return Bodies(
        torch.tensor(body, device=device),
        torch.tensor(images, dtype=state.positions.dtype, device=device),
        bodies,
    )


def _neighbors(state: PhaseState) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Bonded neighbours of each atom, with the whole cell vectors to their images."""
    topology = find_bonds(state)
    offset = torch.zeros_like(topology.length).unsqueeze(1).expand(-1, 3)
    offset = offset if topology.offset is None else topology.offset
    x = state.positions
    vectors = x[topology.pairs[:, 1]] - x[topology.pairs[:, 0]] + offset
    bonded = vectors.norm(dim=1) < BOND * topology.length  # each image of a pair apart
    pairs, offset = topology.pairs[bonded], offset[bonded]
    if state.bonds is not None and state.bond_offsets is not None:
        pairs = torch.cat([pairs, state.bonds])
        offset = torch.cat([offset, state.bond_offsets])
    steps = _whole(offset, state.cell[0]).to(torch.int64).tolist()
    neighbors: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in state.numbers]
    for (i, j), step in zip(pairs.tolist(), steps, strict=True):
        neighbors[i].append((j, tuple(step)))
        neighbors[j].append((i, tuple(-n for n in step)))
    return neighbors


def _whole(vectors: Tensor, cell: Tensor) -> Tensor:
    """Vectors (P, 3) that are sums of cell vectors, as whole numbers of them."""
    steps: Tensor = torch.linalg.solve(cell.T, vectors.T).T.round()
    return steps


def scaled(state: PhaseState, bodies: Bodies, factors: Tensor) -> PhaseState:
    r"""The state in a cell whose vectors have other lengths.

    With the cells :math:`h` and :math:`h' = \mathrm{diag}(f)\,h` (vectors as rows), the centre of
    mass :math:`X` of each body goes to :math:`X h^{-1} h'`, and its atoms go along; momenta stay.
    In the coordinates of the bodies that is a map of determinant :math:`(V'/V)^n`, undone by the
    factors :math:`1/f`. Where the centre of mass of all is held, it stays in its place.

    Parameters
    ----------
    state : PhaseState
        Of one replica.
    bodies : Bodies
    factors : (3,) Tensor
        Of the length of each cell vector.
    """
    before = state.cell[0]
    cell = factors.unsqueeze(1) * before
    strain = torch.linalg.solve(before, cell) - torch.eye(3).to(cell)
    whole = state.positions + bodies.images @ before
    weights = state.masses
    if bodies.count == len(state.masses):
        moves = whole @ strain
    else:
        total = torch.zeros(bodies.count, 1).to(weights).index_add(0, bodies.body, weights)
        sums = torch.zeros(bodies.count, 3).to(whole).index_add(0, bodies.body, weights * whole)
        moves = ((sums / total) @ strain)[bodies.body]
    moves = moves - bodies.images @ (cell - before)
    if state.fix_com:
        moves = moves - (weights * moves).sum(0) / weights.sum()
    changes = {"cell": cell.unsqueeze(0), "positions": state.positions + moves}
    if state.bond_offsets is not None:
        changes["bond_offsets"] = _whole(state.bond_offsets, before) @ cell
    return state.replace(**changes)
