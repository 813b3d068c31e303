"""Degrees of freedom: a table, and what is left of a motion when what is conserved is taken out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCom

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.degrees_of_freedom import (
    atomic_degrees_of_freedom,
    degrees_of_freedom,
    free_motion,
)
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.testing import angular_momentum

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
WATER_MASSES = np.array([15.999, 1.008, 1.008])


def test_shares_add_up() -> None:
    carbon_dioxide = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.16], [0.0, 0.0, -1.16]])
    cases = [
        (WATER, WATER_MASSES, False),
        (carbon_dioxide, np.array([12.011, 15.999, 15.999]), True),
        (np.array([[0.0, 0.1, 0.2], [0.3, 0.9, -0.4]]), np.array([1.008, 18.998]), True),
    ]
    for positions, masses, linear in cases:
        share = atomic_degrees_of_freedom(
            masses, momentum_conserved=True, angular_momentum_positions=positions + 5.0
        )
        expected = degrees_of_freedom(
            len(masses), momentum_conserved=True, angular_momentum_conserved=True, linear=linear
        )
        assert share.sum() == pytest.approx(expected)
    # One share for each frame when each frame has its own positions.
    shares = atomic_degrees_of_freedom(
        WATER_MASSES,
        momentum_conserved=True,
        angular_momentum_positions=np.stack([WATER, 1.1 * WATER]),
    )
    assert shares.shape == (2, 3)
    assert shares[0] == pytest.approx(shares[1])


@pytest.mark.parametrize(
    ("atoms", "constraints", "momentum", "angular", "linear", "expected"),
    [
        (9, 0, False, False, False, 27),
        (9, 0, True, False, False, 24),
        (9, 0, True, True, False, 21),
        (3, 0, True, True, True, 4),
        (2, 0, True, True, False, 1),
        (1, 0, True, True, False, 0),
        (9, 6, False, False, False, 21),
    ],
)
def test_degrees_of_freedom(
    atoms: int, constraints: int, momentum: bool, angular: bool, linear: bool, expected: int
) -> None:
    found = degrees_of_freedom(
        atoms,
        constraints,
        momentum_conserved=momentum,
        angular_momentum_conserved=angular,
        linear=linear,
    )
    assert found == expected


def test_degrees_of_freedom_refuses_too_many_constraints() -> None:
    with pytest.raises(ValueError, match="7 were asked to be removed"):
        degrees_of_freedom(2, 4, momentum_conserved=True, angular_momentum_conserved=False)


def moving(atoms: Atoms, seed: int = 0) -> PhaseState:
    rng = np.random.default_rng(seed)
    atoms.positions += 7.0
    atoms.set_momenta(rng.normal(0.0, 1.0, (len(atoms), 3)))
    return state_from_atoms(atoms)


def joined(*states: PhaseState) -> PhaseState:
    sizes = torch.tensor([len(s.numbers) for s in states])
    fields = ("numbers", "masses", "positions", "momenta")
    mobile = [torch.ones_like(s.masses) if s.mobile is None else s.mobile for s in states]
    return make_state(
        *(torch.cat([getattr(s, field) for s in states]) for field in fields),
        batch=torch.repeat_interleave(torch.arange(len(states)), sizes),
        mobile=torch.cat(mobile),
    )


def held(atoms: Atoms, *constraints: object) -> Atoms:
    atoms.set_constraint(list(constraints))
    return atoms


def tilted(atoms: Atoms) -> Atoms:
    atoms.rotate(37.0, (1.0, 2.0, 3.0))
    return atoms


def bent(atoms: Atoms) -> Atoms:
    atoms.positions[0] += (0.05, 0.02, 0.0)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (Atoms("Ar"), 0),
        (tilted(molecule("N2")), 1),
        (tilted(molecule("CO2")), 4),
        (bent(molecule("CO2")), 3),
        (tilted(molecule("C2H2")), 7),
        (molecule("H2O"), 3),
        (molecule("CH3CH2OH"), 21),
        (held(molecule("CH3CH2OH"), FixCom()), 21),
        (held(molecule("CH3CH2OH"), FixAtoms([0])), 24),
        (held(molecule("CH3CH2OH"), FixAtoms([0, 3, 4])), 18),
        (bulk("Cu", cubic=True), 9),
        (held(bulk("Cu", cubic=True), FixAtoms([1])), 9),
        (Atoms("Ar", cell=[9, 9, 9], pbc=True), 0),
        (Atoms("H2O", WATER, cell=[9, 9, 9], pbc=(True, False, False)), 6),
    ],
)
def test_degrees_of_freedom_of_a_state(atoms: Atoms, expected: int) -> None:
    assert free_motion(moving(atoms.copy())).degrees.tolist() == [expected]


def test_what_is_taken_out_is_what_is_conserved() -> None:
    state = moving(molecule("CH3CH2OH"))
    free = state.replace(momenta=free_motion(state).momenta)
    rest = state.replace(momenta=state.momenta - free.momenta)
    assert free.momenta.sum(0).abs().max() < 1e-12
    assert angular_momentum(free).abs().max() < 1e-11
    torch.testing.assert_close(
        kinetic_energy(free) + kinetic_energy(rest), kinetic_energy(state), rtol=1e-12, atol=0
    )
    # Nothing more is taken out the second time, and nothing at all of a motion that is free.
    torch.testing.assert_close(free_motion(free).momenta, free.momenta, rtol=0, atol=1e-13)


def test_average_share_is_the_degrees_of_freedom() -> None:
    # <2 K> / kT of the free part of Maxwell-Boltzmann momenta
    draws = 4000
    state = joined(*[moving(tilted(molecule("CO2")), seed) for seed in range(draws)])
    noise = np.random.default_rng(3).standard_normal(tuple(state.momenta.shape))
    state = state.replace(momenta=torch.from_numpy(noise) * state.masses.sqrt())
    free = free_motion(state)
    twice = 2.0 * kinetic_energy(state.replace(momenta=free.momenta))
    assert set(free.degrees.tolist()) == {4}
    assert abs(float(twice.mean()) - 4.0) < 3.0 * np.sqrt(8.0 / draws)


def test_molecules_of_a_batch_are_treated_one_by_one() -> None:
    states = [
        moving(molecule("H2O"), 1),
        moving(held(molecule("CH3CH2OH"), FixAtoms([0])), 2),
        moving(Atoms("Ar"), 3),
        moving(tilted(molecule("CO2")), 4),
    ]
    found = free_motion(joined(*states))
    assert found.degrees.tolist() == [3, 24, 0, 4]
    alone = torch.cat([free_motion(state).momenta for state in states])
    torch.testing.assert_close(found.momenta, alone, rtol=0, atol=1e-12)
    assert found.momenta[12].abs().max() < 1e-12
