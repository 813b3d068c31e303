"""A solute in a periodic box: its model is of an isolated molecule, the force field periodic."""

import logging

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from openmm import unit
from openmmml import MLPotential

from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.solute import Isolated
from kstep_integrators.openmm.system import particles_of
from kstep_integrators.testing import MorseNetwork
from tests.openmm.periodic_systems import (
    CHEAP,
    CUBE,
    LENGTH,
    SLANTED,
    SLOW,
    SOLUTE,
    box_atoms,
    force_field,
    solvated,
    verlet,
)
from tests.openmm.systems import (
    make_context,
    model,
    moving,
    out_of_xml,
    place,
    require_platform,
    topology,
    where,
)

pytestmark = pytest.mark.filterwarnings(  # bases are computed on Reference, in a slanted box too
    "ignore:the box is not rectangular:kstep_integrators.KStepWarning"
)

__all__ = ["model"]

BASE = 0.0005  # ps
DRIFT = np.array([60.0, -35.0, 20.0])  # nm/ps, about a box in 20 fs
KJ = unit.kilojoule_per_mole


def started(context, box=CUBE, drift=0.0, platform="Reference"):
    """Atoms in a Context, about the middle of the run where a drift takes them over the corner."""
    place(context, box_atoms())
    context.setPeriodicBoxVectors(*box)
    context.setPositions(where(context) - where(context)[0] - 0.01 * drift)
    context.setVelocities(moving(context) + drift)
    return context


def setting(model, box=CUBE, platform="Reference", perturbed=0.0, drift=0.0, **settings):
    """A Context of jumps, with the physics and the integrator."""
    system, network = solvated(model, box_atoms(), perturbed)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP], inner_platform=platform)
    integrator = KStepIntegrator(system, model, **{"k": 2, "timestep": BASE, **settings})
    return network, integrator, started(make_context(system, integrator, platform), box, drift)


def plain(model, box=CUBE, platform="Reference", drift=0.0):
    """A Context of velocity Verlet on the same physics."""
    system, _ = solvated(model, box_atoms())
    return started(make_context(system, verlet(BASE), platform), box, drift)


def cells(context, box):
    """Of which box the solute's particles are."""
    return np.floor(where(context)[:6] @ np.linalg.inv(box))


@pytest.mark.parametrize("box", [CUBE, SLANTED], ids=["cube", "slanted"])
def test_steps_of_the_physics_across_the_boundary(model, box):
    """With the physics itself in the flow, in the box of the Context, jumps are velocity Verlet."""
    network, integrator, context = setting(model, box, drift=DRIFT)
    other = plain(model, box, drift=DRIFT)
    before = cells(context, box)
    integrator.step(20)
    other.getIntegrator().step(40)
    assert np.abs(where(context) - where(other)).max() < 1e-9
    assert (cells(context, box) != before).any(1).all()
    assert np.ptp(where(context)[:6], axis=0).max() < 0.5  # nothing was wrapped
    assert network.calls == integrator.stats.physics_evaluations == 21
    assert integrator.stats.fallbacks == 0
    assert integrator.stats.residual_rms < 1e-12


@pytest.mark.parametrize("platform", ["CPU", pytest.param("OpenCL", marks=pytest.mark.slow)])
def test_on_other_platforms(model, platform):
    """The same in single precision, whatever a platform does with positions inside."""
    require_platform(platform)
    _, integrator, context = setting(model, platform=platform, drift=DRIFT)
    other = plain(model, platform="CPU", drift=DRIFT)
    integrator.step(20)
    other.getIntegrator().step(40)
    assert np.abs(where(context) - where(other)).max() < 1e-6
    assert integrator.stats.fallbacks == 0
    assert integrator.stats.physics_evaluations == 21


def test_energy_is_conserved(model):
    """To second order of the step, with forces on the solute that the model does not know."""
    errors = []
    for step, jumps in ((BASE, 10), (BASE / 2, 20)):
        _, integrator, context = setting(model, perturbed=5000.0, drift=DRIFT, timestep=step)
        energies = []
        for _ in range(jumps):
            integrator.step(1)
            kinetic = context.getState(energy=True, groups={30}).getKineticEnergy()
            energies.append((kinetic + integrator.getLandingEnergy()) / KJ)
        assert integrator.stats.residual_rms > 0.01
        errors.append(np.array(energies[jumps // 10 - 1 :: jumps // 10]))
    assert np.ptp(errors[0]) / np.ptp(errors[1]) > 3.0


def test_a_changed_box_is_noticed(model):
    network, integrator, context = setting(model)

    def calls(action):
        before = network.calls
        action()
        return network.calls - before

    def step():
        integrator.step(1)

    assert calls(step) == 2
    assert calls(step) == 1
    context.setPeriodicBoxVectors(*CUBE)
    assert calls(step) == 1
    context.setPeriodicBoxVectors(*SLANTED)
    # What follows is the path of a new Context that starts there in that box.
    _, fresh, other = setting(model)
    other.setPositions(where(context))
    other.setVelocities(moving(context))
    other.setPeriodicBoxVectors(*SLANTED)
    assert calls(step) == 2
    fresh.step(1)
    assert np.abs(where(context) - where(other)).max() < 1e-13
    assert calls(step) == 1


@pytest.mark.parametrize("way", ["checkpoint", "xml"])
def test_restarts(model, way):
    """With the box, which is not that of the System."""
    _, integrator, context = setting(model, SLANTED, drift=DRIFT)
    integrator.step(2)
    if way == "checkpoint":
        network, again, elsewhere = setting(model, CUBE)
        elsewhere.loadCheckpoint(context.createCheckpoint())
    else:
        again, elsewhere = out_of_xml(context, integrator, model)
    for each in (integrator, again):
        each.step(2)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-13
    if way == "checkpoint":
        assert network.calls == 2


def test_a_solute_in_pieces_is_put_together(model, caplog):
    """As in files of whoever wraps particle by particle; the path is the same but for images."""
    _, integrator, context = setting(model, SLANTED)
    _, other, torn = setting(model, SLANTED)
    x = where(torn)
    x[:6] -= cells(torn, SLANTED) @ SLANTED
    assert np.ptp(x[:6], axis=0).max() > 1.0
    torn.setPositions(x)
    with caplog.at_level(logging.WARNING, "kstep_integrators.openmm.system"):
        for each in (integrator, other):
            each.step(3)
    assert [record.message[:34] for record in caplog.records] == [
        "the solute was given in pieces, an"
    ]
    apart = (where(torn) - where(context)) @ np.linalg.inv(SLANTED)
    assert np.abs(apart - np.rint(apart)).max() < 1e-11
    assert np.rint(apart)[:6].any()
    assert other.stats.residual_rms < 1e-12


def test_two_molecules_are_no_solute(model):
    """Once they are so far apart that nothing tells which image is meant; the start is kept."""
    atoms = box_atoms()
    system, _ = solvated(model, atoms)
    add_jump(system, model, particles=[*SOLUTE, 45], inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, timestep=BASE)
    context = started(make_context(system, integrator))
    before = where(context)
    before[45] = before[:6].mean(0) + 0.5 * LENGTH
    context.setPositions(before)
    with pytest.raises(openmm.OpenMMException, match=r"particle 45 of the solute is 0.[45]\d of"):
        integrator.step(1)
    assert np.array_equal(where(context), before)


def test_forces_without_a_box_in_the_flow(model):
    """The flow may compute what knows of none, and others move freely; or nothing at all."""
    atoms = box_atoms()
    for groups in ([7], []):
        system, _ = solvated(model, atoms)
        bonds = system.getForce(0)
        bonds.setUsesPeriodicBoundaryConditions(False)
        bonds.setForceGroup(7)
        add_jump(system, model, particles=SOLUTE, inner_groups=groups)
        integrator = KStepIntegrator(system, model, k=1, timestep=BASE / 2)
        context = started(make_context(system, integrator))
        other = started(make_context(system, verlet(BASE / 2)))
        for each in (integrator, other.getIntegrator()):
            each.step(3)
        assert np.abs(where(context) - where(other)).max() < 1e-10
        assert integrator.stats.fallbacks == 0


@pytest.mark.parametrize("settings", [{"corrector": "filtered"}, {"metropolize": True}], ids=str)
def test_other_jumps(model, settings):
    bath = {"temperature": 300, "friction": 1.0} if "metropolize" in settings else {}
    _, integrator, _ = setting(model, perturbed=100.0, **settings, **bath)
    integrator.step(1)
    assert integrator.stats.jumps == 1
    assert integrator.stats.failures == integrator.stats.fallbacks == 0


def test_rigid_water(model):
    """Is kept by the flow, and in other boxes than its first."""
    atoms = box_atoms()
    system, _ = solvated(model, atoms, rigid=True)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, timestep=BASE)
    context = started(make_context(system, integrator), drift=DRIFT)
    integrator.step(3)
    context.setPeriodicBoxVectors(*SLANTED)
    integrator.step(3)
    x = where(context)
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length / unit.nanometer, rel=1e-10)
    assert integrator.stats.fallbacks == 0
    assert integrator.stats.residual_rms < 1e-11


@pytest.mark.parametrize("particles", [None, range(84)], ids=["default", "named"])
def test_a_model_of_all_is_refused(model, particles):
    system, _ = solvated(model, box_atoms())
    count = system.getNumForces()
    with pytest.raises(ValueError, match=r"The System is periodic, .*particles=\[...\].*isolated"):
        add_jump(system, model, particles=particles, inner_groups=[CHEAP])
    with pytest.raises(ValueError, match="is periodic"):
        KStepIntegrator(system, model)
    assert system.getNumForces() == count


def test_a_box_that_came_later_is_refused(model):
    system = force_field(box_atoms())
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(force.NoCutoff)
        else:
            force.setUsesPeriodicBoundaryConditions(False)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    system.getForce(0).setUsesPeriodicBoundaryConditions(True)
    with pytest.raises(ValueError, match=r"other masses, constraints, boundaries.*\['periodic'\]"):
        KStepIntegrator(system, model)


def test_a_cutoff_that_needs_the_box_of_the_system(model):
    """A new System has one of 2 nm, and OpenMM refuses cutoffs beyond half of it."""
    system = force_field(box_atoms(), cutoff=1.2)
    assert add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP]) == 31


def test_the_model_knows_of_no_box(model):
    atoms = particles_of(force_field(box_atoms()))
    state = atoms.unplaced().replace(pbc=(True, True, True))
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        model.bind(state)
    isolated = Isolated(model)
    assert isolated.bind(state) is model.bind(atoms.unplaced())
    assert isolated.to("cpu").potential is model
    assert isolated.describe() == model.describe()
    assert (isolated.timestep, isolated.device) == (model.timestep, model.device)


class Springs(Calculator):
    """Methanol on springs, and the boxes that it was given."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.springs, self.boxes = MorseNetwork(box_atoms().positions[:6]), set()

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.boxes.add((bool(atoms.pbc.any()), round(atoms.cell.volume, 6)))
        self.springs.calculate(atoms, properties, system_changes)
        self.results = self.springs.results


@pytest.mark.parametrize("alone", [True, False], ids=["atoms", "calculator"])
def test_an_expensive_method_by_openmm_ml(model, alone):
    """Sees an isolated molecule if it gets atoms of its own, and the box of the Context if not."""
    atoms, calculator = box_atoms(), Springs()
    ours = topology(atoms)
    ours.setPeriodicBoxVectors(CUBE)
    given = {"calculator": calculator}
    if alone:
        given = {"aseAtoms": Atoms(atoms.numbers[:6], calculator=calculator)}
    system = MLPotential("ase").createMixedSystem(
        ours, force_field(atoms), list(SOLUTE), forceGroup=SLOW, mlLongRange=False, **given
    )
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, timestep=BASE / 4)
    context = started(make_context(system, integrator), drift=DRIFT)
    integrator.step(2)
    assert integrator.stats.fallbacks == 0
    assert calculator.boxes == {(False, 0.0) if alone else (True, round(1000 * LENGTH**3, 6))}
    # A State that is wrapped molecule by molecule holds pieces: the bonds are the calculator's.
    context.setPositions(where(context) - where(context)[0])
    wrapped = context.getState(positions=True, enforcePeriodicBox=True).getPositions(asNumpy=True)
    assert np.ptp(wrapped[:6] / unit.nanometer, axis=0).max() > 1.0


def test_constrained_molecules_in_pieces_are_refused(model):
    """OpenMM's constraints know of no images: they would pull the pieces through the box."""
    atoms = box_atoms()
    system, _ = solvated(model, atoms, rigid=True)
    add_jump(system, model, particles=SOLUTE, inner_groups=[CHEAP])
    integrator = KStepIntegrator(system, model, k=2, timestep=BASE)
    context = started(make_context(system, integrator), drift=DRIFT)
    x = where(context)
    box = context.getState().getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
    torn = x.copy()
    torn[10] += box[2]
    context.setPositions(torn)
    with pytest.raises(Exception, match=r"pairs of particles .*10.*whole molecules"):
        integrator.step(1)
