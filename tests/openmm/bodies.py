"""Bodies of particles at fixed distances, far apart in one Context, and how they move."""

from __future__ import annotations

import itertools

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from tests.conftest import network
from tests.openmm.direct_jumps import molecule_of
from tests.openmm.systems import moving, where

CARBON, HYDROGEN, OXYGEN = 12.011, 1.008, 15.999
KT = 300.0 * unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
# Masses and places (nm) of bodies; each pair in the last column keeps its distance.
BODIES = {
    "rotor": ([CARBON, HYDROGEN], [[0, 0, 0], [0.109, 0, 0]], [(0, 1)]),
    "rigid water": (
        [OXYGEN, HYDROGEN, HYDROGEN],
        [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]],
        [(0, 1), (0, 2), (1, 2)],
    ),
    "loose water": (
        [OXYGEN, HYDROGEN, HYDROGEN],
        [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]],
        [],
    ),
    "methyl": (
        [CARBON, HYDROGEN, HYDROGEN, HYDROGEN],
        [[0, 0, 0], [0.109, 0, 0], [-0.036, 0.103, 0], [-0.036, -0.05, 0.09]],
        [(0, 1), (0, 2), (0, 3)],
    ),
    "chain": (
        [HYDROGEN, CARBON, OXYGEN, HYDROGEN],
        [[0, 0, 0], [0.109, 0, 0], [0.15, 0.136, 0], [0.245, 0.14, 0.02]],
        [(0, 1), (1, 2), (2, 3)],
    ),
    "water and rotor": (
        [OXYGEN, HYDROGEN, HYDROGEN, CARBON, HYDROGEN],
        [[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0], [0, 0, 2.0], [0.109, 0, 2.0]],
        [(0, 1), (0, 2), (1, 2), (3, 4)],
    ),
}


def body(name, copies=1, stiffness=0.0):
    """The System of bodies far apart, springs between all else, and where its particles are."""
    masses, places, pairs = BODIES[name]
    system, springs = openmm.System(), openmm.HarmonicBondForce()
    one, size = np.array(places, dtype=float), len(masses)
    for number in range(copies):
        for mass in masses:
            system.addParticle(mass)
        for i, j in itertools.combinations(range(size), 2):
            ends = (number * size + i, number * size + j, float(np.linalg.norm(one[i] - one[j])))
            if (i, j) in pairs:
                system.addConstraint(*ends)
            elif stiffness > 0.0:
                springs.addBond(*ends, stiffness)
    system.addForce(springs)
    cells = np.array(list(itertools.product(range(5), repeat=3)))[:copies]
    return system, (one + 3.0 * cells[:, None, :]).reshape(-1, 3)


def kinetic(context):
    return context.getState(getEnergy=True).getKineticEnergy()._value


def opening(context):
    """Largest v.r of a constrained pair, nm^2/ps."""
    system, x, v = context.getSystem(), where(context), moving(context)
    pairs = [system.getConstraintParameters(n)[:2] for n in range(system.getNumConstraints())]
    return max(abs((x[i] - x[j]) @ (v[i] - v[j])) for i, j in pairs)


def motions(masses, x, v):
    """Twice the kinetic energy of bodies (B, N, 3), kT: translation, rotation, rest, and atoms."""
    m = np.array(masses)[:, None]
    middle, drift = (m * x).sum(1) / m.sum(), (m * v).sum(1) / m.sum()
    r, w = x - middle[:, None], v - drift[:, None]
    spin = (m * np.cross(r, w)).sum(1)
    squares, outer = (r**2).sum(2)[..., None, None] * np.eye(3), r[..., :, None] * r[..., None, :]
    inertia = (m[..., None] * (squares - outer)).sum(1)
    turn = np.einsum("bij,bj->bi", np.linalg.pinv(inertia, rcond=1e-9, hermitian=True), spin)
    along, around = (m.sum() * drift**2).sum(1) / KT, (turn * spin).sum(1) / KT
    atoms = (m * v**2).sum(2) / KT
    return along, around, atoms.sum(1) - along - around, atoms


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """A network that exerts no force."""
    built = network()
    for weight in built.parameters():
        weight.zero_()
    path = tmp_path_factory.mktemp("models") / "nothing.safetensors"
    write_model(path, built, ModelHeader("nothing", built.config, "none"))
    return load_model(path, device="cpu", dtype=torch.float64)


def within(values, expected):
    """Whether the mean over independent bodies is what is expected, at three standard errors."""
    return abs(values.mean() - np.mean(expected)) < 3.0 * values.std() / np.sqrt(len(values))


def ethanol(copies=1):
    """Ethanol on springs with its bonds of hydrogen fixed, many times, and where they are."""
    molecule, one = molecule_of(fixed=True)
    places = molecule.positions / 10.0
    stretch = openmm.HarmonicBondForce()
    system, size = openmm.System(), len(molecule)
    for number in range(copies):
        first = number * size
        for mass in molecule.get_masses():
            system.addParticle(float(mass))
        fixed = set()
        for n in range(one.getNumConstraints()):
            i, j, length = one.getConstraintParameters(n)
            fixed.add((min(i, j), max(i, j)))
            system.addConstraint(first + i, first + j, length)
        for i, j in set(itertools.combinations(range(size), 2)) - fixed:
            length = float(np.linalg.norm(places[i] - places[j]))
            stiffness = 200000.0 if length < 0.16 else 3000.0
            stretch.addBond(first + i, first + j, length, stiffness)
    system.addForce(stretch)
    return system, np.concatenate([places + np.array([0, 0, 3.0 * n]) for n in range(copies)])
