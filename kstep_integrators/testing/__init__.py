"""For tests of your own jumps, potentials and scripts: systems with known answers, and counters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from kstep_integrators.ensemble.states import join_states
from kstep_integrators.jumps.base import Jump
from kstep_integrators.state import Evaluation, PhaseState

__all__ = [
    "BrokenCalculator",
    "CountingCalculator",
    "MorseNetwork",
    "angular_momentum",
    "assert_jump",
    "flipped",
    "rotated",
]


class CountingCalculator(Calculator):
    """Counts what an ASE calculator is asked to compute, inside the calculator.

    Parameters
    ----------
    calculator : ase Calculator
        Does the work.

    Attributes
    ----------
    evaluations : int
        Calculations made.
    energy_evaluations, force_evaluations : int
        Those of them without and with forces.
    seconds : float
        Wall-clock time spent in them.
    """

    def __init__(self, calculator: Calculator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calculator = calculator
        self.implemented_properties = list(calculator.implemented_properties)
        self.energy_evaluations = self.force_evaluations = 0
        self.seconds = 0.0

    @property
    def evaluations(self) -> int:
        """Calculations made."""
        return self.energy_evaluations + self.force_evaluations

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Pass the call on and count it."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        if "forces" in properties:
            self.force_evaluations += 1
        else:
            self.energy_evaluations += 1
        started = time.perf_counter()
        try:
            self.calculator.calculate(self.atoms, list(properties), list(system_changes))
        finally:
            self.seconds += time.perf_counter() - started
        self.results = dict(self.calculator.results)


class MorseNetwork(Calculator):
    r"""Morse springs between all pairs of atoms: analytic, stateless, invariant.

    :math:`V = \sum_{i<j} D [1 - e^{-a (r_{ij} - r^0_{ij})}]^2`.

    Parameters
    ----------
    reference : (N, 3) angstrom
        The geometry of lowest energy, which is 0.
    depth : float
        D, eV.
    width : float
        a, 1/angstrom.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def __init__(
        self, reference: npt.NDArray[np.float64], depth: float = 2.0, width: float = 1.5
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        reference = np.asarray(reference, dtype=np.float64)
        self.depth, self.width = float(depth), float(width)
        self.pairs = np.triu_indices(len(reference), 1)
        i, j = self.pairs
        self.lengths = np.linalg.norm(reference[i] - reference[j], axis=1)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy and forces."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        i, j = self.pairs
        if self.atoms is None:
            raise ValueError("MorseNetwork.calculate needs atoms, got None")
        x = self.atoms.positions
        vectors = x[i] - x[j]
        distances = np.linalg.norm(vectors, axis=1)
        decay = np.exp(-self.width * (distances - self.lengths))
        slope = 2.0 * self.depth * self.width * (1.0 - decay) * decay
        pull = (slope / distances)[:, None] * vectors
        forces = np.zeros_like(x)
        np.add.at(forces, i, -pull)
        np.add.at(forces, j, pull)
        self.results = {
            "energy": float(self.depth * np.square(1.0 - decay).sum()),
            "forces": forces,
        }


class BrokenCalculator(Calculator):
    """Works, then fails: raises, or returns NaN, in place of the calls with the given numbers.

    Parameters
    ----------
    calculator : ase Calculator
    broken : sequence of int
        Numbers of the calls that fail, counted from 1.
    how : {"raise", "nan"}
    """

    def __init__(self, calculator: Calculator, broken: Sequence[int], how: str = "raise") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if how not in ("raise", "nan"):
            raise ValueError(f"how is {how!r}, expected 'raise' or 'nan'")
        self.calculator, self.broken, self.how = calculator, frozenset(broken), how
        self.implemented_properties = list(calculator.implemented_properties)
        self.calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Pass the call on, unless its turn to fail has come."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        self.calls += 1
        if self.calls in self.broken and self.how == "raise":
            raise RuntimeError(f"call {self.calls} was told to fail")
        self.calculator.calculate(self.atoms, list(properties), list(system_changes))
        self.results = dict(self.calculator.results)
        if self.calls in self.broken:
            self.results = {
                "energy": float("nan"),
                "forces": np.full_like(self.results["forces"], np.nan),
            }


def flipped(state: PhaseState) -> PhaseState:
    """The state with its momenta reversed."""
    return state.replace(momenta=-state.momenta)


def rotated(state: PhaseState, rotation: torch.Tensor) -> PhaseState:
    """The state under an orthogonal (3, 3) matrix, reflections included."""
    return state.replace(positions=state.positions @ rotation.T, momenta=state.momenta @ rotation.T)


def angular_momentum(state: PhaseState) -> torch.Tensor:
    """Total angular momentum about the origin, (3,) u angstrom^2 / ASE time."""
    total: torch.Tensor = torch.linalg.cross(state.positions, state.momenta).sum(0)
    return total


def assert_jump(
    jump: Jump, state: PhaseState, physics: Evaluation, k: int = 4, tolerance: float = 1e-9
) -> None:
    """Check the contract that every jump keeps.

    The state passed in is not changed; the landing is finite and k base steps later; rotation,
    reflection, translation and permutation commute with the jump; total momentum is conserved; two
    molecules in one state land where each of them lands alone; and, for a jump that is reversible,
    angular momentum is conserved, and flipping the momenta leads back to the start.

    Parameters
    ----------
    jump : Jump
        In float64 arithmetic, if the tolerance is to be met. ``k`` must be one of its ``strides``.
    state : PhaseState
        One isolated molecule at a generic geometry, without constraints but for fixed bonds.
    physics : Evaluation
        The physics at the state; rotated along with it.
    k : int
    tolerance : float
        angstrom, and ASE units of momentum.

    Raises
    ------
    AssertionError
        Naming the part of the contract that is broken.
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
    same(angular_momentum(landed), angular_momentum(state), "angular momentum")
    back = run(flipped(landed), physics)
    same(back.positions, state.positions, "reversed positions")
    same(back.momenta, -state.momenta, "reversed momenta")
