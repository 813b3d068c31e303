"""Bussi's thermostat: exact properties, and the distributions it is there for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.md.bussi import Bussi as AseBussi
from ase.md.velocitydistribution import thermalize_momenta
from scipy import stats

from kstep_integrators import KStepDynamics, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.degrees_of_freedom import free_motion
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.testing import angular_momentum
from kstep_integrators.thermostats import Bussi
from tests.conftest import cheap, hot, physics

FS = units.FS
KT = units.KB * 300.0


def copies(state: PhaseState, count: int) -> PhaseState:
    return make_state(
        state.numbers.repeat(count),
        state.masses.repeat(count, 1),
        state.positions.repeat(count, 1),
        state.momenta.repeat(count, 1),
        batch=torch.arange(count).repeat_interleave(len(state.numbers)),
    )


def resting(state: PhaseState) -> PhaseState:
    return state.replace(momenta=free_motion(state).momenta)


def test_same_noise_same_factor_as_ase(atoms):
    # ASE counts 3N - constraints; with a fixed atom that is what moves
    atoms.set_constraint(FixAtoms([2]))
    atoms.set_momenta(atoms.get_momenta())
    after = Bussi(300.0, 20.0 * FS).half_step(
        state_from_atoms(atoms), 2.0 * FS, np.random.default_rng(4)
    )
    AseBussi(
        atoms, 1.0 * FS, temperature_K=300.0, taut=20.0 * FS, rng=np.random.default_rng(4)
    ).scale_velocities()
    np.testing.assert_allclose(after.momenta.numpy(), atoms.get_momenta(), rtol=1e-12)


def test_one_factor_for_all_momenta_of_a_molecule_at_rest(state):
    state = resting(state)
    after = Bussi(300.0, 5.0 * FS).half_step(state, 2.0 * FS, np.random.default_rng(0))
    factors = after.momenta / state.momenta
    assert abs(float(factors[0, 0]) - 1.0) > 1e-3
    torch.testing.assert_close(factors, factors[:1, :1].expand(9, 3), rtol=1e-9, atol=0)


def test_total_and_angular_momentum_stay(state):
    drifting = state.replace(momenta=state.momenta + state.masses * torch.tensor([0.1, 0.2, -0.1]))
    after = Bussi(300.0, 5.0 * FS).half_step(drifting, 4.0 * FS, np.random.default_rng(0))
    assert (after.momenta - drifting.momenta).abs().max() > 1e-2
    torch.testing.assert_close(after.momenta.sum(0), drifting.momenta.sum(0), rtol=0, atol=1e-11)
    torch.testing.assert_close(
        angular_momentum(after), angular_momentum(drifting), rtol=0, atol=1e-10
    )


def test_conserved_momenta_over_a_run(atoms):
    before = atoms.get_angular_momentum()
    KStepDynamics(
        atoms, cheap(depth=1.9), thermostat="bussi", temperature_K=500, taut=10 * FS,
        rng=np.random.default_rng(0),
    ).run(200)  # fmt: skip
    assert abs(atoms.get_momenta().sum(0)).max() < 1e-10
    np.testing.assert_allclose(atoms.get_angular_momentum(), before, atol=1e-9)


def test_fixed_atoms_stay(atoms):
    atoms.set_constraint(FixAtoms([1, 5]))
    atoms.set_momenta(atoms.get_momenta())
    before = atoms.positions.copy()
    KStepDynamics(
        atoms, cheap(), thermostat="bussi", temperature_K=300, taut=10 * FS,
        rng=np.random.default_rng(0),
    ).run(20)  # fmt: skip
    np.testing.assert_array_equal(atoms.positions[[1, 5]], before[[1, 5]])


@pytest.mark.parametrize("taut", [math.inf, 1e15 * FS])
def test_an_infinite_relaxation_time_is_constant_energy(taut, atoms):
    other = atoms.copy()
    other.calc = physics()
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.9), k=4, thermostat="bussi", temperature_K=300, taut=taut,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    dynamics.run(50)
    KStepDynamics(other, cheap(depth=1.9), k=4).run(50)
    if math.isinf(taut):
        np.testing.assert_array_equal(atoms.positions, other.positions)
        assert dynamics.transferred_energy == 0.0
    assert abs(atoms.positions - other.positions).max() < 1e-5


def test_at_zero_kelvin_the_momenta_decay(state):
    state, bath = resting(state), Bussi(0.0, 5.0 * FS)
    after = bath.half_step(state, 10.0 * FS, np.random.default_rng(0))
    torch.testing.assert_close(after.momenta, math.exp(-0.5) * state.momenta)
    still = bath.half_step(state.replace(momenta=0.0 * state.momenta), 1.0, np.random.default_rng())
    assert not still.momenta.any()


def test_draws_one_normal_and_one_gamma_for_each_molecule(state):
    rng, other = np.random.default_rng(8), np.random.default_rng(8)
    Bussi(300.0, 1.0).half_step(copies(state, 5), 1.0, rng)
    other.standard_normal(5)
    other.standard_gamma(np.full(5, 10.0))
    assert rng.bit_generator.state == other.bit_generator.state


def test_same_seed_same_path():
    ends = []
    for seed in (5, 5, 6):
        atoms = hot()
        atoms.calc = physics()
        KStepDynamics(
            atoms, cheap(), thermostat="bussi", temperature_K=300, taut=20 * FS,
            rng=np.random.default_rng(seed),
        ).run(10)  # fmt: skip
        ends.append(atoms.positions)
    np.testing.assert_array_equal(ends[0], ends[1])
    assert abs(ends[0] - ends[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("bath", "moved"),
    [
        ({}, 0.0),
        ({"thermostat": "bussi", "temperature_K": 300, "taut": 20 * FS}, 0.1),
        ({"thermostat": "langevin", "temperature_K": 300, "friction": 0.02 / FS}, 0.1),
    ],
    ids=["nve", "bussi", "langevin"],
)
def test_conserved_energy(bath, moved, atoms):
    dynamics = KStepDynamics(
        atoms, cheap(depth=1.9), k=4, timestep=0.1 * FS, **bath, rng=np.random.default_rng(2)
    )
    start = dynamics.get_conserved_energy()
    assert start == pytest.approx(atoms.get_total_energy(), abs=1e-12)
    total, conserved = [], []
    dynamics.attach(lambda: total.append(atoms.get_total_energy()))
    dynamics.attach(lambda: conserved.append(dynamics.get_conserved_energy()))
    dynamics.run(500)
    assert atoms.calc.evaluations == 501
    assert np.ptp(total) >= moved
    # the error of the integrator, two orders below what the bath moves
    assert np.ptp(conserved) < 1e-3
    assert dynamics.transferred_energy == pytest.approx(total[-1] - conserved[-1], abs=1e-12)


def test_refuses_what_it_cannot_rescale(atoms):
    bath = {"thermostat": "bussi", "temperature_K": 300, "taut": 20 * FS}
    dynamics = KStepDynamics(atoms, cheap(), **bath)
    velocity = np.array([0.3, -0.2, 0.1])
    for momenta in (np.zeros((9, 3)), atoms.get_masses()[:, None] * velocity):
        atoms.set_momenta(momenta)
        before = atoms.positions.copy()
        with pytest.raises(
            ValueError, match=r"molecules \[0\].*no kinetic energy.*thermalize first"
        ):
            KStepDynamics(atoms, cheap(), **bath)
        with pytest.raises(ValueError, match="thermalize first"):
            dynamics.run(1)
        np.testing.assert_array_equal(atoms.positions, before)
    alone = Atoms("Ar", momenta=[[1.0, 2.0, 3.0]])
    alone.calc = physics()
    with pytest.raises(ValueError, match=r"no degree of freedom.*thermostat='langevin'"):
        KStepDynamics(alone, cheap(), **bath)


@pytest.mark.parametrize("name", ["H2O", "N2"])
def test_one_half_step_has_the_distribution_of_the_paper(name):
    # K' / s^2 is a noncentral chi^2 of Nf degrees with noncentrality c K / s^2
    draws, stride, taut = 4000, 4.0 * FS, 10.0 * FS
    atoms = molecule(name)
    atoms.set_momenta(np.random.default_rng(1).normal(0.0, 0.2, (len(atoms), 3)))
    state = resting(state_from_atoms(atoms))
    c = math.exp(-0.5 * stride / taut)
    width = 0.5 * (1.0 - c) * KT
    after = Bussi(300.0, taut).half_step(copies(state, draws), stride, np.random.default_rng(9))
    law = stats.ncx2(3 if name == "H2O" else 1, c * float(kinetic_energy(state)) / width)
    assert stats.kstest(kinetic_energy(after).numpy() / width, law.cdf).pvalue > 0.0027


def test_one_degree_of_freedom_is_langevin():
    # with the sign of alpha, one degree is an Ornstein-Uhlenbeck process: c' p + noise
    draws, stride, taut = 4000, 40.0 * FS, 10.0 * FS
    atoms = molecule("N2")
    atoms.set_momenta([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    state = copies(state_from_atoms(atoms), draws)
    after = Bussi(300.0, taut).half_step(state, stride, np.random.default_rng(10))
    c = math.exp(-0.25 * stride / taut)
    # the relative motion has half the mass of N2
    law = stats.norm(c, math.sqrt((1.0 - c * c) * KT * atoms.get_masses()[0] / 2.0))
    assert (after.momenta[::2, 2] < 0).any()
    assert stats.kstest(after.momenta[::2, 2].numpy(), law.cdf).pvalue > 0.0027


def test_members_of_a_batch_are_independent(state):
    rng, pair, bath = np.random.default_rng(11), copies(resting(state), 2), Bussi(300.0, 1.0)
    draws = np.array([kinetic_energy(bath.half_step(pair, 20.0, rng)).numpy() for _ in range(2000)])
    assert abs(np.corrcoef(draws.T)[0, 1]) < 3.0 / math.sqrt(2000)


def test_hot_and_cold_members_each_have_their_own_bath():
    both = molecule("H2O")
    thermalize_momenta(both, temperature_K=300, rng=np.random.default_rng(0))
    state = copies(state_from_atoms(both), 2)
    scale = torch.tensor([1.0, 5.0]).double().repeat_interleave(3)[:, None]
    state = resting(state.replace(momenta=scale * state.momenta))
    after = Bussi(0.0, 1.0).half_step(state, 1.0, np.random.default_rng(0))
    assert (kinetic_energy(after) / kinetic_energy(state)).tolist() == pytest.approx(
        [math.exp(-0.5)] * 2
    )
