"""Heat baths beside constraints: a bath that does nothing changes nothing, one that works is right.

Bodies without forces, so that all is known exactly: momenta of a rigid body are conserved, and each
degree of freedom has the energy kT/2.
"""

import itertools

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from kstep_integrators import load_model
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.conftest import network
from tests.openmm.direct_jumps import BATH, make, molecule_of
from tests.openmm.periodic_systems import CHEAP, SOLUTE, box_atoms, solvated
from tests.openmm.systems import make_context, model, moving, place, where

__all__ = ["make", "model"]

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


@pytest.mark.parametrize("name", ["rotor", "rigid water", "water and rotor"])
@pytest.mark.parametrize("corrector", ["impulse", "none"])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_a_bath_without_friction_changes_nothing(nothing, name, corrector, platform):
    """A rigid body turns for ever; its energy is that of the first step, to rounding."""
    ends = []
    for bath in ({}, {"temperature": 300.0, "friction": 0.0}):
        system, places = body(name)
        integrator = KStepIntegrator(
            system, nothing, k=2, timestep=0.001, corrector=corrector, **bath
        )
        context = make_context(system, integrator, platform)
        context.setPositions(places)
        context.setVelocitiesToTemperature(600.0, 3)
        energies = []
        for _ in range(25):
            integrator.step(1)
            energies.append(kinetic(context))
            assert opening(context) < (1e-14 if platform == "Reference" else 1e-5)
        assert integrator.stats.fallbacks == 0
        assert np.ptp(energies) < (1e-12 if platform == "Reference" else 1e-4) * energies[0]
        ends.append(where(context))
    assert np.abs(ends[0] - ends[1]).max() < (1e-12 if platform == "Reference" else 1e-5)


def within(values, expected):
    """Whether the mean over independent bodies is what is expected, at three standard errors."""
    return abs(values.mean() - np.mean(expected)) < 3.0 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize(
    ("name", "corrector"),
    [
        ("rotor", "impulse"),
        ("rotor", "none"),
        ("rigid water", "impulse"),
        ("rigid water", "none"),
        ("methyl", "impulse"),
        ("chain", "impulse"),
    ],
)
def test_every_degree_of_freedom_has_its_share(nothing, name, corrector):
    """Translation, rotation, vibration and each atom, at weak friction."""
    copies, (masses, _, pairs) = 80, BODIES[name]
    system, places = body(name, copies, stiffness=20000.0)
    integrator = KStepIntegrator(
        system, nothing, k=1, timestep=0.002, corrector=corrector, temperature=300.0, friction=50.0
    )
    integrator.setRandomNumberSeed(5)
    context = make_context(system, integrator)
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(60)  # springs are at rest in the beginning
    integrator.setFriction(2.0)
    seen, shares = [], []
    for _ in range(20):
        integrator.step(10)
        x, v = (array(context).reshape(copies, -1, 3) for array in (where, moving))
        seen.append(motions(masses, x, v))
        shares.append(
            atomic_degrees_of_freedom(
                masses, momentum_conserved=False, bonds=pairs, bond_positions=x
            )
        )
    assert opening(context) < 1e-14
    along, around, rest, atoms = (np.mean(kind, axis=0) for kind in zip(*seen, strict=True))
    degrees = 3 * len(masses) - len(pairs)
    turns = 2 if len(masses) == 2 else 3
    assert within(along, 3)
    assert within(around, turns)
    assert within(along + around + rest, degrees)
    if degrees > 3 + turns:
        assert within(rest, degrees - 3 - turns)
    else:
        assert np.abs(rest).max() < 1e-10
    share = np.mean(shares, axis=(0, 1))
    assert share.sum() == pytest.approx(degrees)
    assert all(within(atoms[:, n], share[n]) for n in range(len(masses)))
    assert integrator.stats.fallbacks == 0


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


def test_a_molecule_with_hydrogens_held_stays_warm(nothing):
    """At 1/ps and 2 fs, the ordinary set-up; twenty copies of ethanol for 0.6 ps."""
    copies = 20
    system, places = ethanol(copies)
    integrator = KStepIntegrator(
        system, nothing, k=1, timestep=0.002, temperature=300.0, friction=20.0
    )
    integrator.setRandomNumberSeed(1)
    context = make_context(system, integrator)
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(100)  # springs are at rest in the beginning
    integrator.setFriction(1.0)
    masses = [system.getParticleMass(n) / unit.dalton for n in range(9)]
    twice = []
    for _ in range(30):
        integrator.step(10)
        x, v = (array(context).reshape(copies, -1, 3) for array in (where, moving))
        twice.append(motions(masses, x, v)[3].sum(1))
    values = np.mean(twice, axis=0)
    assert within(values, 27 - 6)
    assert 3.0 * values.std() / np.sqrt(copies) < 0.2 * 21  # sharp enough to tell
    assert integrator.stats.fallbacks == 0


SOME = np.random.default_rng(0).normal(size=(9, 3))


@pytest.mark.parametrize(
    "between",
    [
        lambda context: context.setPositions(where(context) + 1e-3 * SOME),
        lambda context: context.setVelocities(0.3 * SOME),
        lambda context: context.setVelocitiesToTemperature(300.0, 1),
        lambda context: openmm.LocalEnergyMinimizer.minimize(context, maxIterations=3),
        lambda context: context.getIntegrator().setStepSize(0.0015),
    ],
    ids=["positions", "velocities", "temperature", "minimizer", "step size"],
)
def test_what_is_done_between_steps_keeps_the_bath_on_the_constraints(model, between):
    ends = []
    for bath in ({}, {"temperature": 300.0, "friction": 0.0}, BATH):
        system, places = ethanol()
        integrator = KStepIntegrator(system, model, k=2, **bath)
        context = make_context(system, integrator)
        context.setPositions(places)
        context.setVelocitiesToTemperature(300.0, 1)
        for _ in range(3):
            between(context)
            integrator.step(1)
            assert opening(context) < 1e-14
        ends.append(where(context))
    assert np.abs(ends[0] - ends[1]).max() < 1e-14
    assert np.abs(ends[0] - ends[2]).max() > 1e-6


def test_physics_steps_in_place_of_a_jump_end_on_the_constraints(make, caplog):
    """Increments that tear everything apart: the bath acts where physics steps end."""
    runs = []
    for bath in ({}, {"temperature": 300.0, "friction": 0.0}, BATH):
        molecule, system = molecule_of(fixed=True)
        integrator = KStepIntegrator(system, make(constraints="HBonds", size=1.0), k=4, **bath)
        context = place(make_context(system, integrator), molecule)
        integrator.step(3)
        assert integrator.stats.fallbacks == 3
        assert opening(context) < (1e-14 if bath else 1e-6)  # OpenMM's tolerance
        runs.append((where(context), integrator.stats.bond_changes))
    assert "a jump was undone" in caplog.text
    assert np.abs(runs[0][0] - runs[1][0]).max() < 1e-9
    assert runs[0][1] == runs[1][1]


@pytest.mark.filterwarnings("ignore::kstep_integrators.KStepWarning")
def test_rigid_water_around_a_solute(model):
    """A jump of the solute in a box: its hydrogens are held, and so is the water."""
    atoms, ends = box_atoms(8), []
    for bath in ({}, {"temperature": 300.0, "friction": 0.0}, BATH):
        system, _ = solvated(model, atoms, rigid=True)
        distances = atoms.get_all_distances()[:6, :6]
        for i in np.flatnonzero(atoms.numbers[:6] == 1):
            heavy = int(np.where(atoms.numbers[:6] == 1, np.inf, distances[i]).argmin())
            system.addConstraint(heavy, int(i), float(distances[heavy, i]) / 10.0)
        add_jump(system, model, particles=list(SOLUTE), inner_groups=[CHEAP])
        integrator = KStepIntegrator(system, model, k=2, timestep=0.0005, **bath)
        context = place(make_context(system, integrator), atoms)
        for _ in range(3):
            integrator.step(1)
            assert opening(context) < 1e-14
        ends.append(where(context))
    assert np.abs(ends[0] - ends[1]).max() < 1e-13
    assert np.abs(ends[0] - ends[2]).max() > 1e-6
