"""Heat baths beside bonds of fixed length, on chains without any force: all is known exactly."""

import numpy as np
import pytest
import torch

from kstep_integrators import units
from kstep_integrators.mechanics.degrees_of_freedom import (
    atomic_degrees_of_freedom,
    degrees_of_freedom,
    free_motion,
)
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.state import Evaluation, kinetic_energy, velocities
from kstep_integrators.thermostats import Bussi, Langevin
from kstep_integrators.thermostats.noise import normals_of_atoms

T = 300.0
KT = units.KB * T


def chains(count, masses):
    """Freely jointed chains, bent, with bonds of one angstrom, at rest."""
    n = len(masses)
    steps = np.arange(n)
    one = np.stack([0.8 * steps, 0.6 * (steps % 2), np.zeros(n)], axis=1)
    bonds = torch.tensor([[i, i + 1] for i in range(n - 1)])
    offsets = n * torch.arange(count)[:, None, None]
    return make_state(
        torch.full((n * count,), 6),
        torch.tensor(masses * count, dtype=torch.float64),
        torch.from_numpy(np.tile(one, (count, 1))),
        torch.zeros(n * count, 3, dtype=torch.float64),
        batch=torch.arange(count).repeat_interleave(n),
        bonds=(bonds + offsets).reshape(-1, 2),
        bond_lengths=torch.ones(count * (n - 1), dtype=torch.float64),
    )


def nothing(x, carry):
    return Evaluation(torch.zeros(1, dtype=torch.float64), torch.zeros_like(x)), carry


def within(values, expected):
    """The mean of independent values is the expected one at three standard errors."""
    values = np.asarray(values)
    assert abs(values.mean() - expected) < 3.0 * values.std() / np.sqrt(len(values))


def test_fresh_momenta_have_the_right_temperature_atom_by_atom():
    masses = [1.0, 12.0, 16.0, 1.0]
    state = chains(5000, masses)
    hot = Langevin(T, np.inf).half_step(state, 1.0, np.random.default_rng(1))
    assert (hot.momenta - constrain(state, hot.momenta)).abs().max() < 1e-14
    twice = 2.0 * kinetic_energy(hot).numpy() / KT
    freedom = degrees_of_freedom(4, 3, momentum_conserved=False, angular_momentum_conserved=False)
    assert freedom == 9
    within(twice, freedom)
    within((twice - freedom) ** 2, 2.0 * freedom)  # chi-square of that many
    share = atomic_degrees_of_freedom(
        masses, momentum_conserved=False, bonds=[[0, 1], [1, 2], [2, 3]],
        bond_positions=state.positions[:4],
    )  # fmt: skip
    assert share.sum() == pytest.approx(freedom)
    each = (hot.momenta.square().sum(1) / state.masses[:, 0]).reshape(-1, 4).numpy() / KT
    for atom in range(4):
        within(each[:, atom], share[atom])
    assert share[0] < 2.2  # unconstrained, it would be 3


def test_shares_with_and_without_rotation_add_up():
    rng = np.random.default_rng(0)
    x, masses = rng.normal(size=(3, 5, 3)), rng.uniform(1.0, 16.0, 5)
    bonds = [[0, 1], [2, 1], [3, 4]]
    share = atomic_degrees_of_freedom(
        masses, momentum_conserved=True, angular_momentum_positions=x, bonds=bonds,
        bond_positions=x,
    )  # fmt: skip
    assert share.shape == (3, 5)
    np.testing.assert_allclose(share.sum(1), 15 - 6 - 3)
    with pytest.raises(ValueError, match="bonds and bond_positions belong together"):
        atomic_degrees_of_freedom(masses, momentum_conserved=True, bonds=bonds)


def test_langevin_samples_the_kramers_chain():
    # Rigid bonds give cos(angle) the weight sqrt(det B M^-1 B^T), which for equal masses is
    # sqrt(4 - cos^2): the mean of cos^2 is 0.3220, and 1/3 without it (Fixman, 1974,
    # doi:10.1073/pnas.71.8.3050).
    state, bath = chains(2000, [2.0, 2.0, 2.0]), Langevin(T, 0.02 / units.FS)
    rng, dt = np.random.default_rng(2), 4.0 * units.FS
    start, _ = nothing(state.positions, None)
    squares, energies = [], []
    for number in range(400):
        state = bath.half_step(state, dt, rng)
        state, _, failures = verlet_flow(nothing, state, start, dt, 1)
        assert not failures
        state = bath.half_step(state, dt, rng)
        if number >= 100:
            x = state.positions.reshape(-1, 3, 3)
            cosine = ((x[:, 0] - x[:, 1]) * (x[:, 2] - x[:, 1])).sum(1)
            squares.append(cosine.square().numpy())
            energies.append(kinetic_energy(state).numpy())
    c = np.linspace(-1.0, 1.0, 20001)
    weight = np.sqrt(4.0 - c**2)
    # One mean for each chain: chains are independent of each other.
    within(np.mean(squares, axis=0), (weight * c**2).sum() / weight.sum())
    within(np.mean(energies, axis=0), 0.5 * KT * 7)
    standard_error = np.mean(squares, axis=0).std() / np.sqrt(2000)
    assert 3.0 * standard_error < 1.0 / 3.0 - 0.322  # sharp enough to tell


def test_bussi_rescales_what_is_free():
    state = chains(4000, [1.0, 12.0, 16.0, 1.0])
    rng = np.random.default_rng(3)
    raw = normals_of_atoms(rng, state) * state.masses.sqrt()
    state = state.replace(momenta=constrain(state, 0.1 * raw))
    assert set(free_motion(state).degrees.tolist()) == {12 - 6 - 3}
    bath = Bussi(T, 100.0 * units.FS)
    for _ in range(20):
        state = bath.half_step(state, 200.0 * units.FS, rng)
    free = free_motion(state).momenta
    energies = kinetic_energy(state.replace(momenta=free)).numpy()
    within(energies, 0.5 * KT * 3)
    i, j = state.bonds.T
    v = velocities(state)
    opening = ((state.positions[i] - state.positions[j]) * (v[i] - v[j])).sum(1)
    assert opening.abs().max() < 1e-13


def test_bussi_refuses_what_is_rigid():
    state = chains(1, [1.0, 12.0])
    with pytest.raises(ValueError, match="no degree of freedom that is not conserved or fixed"):
        Bussi(T, 1.0).check(state)
