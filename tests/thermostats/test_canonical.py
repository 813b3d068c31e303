"""Replicas of small molecules with harmonic distances: a bath makes their energies canonical."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import physical_validation
import pytest
import torch
from scipy import stats

from kstep_integrators import FlowJump, units
from kstep_integrators.correctors import Impulse
from kstep_integrators.mechanics.degrees_of_freedom import degrees_of_freedom, free_motion
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.physics.protocol import Cost
from kstep_integrators.state import Evaluation, PhaseState, kinetic_energy
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing.energies import simulation_data
from kstep_integrators.thermostats import Bussi, Langevin, Thermostat

FS = units.FS
TEMPERATURE = 300.0
KT = units.KB * TEMPERATURE
LENGTHS = {2: [1.1], 3: [0.96, 0.96, 1.5]}
MASSES = {2: [12.0, 14.0], 3: [16.0, 2.0, 3.0]}


class Springs:
    """Harmonic distances between all atoms of each replica: the potential and the physics."""

    timestep = 0.25 * FS
    device = torch.device("cpu")

    def __init__(self, atoms: int, stiffness: float) -> None:
        self.atoms, self.stiffness = atoms, stiffness
        self.i, self.j = torch.triu_indices(atoms, atoms, 1)
        self.lengths = torch.tensor(LENGTHS[atoms], dtype=torch.float64)

    def to(self, device: object) -> Springs:
        return self

    def describe(self) -> dict[str, Any]:
        return {}

    def bind(self, state: PhaseState) -> Any:
        return lambda x, workspace: (self.evaluate(x), None)

    def __call__(
        self, state: PhaseState, forces: bool = True, which: torch.Tensor | None = None
    ) -> tuple[Evaluation, Cost]:
        return self.evaluate(state.positions), Cost.of_each(state.n_molecules)

    def evaluate(self, positions: torch.Tensor) -> Evaluation:
        x = positions.reshape(-1, self.atoms, 3)
        vectors = x[:, self.i] - x[:, self.j]
        distances = vectors.norm(dim=2)
        stretch = distances - self.lengths
        pull = (self.stiffness * stretch / distances)[:, :, None] * vectors
        forces = torch.zeros_like(x).index_add(1, self.i, -pull).index_add(1, self.j, pull)
        return Evaluation(
            0.5 * self.stiffness * stretch.square().sum(1), forces.reshape(positions.shape)
        )


def sample(
    thermostat: Thermostat, atoms: int, replicas: int, snapshots: int, every: int, own: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Kinetic and potential energies of replicas, (snapshots, replicas); strides of 1 fs.

    With ``own`` noise, each replica has a generator of its own.
    """
    rng = np.random.default_rng(12)
    masses = torch.tensor(MASSES[atoms], dtype=torch.float64).repeat(replicas)[:, None]
    shape = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.21, 0.94, 0.0]]
    momenta = torch.from_numpy(rng.standard_normal((atoms * replicas, 3))) * (KT * masses).sqrt()
    batch = torch.arange(replicas).repeat_interleave(atoms)
    # Net momentum and rotation would be conserved: replicas without them have 3N - 6 degrees.
    state = make_state(
        torch.ones(len(batch), dtype=torch.int64),
        masses,
        torch.tensor(shape[:atoms], dtype=torch.float64).repeat(replicas, 1),
        momenta,
        batch=batch,
    )
    if isinstance(thermostat, Bussi):
        state = state.replace(momenta=free_motion(state).momenta)
    physics, jump = Springs(atoms, 10.0), FlowJump(Springs(atoms, 9.0))
    scheme = BoundScheme(jump.bind(state), Impulse(), thermostat, physics, jump.timestep)
    point = start(state, scheme)
    noise = rng.spawn(replicas) if own else rng
    kinetic, potential = [], []
    for number in range(1, (snapshots + 3) * every + 1):
        point, info = step(point, scheme, 4, noise)
        assert not info.fallbacks
        if number % every == 0 and number > 3 * every:
            kinetic.append(kinetic_energy(point.state).numpy())
            potential.append(point.physics.energy.numpy())
    return np.array(kinetic), np.array(potential)


def check(energies: np.ndarray, degrees: int) -> None:
    """Gamma(degrees / 2) in units of kT: mean, variance and Kolmogorov-Smirnov, at 3 sigma."""
    shape, count = degrees / 2, energies.size
    assert abs(energies.mean() / KT - shape) < 3 * math.sqrt(shape / count)
    # variance of a sample variance: kurtosis of Gamma(a) is 3 + 6 / a
    assert abs(energies.var() / KT**2 - shape) < 3 * shape * math.sqrt((2 + 6 / shape) / count)
    assert stats.kstest(energies.ravel() / KT, stats.gamma(shape).cdf).pvalue > 0.0027


BATHS = [
    (Bussi(TEMPERATURE, 20.0 * FS), 3, True, True),
    (Bussi(TEMPERATURE, 20.0 * FS), 2, True, False),
    (Langevin(TEMPERATURE, 0.05 / FS), 3, False, True),
]


@pytest.mark.parametrize(("thermostat", "atoms", "conserving", "own"), BATHS)
def test_energies_are_canonical(thermostat, atoms, conserving, own):
    kinetic, potential = sample(thermostat, atoms, replicas=400, snapshots=6, every=150, own=own)
    degrees = degrees_of_freedom(
        atoms, momentum_conserved=conserving, angular_momentum_conserved=conserving
    )
    check(kinetic, degrees)
    if atoms == 2:
        # no centrifugal term at rest: one harmonic coordinate
        check(potential, 1)
    # replicas are independent of each other
    half = kinetic.shape[1] // 2
    neighbours = np.corrcoef(kinetic[:, :half].ravel(), kinetic[:, half:].ravel())[0, 1]
    assert abs(neighbours) < 3 / math.sqrt(kinetic.size / 2)
    data = simulation_data(TEMPERATURE, atoms, degrees, kinetic)
    pvalue = physical_validation.kinetic_energy.distribution(
        data, strict=True, verbosity=0, data_is_uncorrelated=True
    )
    assert pvalue > 0.0027
