"""Direct jumps and constraints in OpenMM: the trajectory of KStepDynamics on the same System."""

import numpy as np
import openmm
import pytest
import torch
from ase import units
from openmm import unit

from kstep_integrators import FlowJump, KStepDynamics, load_model
from kstep_integrators.calculators import OpenMMCalculator, fixed_bonds
from kstep_integrators.constraints import shake
from kstep_integrators.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump, stages
from kstep_integrators.openmm.force import JumpForce
from tests.conftest import ELEMENTS, hot
from tests.direct_systems import STRIDES, untrained
from tests.openmm_systems import (
    Counted,
    context,
    growth,
    model,
    moving,
    place,
    springs,
    where,
)

__all__ = ["model"]

FS = unit.femtosecond
# Untrained networks break bonds, and KStepDynamics warns of it.
BONDS = "ignore::kstep_integrators.KStepWarning"
BATH = {"temperature": 300 * unit.kelvin, "friction": 10 / unit.picosecond}
HYDROGEN = 1


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Direct jumps from files."""

    def made(baseline="verlet", constraints="none", size=1e-4, **config):
        scales = [[[size * k, size * k]] * len(ELEMENTS) for k in STRIDES]
        network = untrained(baseline, scales=scales, **config)
        path = tmp_path_factory.mktemp("models") / "direct.safetensors"
        header = ModelHeader(
            "direct", network.config, "none", constraints=constraints, kind="increments"
        )
        write_model(path, network, header)
        return load_model(path, device="cpu", dtype=torch.float64)

    return made


def molecule_of(fixed):
    """Ethanol, its springs, and its C-H and O-H bonds fixed if wanted."""
    molecule = hot(temperature=300.0)
    system = springs(hot())
    if fixed:
        distances = molecule.get_all_distances()
        for i in np.flatnonzero(molecule.numbers == HYDROGEN):
            heavy = int(np.where(molecule.numbers == HYDROGEN, np.inf, distances[i]).argmin())
            system.addConstraint(heavy, int(i), float(distances[i, heavy]) / 10.0)
        molecule.set_constraint(fixed_bonds(system))
        molecule.set_positions(molecule.get_positions())
        molecule.set_momenta(molecule.get_momenta())
    return molecule, system


def both(jump, jumps, fixed, platform="Reference", hosts=({}, {}), **settings):
    """The same run in both hosts: context, integrator, calls of the physics, dynamics."""
    molecule, system = molecule_of(fixed)
    molecule.calc = OpenMMCalculator(system)
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, jump, **settings, **hosts[0])
    found = place(context(system, integrator, platform), molecule)
    dynamics = KStepDynamics(molecule, jump, **settings, **hosts[1])
    integrator.step(jumps)
    dynamics.run(jumps)
    assert integrator.stats.bond_changes == dynamics.stats.bond_changes
    return found, integrator, counter, dynamics


def distance(found, dynamics):
    return float(np.abs(where(found) - dynamics.atoms.positions / 10.0).max())


def off_lengths(system, positions):
    """Largest relative error of a constrained length."""
    found = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    return max(
        abs(np.linalg.norm(positions[i] - positions[j]) / (length / unit.nanometer) - 1.0)
        for i, j, length in found
    )


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize(
    ("baseline", "fixed", "platform", "jumps"),
    [
        ("verlet", True, "Reference", 100),
        ("plain", True, "Reference", 100),
        ("verlet", False, "Reference", 20),
        ("verlet", True, "CPU", 20),
        ("plain", False, "CPU", 20),
    ],
)
def test_trajectory_of_direct_jumps(make, baseline, fixed, platform, jumps):
    jump = make(baseline, "HBonds" if fixed else "none", force_head=True)
    found, integrator, counter, dynamics = both(jump, jumps, fixed, platform, k=2)
    assert distance(found, dynamics) < 1e-8  # constants of ASE and OpenMM differ in the tenth digit
    if baseline == "verlet":
        assert integrator.stats.fallbacks == 0
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks
    assert counter.calls == integrator.stats.physics_evaluations
    assert counter.calls == dynamics.stats.physics_evaluations
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-6)
    assert integrator.stats.energy_error is dynamics.stats.energy_error is None
    if fixed:
        assert off_lengths(found.getSystem(), where(found)) < 1e-11


@pytest.mark.parametrize(("kind", "calls"), [("flow", 4), ("direct", 5)])
def test_forces_are_told_to_jumps_that_look_at_them(make, model, monkeypatch, kind, calls):
    """One exchange more per jump, and only for them."""
    asked = []
    call = JumpForce.__call__

    def told(self, state):
        asked.append(round(state.getParameters()[stages.STAGE]))
        return call(self, state)

    monkeypatch.setattr(JumpForce, "__call__", told)
    molecule, system = molecule_of(fixed=False)
    jump = make() if kind == "direct" else model
    integrator = KStepIntegrator(system, jump, k=2)
    found = place(context(system, integrator), molecule)
    integrator.step(1)
    asked.clear()
    integrator.step(5)
    assert integrator.stats.fallbacks == 0
    assert found.getStepCount() == 6
    assert len(asked) == 5 * calls
    assert asked.count(stages.FORCES) == (5 if kind == "direct" else 0)


def test_increments_matter(make):
    """The comparison above is one of jumps, not of their baseline."""
    ends = []
    for size in (1e-4, 2e-4):
        found, integrator, *_ = both(make(constraints="HBonds", size=size), 5, True, k=4)
        assert integrator.stats.fallbacks == 0
        assert integrator.stats.residual_rms is None
        ends.append(where(found))
    assert np.abs(ends[0] - ends[1]).max() > 1e-6


def test_without_increments_it_is_velocity_verlet(make):
    jump = make(size=1e-14)
    molecule, system = molecule_of(fixed=False)
    verlet = openmm.CustomIntegrator(0.001)
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    verlet.addComputePerDof("x", "x+dt*v")
    verlet.addComputePerDof("v", "v+0.5*dt*f/m")
    plain = place(context(system, verlet), molecule)
    verlet.step(40)
    integrator = KStepIntegrator(system, jump, k=2)
    found = place(context(system, integrator), molecule)
    integrator.step(40)
    assert integrator.stats.fallbacks == 0
    assert np.abs(where(found) - where(plain)).max() < 1e-8
    assert np.abs(moving(found) - moving(plain)).max() < 1e-6


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_flow_on_constraints(model, corrector):
    """RATTLE inside the flow, impulses that pull at no fixed bond."""
    hosts = ({"timestep": 0.25 * FS}, {"timestep": 0.25 * units.fs})
    found, integrator, counter, dynamics = both(
        model, 20, True, hosts=hosts, k=2, corrector=corrector
    )
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks
    assert distance(found, dynamics) < 1e-8
    assert counter.calls == dynamics.stats.physics_evaluations
    assert off_lengths(found.getSystem(), where(found)) < 1e-11


@pytest.mark.filterwarnings(BONDS)
def test_undone_jumps_are_made_on_the_constraints(make, caplog):
    """Increments that tear everything apart: physics steps in their place, in both hosts."""
    jump = make(constraints="HBonds", size=1.0)
    found, integrator, counter, dynamics = both(jump, 5, True, k=4)
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks == 5
    assert "a jump was undone" in caplog.text
    assert distance(found, dynamics) < 1e-6  # to OpenMM's own tolerance of constraints
    assert counter.calls == dynamics.stats.physics_evaluations
    assert off_lengths(found.getSystem(), where(found)) < 1e-5


def test_landings_off_the_constraints_are_undone(make, caplog, monkeypatch):
    """A jump that says it could not land is believed, however harmless its numbers look."""
    molecule, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, make(constraints="HBonds"), k=2)
    found = place(context(system, integrator), molecule)
    integrator.step(1)

    def fails(state, positions):
        return type(there := shake(state, positions))(
            there.positions, there.displacement, {0: "the fixed bond cannot be put back"}
        )

    monkeypatch.setattr("kstep_integrators.jumps.direct.shake", fails)
    integrator.step(1)
    assert integrator.stats.fallbacks == 1
    assert "the fixed bond cannot be put back" in caplog.text
    assert off_lengths(system, where(found)) < 1e-5


def test_starts_are_put_on_the_constraints(make):
    molecule, system = molecule_of(fixed=True)
    integrator = KStepIntegrator(system, make(constraints="HBonds"), k=2)
    found = place(context(system, integrator), molecule)
    on = where(found)
    rng = np.random.default_rng(0)
    found.setPositions(on + rng.normal(scale=1e-3, size=on.shape))
    found.setVelocities(rng.normal(scale=0.1, size=on.shape))
    integrator.step(3)
    assert integrator.stats.fallbacks == 0
    assert off_lengths(system, where(found)) < 1e-11
    free = [
        abs((where(found)[i] - where(found)[j]) @ (moving(found)[i] - moving(found)[j]))
        for i, j, _ in (system.getConstraintParameters(n) for n in range(6))
    ]
    assert max(free) < 1e-10


@pytest.mark.parametrize("kind", ["direct", "flow"])
def test_langevin_temperature_on_constraints(make, model, kind):
    """Velocities are drawn anew at each step: 2 kinetic / kT is chi-squared in 3N - C degrees."""
    molecule, system = molecule_of(fixed=True)
    jump = make(constraints="HBonds") if kind == "direct" else model
    integrator = KStepIntegrator(system, jump, k=2, temperature=300.0, friction=1e6)
    integrator.setRandomNumberSeed(3)
    found = place(context(system, integrator), molecule)
    kt = 300.0 * unit.MOLAR_GAS_CONSTANT_R / (unit.kilojoule_per_mole / unit.kelvin)
    degrees = 27 - system.getNumConstraints()
    values = []
    for _ in range(60):
        integrator.step(1)
        values.append(float((molecule.get_masses()[:, None] * moving(found) ** 2).sum()) / kt)
    error = np.sqrt(2.0 * degrees / len(values))
    assert abs(np.mean(values) - degrees) < 3.0 * error
    assert off_lengths(system, where(found)) < 1e-5


def test_checkpoint_and_xml_go_on(make):
    """Forces at the start are told at each jump: nothing depends on what Python remembers."""
    jump = make(constraints="HBonds")
    molecule, system = molecule_of(fixed=True)
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, jump, k=4, **BATH)
    found = place(context(system, integrator), molecule)
    integrator.step(3)
    saved = found.createCheckpoint()
    state = found.getState(
        getPositions=True, getVelocities=True, getParameters=True, getIntegratorParameters=True
    )
    texts = [openmm.XmlSerializer.serialize(each) for each in (system, integrator, state)]
    integrator.step(3)
    end = where(found)
    found.loadCheckpoint(saved)
    before = counter.calls
    integrator.step(3)
    assert counter.calls == before + 3
    assert np.array_equal(where(found), end)

    other = KStepIntegrator(system, jump, k=4, **BATH)
    elsewhere = context(system, other)
    elsewhere.loadCheckpoint(saved)
    other.step(3)
    assert np.abs(where(elsewhere) - end).max() < 1e-13

    again, same, state = [openmm.XmlSerializer.deserialize(text) for text in texts]
    found.loadCheckpoint(saved)
    integrator.setTemperature(0.0)
    third = context(again, same)
    third.setState(state)
    same.setGlobalVariableByName("kstep_kT", 0.0)
    for each in (integrator, same):
        each.step(3)
    assert np.abs(where(third) - where(found)).max() < 1e-13


def test_two_contexts_take_turns(make):
    """What one Context has told the jump is not taken for what the other has."""
    jump = make(force_head=True)
    ends = []
    for turns in (1, 6):
        molecule, system = molecule_of(fixed=False)
        runs = []
        for sign in (1.0, -1.0):
            integrator = KStepIntegrator(system, jump, k=2)
            found = place(context(system, integrator), molecule)
            found.setVelocities(sign * moving(found))
            runs.append((integrator, found))
        for _ in range(turns):
            for integrator, _ in runs:
                integrator.step(6 // turns)
        ends.append([where(found) for _, found in runs])
    assert np.abs(np.array(ends[0]) - np.array(ends[1])).max() < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["direct", "flow"])
def test_memory_stays_on_constraints(make, model, tmp_path, kind):
    """A thousand jumps with every reporter: one array kept per jump would be more."""
    molecule, system = molecule_of(fixed=True)
    jump = make(constraints="HBonds", force_head=True) if kind == "direct" else model
    timestep = None if kind == "direct" else 0.25 * FS
    k = 2 if kind == "direct" else 1
    integrator = KStepIntegrator(system, jump, k=k, timestep=timestep, **BATH)
    resident, traced = growth(molecule, system, integrator, tmp_path)
    assert integrator.stats.fallbacks < 100
    assert resident < 500_000
    assert traced < 30_000


def test_rigid_water_flows(tmp_path):
    """Three constraints in a ring: RATTLE takes them as any others."""
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    for i, j, length in ((0, 1, 0.09572), (0, 2, 0.09572), (1, 2, 0.15139)):
        system.addConstraint(i, j, length)
    integrator = KStepIntegrator(system, "organic-gfn2", k=4)
    found = context(system, integrator)
    found.setPositions([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
    found.setVelocitiesToTemperature(300.0, 1)
    integrator.step(20)
    assert integrator.stats.fallbacks == 0
    assert off_lengths(system, where(found)) < 1e-11


def test_metropolized_direct_jumps_are_refused(make):
    _, system = molecule_of(fixed=False)
    with pytest.raises(ValueError, match="neither time-reversible nor volume-preserving"):
        KStepIntegrator(system, make(), k=2, metropolize=True, **BATH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 3}, r"k=3, but this jump can make strides of \[2, 4, 8\] base steps of 0.5 fs"),
        ({"k": 2, "corrector": "impulse"}, r"cannot take the corrector 'impulse'.*\['delta'\]"),
        ({"k": 2, "timestep": 1.0 * FS}, "base step is 1 fs, .*has learned those of 0.5 fs"),
    ],
    ids=["k", "corrector", "timestep"],
)
def test_settings_refused(make, settings, message):
    _, system = molecule_of(fixed=False)
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, make(), **settings)
    assert system.getNumForces() == 2


def test_other_step_size_refused(make):
    molecule, system = molecule_of(fixed=False)
    integrator = KStepIntegrator(system, make(), k=2)
    found = place(context(system, integrator), molecule)
    integrator.setStepSize(0.003)
    start = where(found)
    with pytest.raises(openmm.OpenMMException, match=r"has learned those of 0\.5 fs"):
        integrator.step(1)
    assert np.array_equal(where(found), start)


def test_constraints_that_were_not_learned_are_refused(make):
    for learned, fixed in (("none", True), ("HBonds", False)):
        _, system = molecule_of(fixed)
        with pytest.raises(ValueError, match=f"trained with constraints='{learned}'"):
            add_jump(system, make(constraints=learned))


def test_rigid_water_is_no_direct_jump(make):
    _, system = molecule_of(fixed=True)
    system.addConstraint(3, 4, 0.18)
    with pytest.raises(ValueError, match="rigid"):
        add_jump(system, make(constraints="HBonds"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corrector": "filtered"}, "'filtered' with 6 constraints"),
        ({"metropolize": True, **BATH}, "metropolize=True with 6 constraints"),
    ],
    ids=["filtered", "metropolize"],
)
def test_not_validated_with_constraints(model, settings, message):
    _, system = molecule_of(fixed=True)
    with pytest.raises(ValueError, match=message):
        KStepIntegrator(system, model, **settings)


def test_constraints_changed_after_the_jump(model):
    _, system = molecule_of(fixed=True)
    add_jump(system, model)
    system.removeConstraint(0)
    with pytest.raises(ValueError, match="other masses, constraints, boundaries, elements"):
        KStepIntegrator(system, model)


def test_flow_jump_object_is_no_model(model):
    _, system = molecule_of(fixed=False)
    with pytest.raises(TypeError, match="a FlowJump; expected a bundled model name"):
        KStepIntegrator(system, FlowJump(model))
