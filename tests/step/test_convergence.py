"""The fluctuation of the total energy is a base^2 + b stride^2, and b comes from the residual.

The order of convergence is what `physical_validation` asks of an integrator: Merz & Shirts,
doi:10.1371/journal.pone.0202764.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.constraints import FixBondLengths

from kstep_integrators import FlowJump, named_molecule, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import make_corrector
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import kinetic_energy
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing.surfaces import Surface, morse
from kstep_integrators.thermostats import NoThermostat
from tests.direct_systems import silent
from tests.mechanics.test_shake import hydrogen_bonds

FS, KT = units.FS, units.KB * 300.0
REPLICAS = 8
EVERY, DURATION = 2.0, 40.0
"""fs; all strides are seen at the same times."""


def fluctuation(base_fs, k, depth=2.0, *, bonds=False, corrector="impulse", jump=None):
    """Root mean square change of the total energy of water, or of held ethanol, eV."""
    rng = np.random.default_rng(3)
    atoms = named_molecule("ethanol" if bonds else "water")
    if bonds:
        atoms.set_constraint(FixBondLengths(hydrogen_bonds(atoms)))
    state = join_states([state_from_atoms(atoms)] * REPLICAS)
    noise = torch.from_numpy(rng.standard_normal(state.momenta.shape))
    momenta = constrain(state, (KT * state.masses).sqrt() * noise)
    x = torch.from_numpy(atoms.positions)
    jump = jump or FlowJump(Surface(morse(x, depth), len(x)), base_fs * FS)
    scheme = BoundScheme(
        jump=jump.bind(state),
        corrector=make_corrector(corrector, jump.correctors),
        thermostat=NoThermostat(),
        physics=Surface(morse(x, 2.0), len(x)),
        timestep=jump.timestep,
    )
    point = start(state.replace(momenta=momenta), scheme)
    energies = [(kinetic_energy(point.state) + point.physics.energy).numpy()]
    for _ in range(round(DURATION / EVERY)):
        for _ in range(round(EVERY * FS / (k * jump.timestep))):
            point, info = step(point, scheme, k, rng)
            assert not info.fallbacks
        energies.append((kinetic_energy(point.state) + point.physics.energy).numpy())
    return float(np.sqrt(np.mean((np.array(energies) - energies[0]) ** 2)))


EITHER = pytest.mark.parametrize("bonds", [False, True], ids=["free", "bonds"])


@EITHER
def test_without_a_residual_the_stride_does_not_matter(bonds):
    """b is zero where the potential is the physics, and a is that of velocity Verlet."""
    one = fluctuation(0.25, 1, bonds=bonds)
    assert fluctuation(0.25, 8, bonds=bonds) == pytest.approx(one, rel=1e-6)
    assert fluctuation(0.125, 16, bonds=bonds) == pytest.approx(one / 4.0, rel=0.05)


@EITHER
@pytest.mark.parametrize("depth", [1.9, 1.6])
def test_base_and_stride_halved_are_a_quarter(bonds, depth):
    coarse = fluctuation(0.25, 4, depth, bonds=bonds)
    assert fluctuation(0.125, 4, depth, bonds=bonds) == pytest.approx(coarse / 4.0, rel=0.05)


@EITHER
def test_what_the_stride_costs_is_linear_in_the_residual(bonds):
    """At a base step that costs nothing: quadratic in the stride."""
    coarse = fluctuation(1 / 16, 16, 1.6, bonds=bonds)
    assert fluctuation(1 / 16, 8, 1.6, bonds=bonds) == pytest.approx(coarse / 4.0, rel=0.1)
    assert fluctuation(1 / 16, 16, 1.8, bonds=bonds) == pytest.approx(coarse / 2.0, rel=0.1)


def test_direct_jumps_without_increments_are_verlet_at_the_stride():
    jump = silent(timestep_fs=0.25)
    coarse, fine = (fluctuation(0.25, k, corrector="delta", jump=jump) for k in (4, 2))
    assert fine == pytest.approx(coarse / 4.0, rel=0.1)
    assert fine == pytest.approx(fluctuation(0.5, 1), rel=1e-6)
