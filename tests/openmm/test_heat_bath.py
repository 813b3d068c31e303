"""Heat baths beside constraints: a bath that does nothing changes nothing, one that works is right.

Bodies without forces, so that all is known exactly: momenta of a rigid body are conserved, and each
degree of freedom has the energy kT/2.
"""

import numpy as np
import openmm
import pytest
from openmm import unit

from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.openmm.bodies import BODIES, body, ethanol, kinetic, motions, nothing, opening, within
from tests.openmm.direct_jumps import BATH, make, molecule_of
from tests.openmm.periodic_systems import CHEAP, SOLUTE, box_atoms, solvated
from tests.openmm.systems import make_context, model, moving, place, where

__all__ = ["make", "model", "nothing"]


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


def test_an_interrupt_in_the_projection_undoes_the_step(model, monkeypatch):
    """What goes wrong in the bath is raised once all is in place again, and steps go on."""
    system, places = ethanol()
    integrator = KStepIntegrator(system, model, k=2, corrector="none", **BATH)
    context = make_context(system, integrator)
    context.setPositions(places)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(2)
    before = where(context)

    def interrupted(state, momenta):
        raise KeyboardInterrupt("by the user")

    with monkeypatch.context() as patched:
        patched.setattr("kstep_integrators.openmm.force.constrain", interrupted)
        with pytest.raises(BaseException, match="by the user"):
            integrator.step(1)
    assert np.array_equal(where(context), before)
    assert opening(context) < 1e-6  # as the first half of the bath left them
    integrator.step(1)
    assert opening(context) < 1e-14


def test_programs_of_the_first_version_are_refused(model):
    """Their baths projected velocities on the bonds of the start; XML may still hold them."""
    text = openmm.XmlSerializer.serialize(KStepIntegrator(ethanol()[0], model, k=2, **BATH))
    old = openmm.XmlSerializer.deserialize(text.replace("kstep_program", "kstep_unknown"))
    with pytest.raises(ValueError, match=r"not a KStepIntegrator of this version.*kstep_program"):
        KStepIntegrator.restore(old)


def test_an_andersen_thermostat_of_the_system_keeps_to_the_constraints(nothing):
    """It draws velocities where a step begins: of rigid water, with its six degrees of freedom."""
    copies = 80
    system, places = body("rigid water", copies)
    bath = openmm.AndersenThermostat(300.0, 200.0)
    bath.setRandomNumberSeed(3)
    system.addForce(bath)
    integrator = KStepIntegrator(system, nothing, k=1, timestep=0.002)
    integrator.setRandomNumberSeed(3)
    context = make_context(system, integrator)
    context.setPositions(places)
    integrator.step(10)
    values = []
    for _ in range(6):
        integrator.step(10)
        assert opening(context) < 1e-14
        x, v = (array(context).reshape(copies, -1, 3) for array in (where, moving))
        values.append(motions([15.999, 1.008, 1.008], x, v)[3].sum(1))
    assert within(np.mean(values, axis=0), 6)
