"""Many molecules as one state, seen inside their jumps; a molecule that is lost stays behind.

What `KStepDynamics` does for one molecule, with the same step function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from numpy.typing import NDArray

from benchmarks.list_physics import ListPhysics, joined
from kstep_integrators import FlowJump
from kstep_integrators.correctors import make_corrector
from kstep_integrators.jumps.base import BoundJump, JumpInfo
from kstep_integrators.potentials import Potential
from kstep_integrators.state import (
    Evaluation,
    HessianProducts,
    PhasePoint,
    PhaseState,
    Reasons,
    kinetic_energy,
    mask_of,
)
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.thermostats import NoThermostat

__all__ = ["BatchRun", "run_nve"]

Array = NDArray[np.float64]


class _WatchedJump:
    """A jump made in parts, so that the states between its ends are seen.

    The flow is velocity Verlet, whose steps know nothing of the jump they are in: the landing is
    the same to the last bit.
    """

    def __init__(self, jump: BoundJump, part: int) -> None:
        self.jump, self.part = jump, part
        self.inside: list[PhaseState] = []

    def begin(self, state: PhaseState) -> Evaluation | None:
        return self.jump.begin(state)

    def linearized(self, state: PhaseState) -> HessianProducts:
        return self.jump.linearized(state)

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        self.inside = []
        first = inner
        while True:
            state, info = self.jump(state, physics, inner, self.part)
            first, inner = first or info.start, info.end
            if len(self.inside) == k // self.part - 1:
                return state, JumpInfo(k, first, info.end)
            self.inside.append(state)


@dataclass(frozen=True)
class BatchRun:
    """What became of a batch.

    Attributes
    ----------
    times : (E,) ASE time units
    energies : (E, B) eV
        Total energies of the physics at the sampled positions.
    positions, momenta : (F, N, 3)
        At equal intervals, inside the jumps too; not a number inside a jump that was undone. The
        start alone unless frames were asked for.
    rows : list of dict
        For each molecule: evaluations counted in its calculator, residual, fallbacks, strides made,
        and why there were no more (``error``; empty if the run is whole). What stands behind the
        last stride of a molecule in the arrays is without meaning.
    """

    times: Array
    energies: Array
    positions: Array
    momenta: Array
    rows: list[dict[str, Any]]


def run_nve(
    molecules: list[Atoms],
    potential: Potential,
    k: int,
    base_fs: float,
    picoseconds: float,
    corrector: str,
    sample_fs: float,
    frame_fs: float | None = None,
) -> BatchRun:
    """Constant-energy dynamics of all molecules at once; a molecule that is lost stays behind.

    Parameters
    ----------
    molecules : list of Atoms
        Each with a calculator of its own.
    potential : Potential
    k : int
    base_fs, picoseconds : float
    corrector : str
    sample_fs : float
        Interval of the energies, a multiple of the stride.
    frame_fs : float, optional
        Interval of positions and momenta, a part of the stride; none by default.
    """
    state = joined(molecules)
    physics = ListPhysics(molecules)
    jump = FlowJump(potential, base_fs * units.fs)
    bound = jump.bind(state)
    watched = _WatchedJump(bound, k if frame_fs is None else round(frame_fs / base_fs))
    scheme = BoundScheme(
        bound if frame_fs is None else watched,
        make_corrector(corrector, jump.correctors),
        NoThermostat(),
        physics,
        jump.timestep,
    )
    rng = np.random.default_rng(0)
    point = start(state, scheme)
    squares = torch.zeros(state.n_molecules, dtype=torch.float64)
    counts = torch.zeros_like(squares)
    rows: list[dict[str, Any]] = [{"fallbacks": 0, "strides": 0, "error": ""} for _ in molecules]
    interval = round(sample_fs / (k * base_fs))

    def total(point: PhasePoint) -> Array:
        return (point.physics.energy + kinetic_energy(point.state)).numpy()

    times, energies, frames = [0.0], [total(point)], [state]
    for number in range(1, round(1000 * picoseconds / (k * base_fs)) + 1):
        point, info = step(point, scheme, k, rng)
        for molecule, reason in info.lost.items():
            physics.lost.setdefault(molecule, reason)
            rows[molecule]["error"] = physics.lost[molecule]
        for molecule, row in enumerate(rows):
            row["fallbacks"] += molecule in info.fallbacks
            row["strides"] += molecule not in physics.lost
        if info.residual is not None:
            stands = torch.ones(len(counts), dtype=torch.bool)
            if info.undone is not None:
                stands = ~info.undone
            kept = stands[state.batch]
            known = state.batch[kept]
            squares.index_add_(0, known, info.residual[kept].square().sum(1))
            counts += 3.0 * torch.bincount(known, minlength=len(counts))
        if frame_fs is not None:
            undone = {**info.fallbacks, **info.lost}
            frames += [*(_hidden(inside, undone) for inside in watched.inside), point.state]
        if number % interval == 0:
            times.append(number * k * jump.timestep)
            energies.append(total(point))
        if number % 500 == 0:
            print(f"{number} strides, {physics.seconds:.0f} s of physics", flush=True)
        if len(physics.lost) == len(molecules):
            break
    residual = 1e3 * (squares / counts.clamp(min=1.0)).sqrt()
    for i, (row, atoms) in enumerate(zip(rows, physics.molecules, strict=True)):
        row["evaluations"] = atoms.calc.evaluations
        row["residual_meV_per_A"] = float(residual[i])
    return BatchRun(
        np.array(times),
        np.array(energies),
        torch.stack([frame.positions for frame in frames]).numpy(),
        torch.stack([frame.momenta for frame in frames]).numpy(),
        rows,
    )


def _hidden(inside: PhaseState, undone: Reasons) -> PhaseState:
    """A state inside a jump without the molecules whose jump was undone."""
    if not undone:
        return inside
    gone = mask_of(undone, inside.time)[inside.batch].unsqueeze(1)
    return inside.replace(
        positions=inside.positions.masked_fill(gone, torch.nan),
        momenta=inside.momenta.masked_fill(gone, torch.nan),
    )
