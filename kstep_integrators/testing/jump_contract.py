"""The contract that every jump keeps, and the transformations of states that it is stated in."""

from __future__ import annotations

from typing import Any

import torch

from kstep_integrators.ensemble.states import join_states
from kstep_integrators.jumps.base import Jump
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["angular_momentum", "assert_jump", "flipped", "rotated"]


def flipped(state: PhaseState) -> PhaseState:
    """Reverse the momenta of a state.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> from kstep_integrators.testing import flipped
    >>> atoms = Atoms("H", momenta=[[1, 2, 3]])
    >>> flipped(state_from_atoms(atoms)).momenta.tolist()
    [[-1.0, -2.0, -3.0]]
    """
    return state.replace(momenta=-state.momenta)


def rotated(state: PhaseState, rotation: torch.Tensor) -> PhaseState:
    """Rotate or reflect positions, momenta and cells of a state about the origin.

    Parameters
    ----------
    state : PhaseState
    rotation : (3, 3)
        Orthogonal R: each position becomes R x.

    Examples
    --------
    >>> import torch
    >>> from ase import Atoms
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> from kstep_integrators.testing import rotated
    >>> quarter = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    >>> rotated(state_from_atoms(Atoms("H", [[1, 0, 0]])), quarter).positions.tolist()
    [[0.0, 1.0, 0.0]]
    """
    parts = ("positions", "momenta", "cell")
    return state.replace(**{name: getattr(state, name) @ rotation.T for name in parts})


def angular_momentum(state: PhaseState) -> torch.Tensor:
    """Total angular momentum about the origin, (3,) u angstrom^2 / ASE time.

    Examples
    --------
    >>> from ase import Atoms
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> from kstep_integrators.testing import angular_momentum
    >>> atoms = Atoms("H", [[2, 0, 0]], momenta=[[0, 3, 0]])
    >>> angular_momentum(state_from_atoms(atoms)).tolist()
    [0.0, 0.0, 6.0]
    """
    total: torch.Tensor = torch.linalg.cross(state.positions, state.momenta).sum(0)
    return total


def assert_jump(
    jump: Jump, state: PhaseState, physics: Evaluation, k: int = 4, tolerance: float = 1e-9
) -> None:
    """Check the contract that every jump keeps.

    The state passed in is not changed; the landing is finite and k base steps later; rotation,
    reflection, translation and permutation commute with the jump, and in a cell so do moves of
    atoms by whole cell vectors; total momentum is conserved; two molecules, or two cells, in one
    state land where each of them lands alone; and, for a jump that is reversible, angular momentum
    is conserved without a cell, and flipping the momenta leads back to the start.

    Parameters
    ----------
    jump : Jump
        In float64 arithmetic, if the tolerance is to be met. ``k`` must be one of its ``strides``.
    state : PhaseState
        One molecule or one periodic system at a generic geometry, without constraints but for fixed
        bonds.
    physics : Evaluation
        The physics at the state; rotated along with it.
    k : int
        Base steps of the jump.
    tolerance : float
        angstrom, and ASE units of momentum.

    Raises
    ------
    AssertionError
        Naming the part of the contract that is broken.

    Examples
    --------
    >>> import torch
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, FlowJump
    >>> from kstep_integrators.ase.atoms import state_from_atoms
    >>> from kstep_integrators.state import Evaluation
    >>> from kstep_integrators.testing import assert_jump
    >>> jump = FlowJump(CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.1)))
    >>> atoms = molecule("H2O")
    >>> atoms.set_momenta([[0, 0, 2], [0, 1, 0], [1, 0, 0]])
    >>> zero = torch.zeros(3, 3, dtype=torch.float64)  # a flow does not look at the physics
    >>> assert_jump(jump, state_from_atoms(atoms), Evaluation(zero[:1, 0], zero), k=4)
    """

    def run(s: PhaseState, f: Evaluation, j: Any = None) -> PhaseState:
        return (j or jump).bind(s)(s, f, None, k)[0]

    def same(a: torch.Tensor, b: torch.Tensor, what: str) -> None:
        worst = float((a - b).abs().max())
        if not worst <= tolerance:
            raise AssertionError(f"{what}: differs by {worst:.3g}, tolerance {tolerance:.3g}")

    before = (state.positions.clone(), state.momenta.clone())
    landed = run(state, physics)
    if not torch.equal(state.positions, before[0]) or not torch.equal(state.momenta, before[1]):
        raise AssertionError("the jump wrote into the state it was given")
    same(landed.time, state.time + k * jump.timestep, "time travelled")
    same(landed.momenta.sum(0), state.momenta.sum(0), "total momentum")

    generator = torch.Generator().manual_seed(0)
    forces = physics.require_forces()
    draw = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(draw)
    for name, matrix in (("rotation", rotation), ("reflection", -rotation)):
        turned = run(rotated(state, matrix), Evaluation(physics.energy, forces @ matrix.T))
        expected = rotated(landed, matrix)
        same(turned.positions, expected.positions, f"{name} of positions")
        same(turned.momenta, expected.momenta, f"{name} of momenta")

    shift = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
    moved = run(state.replace(positions=state.positions + shift), physics)
    same(moved.positions, landed.positions + shift, "translation of positions")
    same(moved.momenta, landed.momenta, "translation of momenta")

    if any(state.pbc):
        whole = torch.randint(-2, 3, (len(state.numbers), 3), generator=generator)
        vectors = whole.to(torch.float64) * torch.tensor(state.pbc) @ state.cell[0]
        wrapped = run(state.replace(positions=state.positions + vectors), physics)
        same(wrapped.positions, landed.positions + vectors, "positions of other images")
        same(wrapped.momenta, landed.momenta, "momenta of other images")

    order = torch.randperm(len(state.numbers), generator=generator)
    shuffled = state.replace(
        numbers=state.numbers[order],
        masses=state.masses[order],
        positions=state.positions[order],
        momenta=state.momenta[order],
        bonds=None if state.bonds is None else order.argsort()[state.bonds],
    )
    swapped = run(shuffled, Evaluation(physics.energy, forces[order]))
    same(swapped.positions, landed.positions[order], "permutation of positions")
    same(swapped.momenta, landed.momenta[order], "permutation of momenta")

    # In reach of each other, if they knew of each other.
    other = rotated(state, rotation)
    both = run(
        join_states([state, other]),
        Evaluation(physics.energy.repeat(2), torch.cat([forces, forces @ rotation.T])),
    )
    expected = join_states([landed, rotated(landed, rotation)])
    same(both.positions, expected.positions, "positions of two molecules in one state")
    same(both.momenta, expected.momenta, "momenta of two molecules in one state")

    if not jump.reversible:
        return
    if not any(state.pbc):
        same(angular_momentum(landed), angular_momentum(state), "angular momentum")
    back = run(flipped(landed), physics)
    same(back.positions, state.positions, "reversed positions")
    same(back.momenta, -state.momenta, "reversed momenta")
