"""The runs that `benchmarks.sampling` compares: replicas of a molecule as one state.

The network serves all replicas in one call; the physics is a GFN2 calculator each, and counts its
evaluations inside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from benchmarks.langevin import baoab
from benchmarks.list_physics import ListPhysics, joined
from kstep_integrators import FlowJump
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import NoCorrection
from kstep_integrators.potentials import Potential
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.thermostats import Langevin
from kstep_integrators.units import KB

__all__ = [
    "BASE_FS",
    "REPLICAS",
    "TEMPERATURE",
    "Plan",
    "Run",
    "drawn",
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
LEG_JUMPS, LEG_STEPS = 50, 500
STARTS_PS = 2.0
"""Time before the first set of starting points, and between two."""

Array = np.ndarray  # type: ignore[type-arg]


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
        Jumps, or base steps, that a finished run has; a longer plan goes on where it ended.
    friction : float
        Per picosecond; infinite: momenta drawn anew.
    stride_fs : float
        0 for Langevin.
    chances : int
        Extra chances.
    jitter : float
        Strides are drawn anew for each jump, evenly within this part of the stride on either side.
    """

    name: str
    kind: str
    seed: int
    length: int
    friction: float
    stride_fs: float = 0.0
    chances: int = 0
    jitter: float = 0.0

    @property
    def file(self) -> str:
        """Name in the cache."""
        parts: tuple[str, ...] = (
            self.name,
            self.kind,
            f"{self.stride_fs:g}fs",
            f"{self.friction:g}ps",
        )
        if self.jitter:
            parts = (*parts, f"j{self.jitter:g}")
        return "-".join((*parts, f"x{self.chances}", f"s{self.seed}")) + ".npz"


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
    positions: Array
    energies: Array
    evaluations: Array
    accepted_at: Array
    first_change: Array
    momenta: Array

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


def starting_points(atoms: Atoms, name: str, potential: Potential, cache: Path, sets: int) -> Array:
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
    """Run a plan, or what is left of it, from its set of starting points."""
    points = starting_points(atoms, plan.name, potential, cache, sets)[plan.seed % sets]
    make_from(plan, atoms, points, potential, cache)


def make_from(
    plan: Plan,
    atoms: Atoms,
    points: Array,
    potential: Potential,
    cache: Path,
) -> None:
    """Run a plan, or what is left of it, from positions (B, n, 3); it is saved after each leg."""
    path, done = cache / plan.file, 0
    rng = np.random.default_rng([plan.seed, *plan.file.encode()])
    state = joined([atoms] * len(points))
    state = drawn(state.replace(positions=torch.from_numpy(points.reshape(-1, 3).copy())), rng)
    past: dict[str, Array] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            past = {name: file[name] for name in file.files}
        done = int(past["done"])
        rng.bit_generator.state = json.loads(str(past["rng"]))
        state = state.replace(
            positions=torch.from_numpy(past["x"]), momenta=torch.from_numpy(past["p"])
        )
    leg = legs(plan, atoms, potential, state)
    while done < plan.length:
        steps = min(LEG_JUMPS if plan.kind == "jumps" else LEG_STEPS, plan.length - done)
        state, found, evaluations = leg(state, steps, rng)
        done += steps
        frames = {
            name: np.concatenate([past[name], new], axis=1) if past else new
            for name, new in found.items()
        }
        past = frames | {
            "evaluations": past.get("evaluations", 0) + evaluations,
            "plan": np.array(json.dumps(asdict(plan))),
            "done": np.array(done),
            "rng": np.array(json.dumps(rng.bit_generator.state)),
            "x": state.positions.numpy(),
            "p": state.momenta.numpy(),
        }
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **past)
        os.replace(unfinished, path)
    print("made", path.name, flush=True)


Leg = Callable[[PhaseState, int, np.random.Generator], tuple[PhaseState, dict[str, Array], Array]]
"""(state, jumps or steps, noise) -> (state, frames by name (B, F, ...), evaluations (B,))."""


def legs(plan: Plan, atoms: Atoms, potential: Potential, state: PhaseState) -> Leg:
    """What makes a leg of a plan. Each begins with an evaluation, which is counted."""
    replicas, physics = state.n_molecules, replica_physics(atoms, state.n_molecules)
    friction = plan.friction / (1000 * units.fs)

    def by_replica(frames: list[Array] | Array) -> Array:
        return np.array(frames).reshape(len(frames), replicas, -1, 3).swapaxes(0, 1)

    def counted(before: Array) -> Array:
        return np.array(physics.counts()) - before

    if plan.kind == "jumps":
        jump = FlowJump(potential, BASE_FS * units.fs)
        scheme = BoundScheme(
            jump.bind(state),
            NoCorrection(),
            Langevin(TEMPERATURE, friction),
            physics,
            jump.timestep,
            metropolis=Metropolis(TEMPERATURE, plan.chances),
        )
        mean = round(plan.stride_fs / BASE_FS)
        reach = round(plan.jitter * mean)

        def jumps(
            state: PhaseState, count: int, rng: np.random.Generator
        ) -> tuple[PhaseState, dict[str, Array], Array]:
            before = np.array(physics.counts())
            point = start(state, scheme)
            x, p, e, taken, change = [], [], [], [], []
            for _ in range(count):
                # Whatever the state is, or the test would not hold.
                k = int(rng.integers(mean - reach, mean + reach + 1)) if reach else mean
                point, info = step(point, scheme, k, rng)
                x.append(point.state.positions.numpy().astype(np.float32))
                p.append(point.state.momenta.numpy().astype(np.float32))
                e.append(point.physics.energy.numpy())
                if info.verdict is not None:
                    taken.append(info.verdict.accepted_at.numpy())
                    change.append(info.verdict.first_change.numpy() / (KB * TEMPERATURE))
            frames = {
                "positions": by_replica(x),
                "momenta": by_replica(p),
                "energies": np.array(e).T,
                "accepted_at": np.array(taken).T,
                "first_change": np.array(change).T,
            }
            return point.state, frames, counted(before)

        return jumps

    inner = network(potential, state) if plan.kind == "pilot" else None

    def langevin(
        state: PhaseState, count: int, rng: np.random.Generator
    ) -> tuple[PhaseState, dict[str, Array], Array]:
        before = np.array(physics.counts())
        evaluate = inner or (lambda positions: physics(state.replace(positions=positions))[0])
        every = round(SAMPLE_FS / BASE_FS)
        state, x, p, e = baoab(
            evaluate, state, BASE_FS * units.fs, friction, TEMPERATURE, count, every, rng
        )
        none = np.zeros((replicas, 0))
        frames = {
            "positions": by_replica(x),
            "momenta": by_replica(p),
            "energies": e.T,
            "accepted_at": none,
            "first_change": none,
        }
        return state, frames, counted(before)

    return langevin


def load(path: Path) -> Run:
    """A run of the cache."""
    with np.load(path, allow_pickle=False) as file:
        names = ("positions", "energies", "evaluations", "accepted_at", "first_change", "momenta")
        return Run(Plan(**json.loads(str(file["plan"]))), *(file[name] for name in names))
