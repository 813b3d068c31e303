"""All particles of a periodic System: the model sees the box, in whatever image particles are."""

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from openmm import unit

from kstep_integrators import CalculatorPotential, KStepDynamics, SumPotential
from kstep_integrators.calculators import OpenMMCalculator
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.units import NM, NM_PER_PS, PS
from tests.openmm.cells import (
    BASE,
    CUBE,
    SLANTED,
    cheap,
    copper,
    images,
    pairs,
    running,
    system_of,
)
from tests.openmm.systems import make_context, model, moving, out_of_xml, same_side_by_side, where

__all__ = ["model"]

DRIFT = np.array([30.0, -15.0, 8.0])  # nm/ps, over the corner within 20 strides
BOXES = pytest.mark.parametrize("box", [CUBE, SLANTED], ids=["cube", "slanted"])
KJ = unit.kilojoule_per_mole


def off_images(context, other, box):
    """Distance from the other's positions, images left out, in box vectors."""
    apart = images(where(context), where(other), box)
    return np.abs(apart - np.rint(apart)).max()


@BOXES
def test_trajectory_in_a_cell(box):
    """The path of ASE, call by call, while atoms cross the boundary; none is wrapped."""
    atoms = copper(box)
    atoms.set_velocities(atoms.get_velocities() + DRIFT * NM_PER_PS)
    physics, integrator, context = running(atoms)
    before = where(context)
    integrator.step(20)
    atoms.calc = EMT()
    dynamics = KStepDynamics(atoms, cheap(), k=2, timestep=BASE * PS)
    dynamics.run(20)
    assert np.abs(where(context) - atoms.positions / NM).max() < 1e-9
    assert np.abs(moving(context) - atoms.get_velocities() / NM_PER_PS).max() < 1e-8
    assert (np.linalg.norm(where(context) - before, axis=1) > box[0, 0]).all()
    stats = integrator.stats
    assert physics.calls == stats.physics_evaluations == dynamics.stats.physics_evaluations == 21
    assert stats.fallbacks == stats.bond_changes == 0
    assert stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-8)
    assert stats.energy_error == pytest.approx(dynamics.stats.energy_error, rel=1e-6)
    assert integrator.getLandingEnergy() / KJ == pytest.approx(
        context.getState(energy=True).getPotentialEnergy() / KJ, abs=1e-9
    )


@BOXES
def test_images_make_no_difference(box):
    """Of particles given boxes away, and of a run that is wrapped in the middle."""
    atoms = copper(box)
    _, integrator, context = running(atoms)
    far = atoms.copy()
    shifts = np.random.default_rng(1).integers(-3, 4, (len(atoms), 3))
    far.positions += shifts @ box * NM
    _, others, away = running(far)
    for each in (integrator, others):
        each.step(5)
    assert off_images(context, away, box) < 1e-11
    assert np.rint(images(where(away), where(context), box)).any(1).sum() > 25
    for wrapped in (context, away):
        state = wrapped.getState(positions=True, enforcePeriodicBox=True)
        wrapped.setPositions(state.getPositions(asNumpy=True))
    assert np.abs(where(context) - where(away)).max() < 1e-10
    integrator.step(5)
    others.step(5)
    _, plain, straight = running(atoms)
    plain.step(10)
    assert off_images(context, straight, box) < 1e-10
    assert np.abs(moving(context) - moving(straight)).max() < 1e-9
    assert (plain.stats.physics_evaluations, integrator.stats.physics_evaluations) == (11, 12)


@BOXES
def test_the_way_back(box):
    atoms = copper(box)
    atoms.set_velocities(atoms.get_velocities() + DRIFT * NM_PER_PS)
    _, integrator, context = running(atoms)
    start = where(context)
    integrator.step(15)
    context.setVelocities(-moving(context))
    integrator.step(15)
    assert np.abs(where(context) - start).max() < 1e-11
    assert integrator.stats.physics_evaluations == 31  # velocities alone make nothing stale


def test_a_changed_box_is_noticed():
    physics, integrator, context = running(copper())
    integrator.step(2)
    before = physics.calls
    context.setPeriodicBoxVectors(*CUBE)
    integrator.step(1)
    assert physics.calls == before + 1
    context.setPeriodicBoxVectors(*SLANTED)
    _, fresh, other = running(copper())
    other.setPositions(where(context))
    other.setVelocities(moving(context))
    other.setPeriodicBoxVectors(*SLANTED)
    integrator.step(3)
    fresh.step(3)
    assert physics.calls == before + 5
    assert np.abs(where(context) - where(other)).max() < 1e-13


@pytest.mark.parametrize("way", ["checkpoint", "xml"])
@pytest.mark.parametrize("bath", [{}, {"temperature": 600.0, "friction": 5.0}], ids=["nve", "nvt"])
def test_restarts(way, bath):
    """In a box that is not that of the System; in XML with the calculator as it was given."""
    _, integrator, context = running(copper(), **bath)
    context.setPeriodicBoxVectors(*SLANTED)
    integrator.step(3)
    if way == "checkpoint":
        physics, again, elsewhere = running(copper(), **bath)
        elsewhere.loadCheckpoint(context.createCheckpoint())
    else:
        again, elsewhere = out_of_xml(context, integrator, cheap())
    for each in (integrator, again):
        each.step(3)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-13
    if way == "checkpoint":
        assert physics.calls == 3


def test_a_calculator_that_computed_before_has_no_xml():
    """But a run; EMT keeps a function that cannot be pickled."""
    atoms = copper()
    used = EMT()
    used.get_potential_energy(atoms)
    system, _ = system_of(atoms)
    integrator = KStepIntegrator(system, CalculatorPotential(used), k=2, timestep=BASE)
    context = make_context(system, integrator)
    context.setPositions(atoms.positions / NM)
    integrator.step(1)
    assert integrator.stats.residual_rms < 1e-9
    with pytest.raises(openmm.OpenMMException, match="could not be pickled"):
        openmm.XmlSerializer.serialize(system)


def test_a_calculator_for_an_isolated_molecule():
    """The same door: no box, no cell."""
    atoms = Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0], [0.3, 0, 2.4]])
    potential = CalculatorPotential(LennardJones(sigma=2.1, epsilon=0.4, rc=12.0))
    _, integrator, context = running(atoms, potential=potential)
    integrator.step(10)
    atoms.calc = EMT()
    KStepDynamics(atoms, potential, k=2, timestep=BASE * PS).run(10)
    assert np.abs(where(context) - atoms.positions / NM).max() < 1e-9


def test_force_groups_inside_beside_a_model():
    """Of all particles: their sum with the model is what the flow moves on."""
    atoms = copper()
    system, _ = system_of(atoms)
    system.addForce(pairs())
    system.getForce(1).setForceGroup(7)
    add_jump(system, cheap(), inner_groups=[7], particles=range(32))
    integrator = KStepIntegrator(system, cheap(), k=2, timestep=BASE)
    context = make_context(system, integrator)
    context.setPositions(atoms.positions / NM)
    context.setVelocities(atoms.get_velocities() / NM_PER_PS)
    integrator.step(5)

    class Both(EMT):
        def calculate(self, atoms=None, properties=(), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            more = inner.get_property("energy", atoms), inner.get_property("forces", atoms)
            self.results["energy"] += more[0]
            self.results["forces"] = self.results["forces"] + more[1]

    def alone():
        system = openmm.System()
        for mass in atoms.get_masses():
            system.addParticle(mass)
        system.setDefaultPeriodicBoxVectors(*CUBE)
        system.addForce(pairs())
        return OpenMMCalculator(system)

    inner = alone()
    atoms.calc = Both()
    other = SumPotential(cheap(), CalculatorPotential(alone()))
    KStepDynamics(atoms, other, k=2, timestep=BASE * PS).run(5)
    assert np.abs(where(context) - atoms.positions / NM).max() < 1e-9


def test_threads_take_turns_at_a_calculator():
    """Contexts of one System, stepped side by side: as one after the other."""
    system = openmm.System()
    for mass in copper().get_masses():
        system.addParticle(mass)
    system.setDefaultPeriodicBoxVectors(*CUBE)
    system.addForce(pairs())
    runs = []
    for box in (CUBE, SLANTED):
        atoms = copper(box)
        integrator = KStepIntegrator(system, cheap(), k=2, timestep=BASE / 2)
        context = make_context(system, integrator)
        context.setPeriodicBoxVectors(*box)
        context.setPositions(atoms.positions / NM)
        context.setVelocities(atoms.get_velocities() / NM_PER_PS)
        runs.append((integrator, context))
    same_side_by_side(runs)


def test_a_metropolis_test_in_a_cell():
    bath = {"temperature": 600.0, "friction": 5.0, "metropolize": True, "extra_chances": 0}
    physics, integrator, _ = running(copper(SLANTED), **bath)
    integrator.setRandomNumberSeed(1)
    integrator.step(30)
    stats = integrator.stats
    assert physics.calls == stats.physics_evaluations == 31
    assert stats.accepted + stats.flips == 30
    assert stats.accepted > 15


def test_filtered_kicks_in_a_cell():
    atoms = copper(SLANTED)
    _, integrator, context = running(atoms, corrector="filtered")
    integrator.step(1)
    atoms.calc = EMT()
    KStepDynamics(atoms, cheap(), k=2, timestep=BASE * PS, corrector="filtered").run(1)
    assert np.abs(where(context) - atoms.positions / NM).max() < 1e-9


def test_what_is_no_potential_here():
    with pytest.raises(TypeError, match=r"model is a SumPotential; expected .*CalculatorPotential"):
        KStepIntegrator(system_of(copper())[0], SumPotential(cheap()))


def test_another_calculator_in_the_system():
    system, _ = system_of(copper())
    assert add_jump(system, cheap()) == add_jump(system, cheap()) == 31
    other = CalculatorPotential(LennardJones(sigma=2.3))
    with pytest.raises(ValueError, match="has a jump with another model"):
        add_jump(system, other)


def test_one_particle_in_a_cell_is_refused():
    atoms = Atoms("Cu", cell=CUBE[:3] * NM / 2, pbc=True)
    with pytest.raises(ValueError, match="is periodic and has one particle, expected two"):
        add_jump(system_of(atoms)[0], cheap())
