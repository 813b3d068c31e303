"""Many molecules as one state: the flow in one network call, the physics one calculator each.

What `KStepDynamics` does for one molecule, with the same step function.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from torch import Tensor

from kstep_integrators import DynamicsFailed, FlowJump
from kstep_integrators.ase_state import state_from_atoms
from kstep_integrators.correctors import make_corrector
from kstep_integrators.evaluation import nowhere
from kstep_integrators.potentials import Potential
from kstep_integrators.scheme import Scheme
from kstep_integrators.state import Carry, Evaluation, PhaseState, kinetic_energy, make_state
from kstep_integrators.stepper import start, step
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.thermostats import NoThermostat

__all__ = ["ListPhysics", "joined", "run_nve"]


def joined(molecules: list[Atoms]) -> PhaseState:
    """One state of several molecules."""
    states = [state_from_atoms(atoms) for atoms in molecules]
    counts = torch.tensor([len(s.numbers) for s in states])
    return make_state(
        torch.cat([s.numbers for s in states]),
        torch.cat([s.masses for s in states]),
        torch.cat([s.positions for s in states]),
        torch.cat([s.momenta for s in states]),
        batch=torch.repeat_interleave(torch.arange(len(states)), counts),
    )


class ListPhysics:
    """The calculator of each molecule in turn; each counts for itself."""

    def __init__(self, molecules: list[Atoms]) -> None:
        self.molecules = [atoms.copy() for atoms in molecules]
        for mine, atoms in zip(self.molecules, molecules, strict=True):
            mine.calc = CountingCalculator(atoms.calc)
        self.evaluations = 0
        self.seconds = 0.0

    def __call__(
        self, state: PhaseState, forces: bool = True, which: Tensor | None = None
    ) -> Evaluation:
        """Energies (B,) and, if wanted, forces (N, 3)."""
        began = time.perf_counter()
        found = nowhere(state)
        energies, gradients = found.energy, found.require_forces()
        failures: dict[int, str] = {}
        for i, atoms in enumerate(self.molecules):
            if which is not None and not bool(which[i]):
                continue
            mine = state.batch == i
            atoms.positions = state.positions[mine].numpy()
            self.evaluations += 1
            try:
                if forces:
                    gradients[mine] = torch.from_numpy(atoms.get_forces())
                energies[i] = atoms.get_potential_energy()
            except CalculationFailed as error:
                failures[i] = str(error)
        self.seconds += time.perf_counter() - began
        return Evaluation(energies, gradients if forces else None, failures)

    def counts(self) -> list[int]:
        """Evaluations of each molecule, counted in its calculator."""
        return [atoms.calc.evaluations for atoms in self.molecules]


def run_nve(
    molecules: list[Atoms],
    potential: Potential,
    k: int,
    base_fs: float,
    picoseconds: float,
    corrector: str,
    sample_fs: float,
) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:  # type: ignore[type-arg]
    """Constant-energy dynamics of all molecules at once.

    Returns
    -------
    times : (F,) ASE time units
    energies : (F, B) eV
        Total energies of the physics at the sampled positions.
    rows : list of dict
        For each molecule: evaluations counted in its calculator, residual, fallbacks.
    """
    state = joined(molecules)
    physics = ListPhysics(molecules)
    jump = FlowJump(potential, base_fs * units.fs)
    scheme = Scheme(
        jump.bind(state),
        make_corrector(corrector, jump.correctors),
        NoThermostat(),
        physics,
        jump.timestep,
    )
    rng = np.random.default_rng(0)
    carry = start(state, scheme)
    squares = torch.zeros(state.n_molecules, dtype=torch.float64)
    counts = torch.zeros_like(squares)
    fallbacks = [0] * len(molecules)
    interval = round(sample_fs / (k * base_fs))

    def total(carry: Carry) -> np.ndarray:  # type: ignore[type-arg]
        return (carry.physics.energy + kinetic_energy(carry.state)).numpy()

    times, energies = [0.0], [total(carry)]
    for number in range(1, round(1000 * picoseconds / (k * base_fs)) + 1):
        carry, info = step(carry, scheme, k, rng)
        if info.lost:
            raise DynamicsFailed(f"stride {number}: {info.lost}")
        for molecule in info.fallbacks:
            fallbacks[molecule] += 1
        if info.residual is not None:
            found = info.residual.square().sum(1).nan_to_num(nan=0.0)
            squares.index_add_(0, state.batch, found)
            known = state.batch[~info.residual.isnan().any(1)]
            counts += 3.0 * torch.bincount(known, minlength=len(counts))
        if number % interval == 0:
            times.append(float(carry.state.time[0]))
            energies.append(total(carry))
        if number % 500 == 0:
            print(f"{number} strides, {physics.seconds:.0f} s of physics", flush=True)
    residual = 1e3 * (squares / counts.clamp(min=1.0)).sqrt()
    rows = [
        {
            "evaluations": atoms.calc.evaluations,
            "residual_meV_per_A": float(residual[i]),
            "fallbacks": fallbacks[i],
        }
        for i, atoms in enumerate(physics.molecules)
    ]
    return np.array(times), np.array(energies), rows
