"""Kinetic energies under every bath, corrector, test and constraint: Gamma(degrees / 2) in kT."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixBondLengths, FixCom

from kstep_integrators import FlowJump, named_molecule, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import make_corrector
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.mechanics.degrees_of_freedom import free_motion
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import kinetic_energy, velocities
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.thermostats import Bussi, Langevin
from tests.direct_systems import silent
from tests.mechanics.test_shake import hydrogen_bonds

FS, T = units.FS, 300.0
KT = units.KB * T
BATHS = {"langevin": Langevin(T, 0.1 / FS), "bussi": Bussi(T, 8.0 * FS)}
REPLICAS, FRAMES = 250, 4


def held(name, what):
    """Many copies of a molecule with constraints."""
    atoms = named_molecule(name)
    bonds = FixBondLengths(hydrogen_bonds(atoms))
    atoms.set_constraint(
        {
            "free": [],
            "bonds": [bonds],
            "atoms": [FixAtoms([0, 1, 2])],
            "centre": [FixCom()],
            "bonds and atoms": [bonds, FixAtoms([0, 1, 2])],
            "bonds and centre": [bonds, FixCom()],
        }[what]
    )
    return join_states([state_from_atoms(atoms)] * REPLICAS), torch.from_numpy(atoms.positions)


def sample(name, what, bath, corrector="impulse", jump=None, metropolize=False, k=4, every=20):
    """Kinetic energies (frames, replicas), eV, and the last state."""
    rng = np.random.default_rng(8)
    state, x = held(name, what)
    same = corrector == "none" and not metropolize
    physics = Surface(morse(x, 2.0), len(x))
    jump = jump or FlowJump(Surface(morse(x, 2.0 if same else 1.9), len(x)), 0.25 * FS)
    noise = torch.from_numpy(rng.standard_normal(state.momenta.shape))
    momenta = constrain(state, (KT * state.masses).sqrt() * noise)
    state = state.replace(momenta=momenta)
    first = BoundScheme(
        jump=jump.bind(state),
        corrector=make_corrector(corrector, jump.correctors),
        thermostat=Langevin(T, 0.1 / FS),
        physics=physics,
        timestep=jump.timestep,
        metropolis=Metropolis(T) if metropolize else None,
    )
    point = start(state, first)
    for _ in range(2 * every):
        point, _ = step(point, first, k, rng)
    if bath == "bussi":
        # Conserved momenta of zero stay zero.
        momenta = free_motion(point.state).momenta
        point = dataclasses.replace(point, state=point.state.replace(momenta=momenta))
    scheme = dataclasses.replace(first, thermostat=BATHS[bath])
    energies = []
    for number in range(1, FRAMES * every + 1):
        point, info = step(point, scheme, k, rng)
        assert not info.fallbacks
        if number % every == 0:
            energies.append(kinetic_energy(point.state).numpy())
    return np.array(energies), point.state


def check(energies, degrees):
    """Mean and variance at three sigma."""
    shape, count = 0.5 * degrees, energies.size
    assert abs(energies.mean() / KT - shape) < 3.0 * math.sqrt(shape / count)
    # The kurtosis of Gamma(a) is 3 + 6 / a.
    width = shape * math.sqrt((2.0 + 6.0 / shape) / count)
    assert abs(energies.var() / KT**2 - shape) < 3.0 * width


@pytest.mark.parametrize(
    ("name", "what", "bath", "degrees"),
    [
        ("water", "free", "langevin", 9),
        ("water", "free", "bussi", 3),
        ("water", "centre", "langevin", 6),
        ("water", "centre", "bussi", 3),
        ("water", "bonds", "langevin", 7),
        ("water", "bonds", "bussi", 1),
        ("methanol", "atoms", "langevin", 9),
        ("methanol", "atoms", "bussi", 9),
        ("ethanol", "bonds", "langevin", 21),
        ("ethanol", "bonds", "bussi", 15),
        ("ethanol", "bonds and centre", "langevin", 18),
        ("ethanol", "bonds and centre", "bussi", 15),
        ("ethanol", "bonds and atoms", "langevin", 12),
        ("ethanol", "bonds and atoms", "bussi", 12),
    ],
)
def test_with_constraints(name, what, bath, degrees):
    energies, state = sample(name, what, bath)
    check(energies, degrees)
    if state.bonds is not None:
        i, j = state.bonds.T
        v = velocities(state)
        opening = ((state.positions[i] - state.positions[j]) * (v[i] - v[j])).sum(1)
        assert opening.abs().max() < 1e-14
    if state.mobile is not None:
        assert state.momenta[state.mobile[:, 0] == 0].abs().max() == 0.0
    if bath == "bussi":
        assert set(free_motion(state).degrees.tolist()) == {degrees}


@pytest.mark.parametrize("bath", BATHS)
@pytest.mark.parametrize("corrector", ["none", "filtered", "delta", "metropolized", "long"])
def test_with_every_scheme(bath, corrector):
    settings = {
        "none": {"corrector": "none"},
        "filtered": {"corrector": "filtered"},
        "delta": {"corrector": "delta", "jump": silent(), "k": 2},
        "metropolized": {"metropolize": True},
        "long": {"corrector": "none", "metropolize": True, "k": 30, "every": 6},
    }[corrector]
    energies, _ = sample("water", "free", bath, **settings)
    check(energies, 9 if bath == "langevin" else 3)


def test_a_missing_degree_of_freedom_is_seen():
    """The check can fail: one degree of freedom in seven is beyond it."""
    energies, _ = sample("water", "bonds", "langevin")
    with pytest.raises(AssertionError):
        check(energies, 8)


@pytest.mark.parametrize("bath", [Langevin(T, 0.0), Bussi(T, math.inf)], ids=["langevin", "bussi"])
@pytest.mark.parametrize("what", ["free", "bonds", "atoms", "bonds and atoms"])
def test_a_bath_that_does_nothing(bath, what):
    rng = np.random.default_rng(0)
    state, _ = held("ethanol", what)
    noise = torch.from_numpy(rng.standard_normal(state.momenta.shape))
    state = state.replace(momenta=constrain(state, (KT * state.masses).sqrt() * noise))
    for _ in range(20):
        after = bath.half_step(state, 4.0 * FS, rng)
        assert (after.momenta - state.momenta).abs().max() < 1e-13
        state = after
