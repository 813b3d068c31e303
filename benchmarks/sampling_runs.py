"""The runs that `benchmarks.sampling` compares: replicas of a molecule as one state.

The network serves all replicas in one call; the physics is a GFN2 calculator each, and counts its
evaluations inside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from benchmarks.batch import ListPhysics, joined
from benchmarks.langevin import baoab
from kstep_integrators import FlowJump
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import NoCorrection
from kstep_integrators.metropolis import Metropolis
from kstep_integrators.potentials import Potential
from kstep_integrators.scheme import Scheme
from kstep_integrators.state import Carry, Evaluation, PhaseState
from kstep_integrators.stepper import start, step
from kstep_integrators.thermostats import Langevin
from kstep_integrators.units import KB

__all__ = [
    "BASE_FS",
    "REPLICAS",
    "TEMPERATURE",
    "Plan",
    "Run",
    "drawn",
    "dynamics",
    "load",
    "make",
    "make_from",
    "network",
    "replica_physics",
    "starting_points",
]

REPLICAS = 8
TEMPERATURE = 300.0
BASE_FS = 0.5
SAMPLE_FS = 2.0
STARTS_PS = 2.0
"""Time before the first set of starting points, and between two."""


@dataclass(frozen=True)
class Plan:
    """What one file of the cache holds.

    Attributes
    ----------
    name : str
        Of the molecule.
    kind : str
        "jumps", "langevin" (BAOAB on the physics) or "pilot" (BAOAB on the network).
    seed : int
        Of the noise, and the set of starting points.
    length : int
        Jumps, or base steps.
    friction : float
        Per picosecond; infinite: momenta drawn anew.
    stride_fs : float
        0 for Langevin.
    chances : int
        Extra chances.
    """

    name: str
    kind: str
    seed: int
    length: int
    friction: float
    stride_fs: float = 0.0
    chances: int = 0

    @property
    def file(self) -> str:
        """Name in the cache."""
        parts = (self.name, self.kind, f"{self.stride_fs:g}fs", f"{self.friction:g}ps")
        return "-".join((*parts, f"x{self.chances}", f"n{self.length}", f"s{self.seed}")) + ".npz"


@dataclass(frozen=True)
class Run:
    """What a plan has given; B replicas, F frames.

    Attributes
    ----------
    plan : Plan
    positions : (B, F, n, 3) angstrom
    energies : (B, F) eV
        Potential energies of the physics.
    evaluations : (B,) int
        Of the physics, by molecule.
    accepted_at : (B, F) int
        Chance of acceptance, 0 for a rejection; empty for Langevin.
    first_change : (B, F) kT
        Of the total energy at the first chance; empty for Langevin.
    momenta : (B, F, n, 3)
        ASE units.
    """

    plan: Plan
    positions: np.ndarray  # type: ignore[type-arg]
    energies: np.ndarray  # type: ignore[type-arg]
    evaluations: np.ndarray  # type: ignore[type-arg]
    accepted_at: np.ndarray  # type: ignore[type-arg]
    first_change: np.ndarray  # type: ignore[type-arg]
    momenta: np.ndarray  # type: ignore[type-arg]

    @property
    def frame_fs(self) -> float:
        """Time between two frames; of jumps, the stride."""
        return self.plan.stride_fs or SAMPLE_FS


def replica_physics(atoms: Atoms, replicas: int) -> ListPhysics:
    """One GFN2 calculator for each replica."""
    molecules = [atoms.copy() for _ in range(replicas)]
    for mine in molecules:
        mine.calc = xtb_calculator("GFN2-xTB")
    return ListPhysics(molecules)


def starting_points(
    atoms: Atoms, name: str, potential: Potential, cache: Path, sets: int
) -> np.ndarray:  # type: ignore[type-arg]
    """Positions (sets, B, n, 3) from Langevin dynamics on the network alone.

    Steps of 1 fs, friction 5 per picosecond. The dynamics of the network is that of the physics but
    for its residual, so that little is left to equilibrate; it serves all methods alike.
    """
    path = cache / f"{name}-starts.npz"
    if not path.exists():
        rng = np.random.default_rng([20, *name.encode()])
        state = drawn(joined([atoms] * REPLICAS), rng)
        steps = round(1000 * STARTS_PS)
        frames = []
        evaluate = network(potential, state)
        settings = (1.0 * units.fs, 0.005 / units.fs, TEMPERATURE, steps)
        for _ in range(sets):
            state, _, _, _ = baoab(evaluate, state, *settings, steps, rng)
            frames.append(state.positions.numpy().reshape(REPLICAS, -1, 3))
        np.savez(path, positions=np.array(frames))
    with np.load(path, allow_pickle=False) as file:
        return np.array(file["positions"])


def drawn(state: PhaseState, rng: np.random.Generator) -> PhaseState:
    """With momenta of the canonical ensemble."""
    width = (KB * TEMPERATURE * state.masses).sqrt()
    return state.replace(momenta=width * torch.from_numpy(rng.standard_normal(state.momenta.shape)))


def network(potential: Potential, state: PhaseState) -> Callable[[Tensor], Evaluation]:
    """Energies and forces of the network for this state."""
    bound = potential.bind(state)

    def evaluate(positions: Tensor) -> Evaluation:
        with torch.no_grad():
            return bound(positions, None)[0]

    return evaluate


def make(plan: Plan, atoms: Atoms, potential: Potential, cache: Path, sets: int = 8) -> None:
    """Run a plan from its set of starting points, unless it is in the cache."""
    if not (cache / plan.file).exists():
        points = starting_points(atoms, plan.name, potential, cache, sets)[plan.seed % sets]
        make_from(plan, atoms, points, potential, cache)


def make_from(
    plan: Plan,
    atoms: Atoms,
    points: np.ndarray,  # type: ignore[type-arg]
    potential: Potential,
    cache: Path,
) -> None:
    """Run a plan from positions (B, n, 3), unless it is in the cache."""
    path = cache / plan.file
    if path.exists():
        return
    rng = np.random.default_rng([plan.seed, *plan.file.encode()])
    state = joined([atoms] * len(points))
    state = drawn(state.replace(positions=torch.from_numpy(points.reshape(-1, 3).copy())), rng)
    arrays = dynamics(plan, atoms, potential, state, rng)
    np.savez(path, plan=np.array(json.dumps(asdict(plan))), **arrays)
    print("made", path.name, flush=True)


def dynamics(
    plan: Plan, atoms: Atoms, potential: Potential, state: PhaseState, rng: np.random.Generator
) -> dict[str, Any]:
    """The arrays of one run."""
    physics = replica_physics(atoms, state.n_molecules)
    friction = plan.friction / (1000 * units.fs)
    if plan.kind == "jumps":
        return jumps(plan, potential, physics, state, friction, rng)
    evaluate = (
        network(potential, state)
        if plan.kind == "pilot"
        else lambda positions: physics(state.replace(positions=positions))
    )
    every = round(SAMPLE_FS / BASE_FS)
    _, x, p, e = baoab(
        evaluate, state, BASE_FS * units.fs, friction, TEMPERATURE, plan.length, every, rng
    )
    shape = (len(e), state.n_molecules, len(atoms), 3)
    none = np.zeros((state.n_molecules, 0))
    return {
        "positions": x.reshape(shape).swapaxes(0, 1),
        "momenta": p.reshape(shape).swapaxes(0, 1),
        "energies": e.T,
        "evaluations": np.array(physics.counts()),
        "accepted_at": none,
        "first_change": none,
    }


def jumps(
    plan: Plan,
    potential: Potential,
    physics: ListPhysics,
    state: PhaseState,
    friction: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Metropolized jumps."""
    jump = FlowJump(potential, BASE_FS * units.fs)
    scheme = Scheme(
        jump.bind(state),
        NoCorrection(),
        Langevin(TEMPERATURE, friction),
        physics,
        jump.timestep,
        metropolis=Metropolis(TEMPERATURE, plan.chances),
    )
    k = round(plan.stride_fs / BASE_FS)
    carry: Carry = start(state, scheme)
    x, p, e, taken, change = [], [], [], [], []
    for _ in range(plan.length):
        carry, info = step(carry, scheme, k, rng)
        x.append(carry.state.positions.numpy().astype(np.float32))
        p.append(carry.state.momenta.numpy().astype(np.float32))
        e.append(carry.physics.energy.numpy())
        if info.verdict is not None:
            taken.append(info.verdict.accepted_at.numpy())
            change.append(info.verdict.first_change.numpy() / (KB * TEMPERATURE))
    shape = (len(e), state.n_molecules, -1, 3)
    return {
        "positions": np.array(x).reshape(shape).swapaxes(0, 1),
        "momenta": np.array(p).reshape(shape).swapaxes(0, 1),
        "energies": np.array(e).T,
        "evaluations": np.array(physics.counts()),
        "accepted_at": np.array(taken).T,
        "first_change": np.array(change).T,
    }


def load(path: Path) -> Run:
    """A run of the cache."""
    with np.load(path, allow_pickle=False) as file:
        names = ("positions", "energies", "evaluations", "accepted_at", "first_change", "momenta")
        return Run(Plan(**json.loads(str(file["plan"]))), *(file[name] for name in names))
