"""KStepIntegrator makes the trajectory of KStepDynamics, with as many evaluations."""

import numpy as np
import openmm
import pytest
import torch
from ase import units
from openmm import app, unit
from openmmml import MLPotential

from kstep_integrators import KStepDynamics, Learning, load_model
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.openmm import KStepIntegrator, add_jump
from kstep_integrators.openmm.system import masses_of
from kstep_integrators.testing import CountingCalculator
from tests.conftest import hot
from tests.openmm.direct_jumps import BATH, molecule_of, off_lengths
from tests.openmm.systems import (
    Counted,
    OpenMMCalculator,
    make_context,
    model,
    molecule,
    moving,
    place,
    require_platform,
    springs,
    where,
)

__all__ = ["model", "molecule"]

FS = unit.femtosecond
# The untrained network breaks bonds, and KStepDynamics warns of it.
BONDS = "ignore::kstep_integrators.KStepWarning"


def agree(integrator, dynamics):
    """All counts of the two hosts."""
    for name in ("jumps", "physics_evaluations", "fallbacks", "accepted", "flips", "bond_changes"):
        assert getattr(integrator.stats, name) == getattr(dynamics.stats, name), name


def both(molecule, model, jumps, platform="Reference", *, hosts=({}, {}), **settings):
    """The same run in both hosts: (context, integrator, counter), dynamics."""
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, timestep=0.25 * FS, **settings, **hosts[0])
    context = place(make_context(system, integrator, platform), molecule)
    molecule.calc = OpenMMCalculator(springs(hot()))
    dynamics = KStepDynamics(molecule, model, timestep=0.25 * units.fs, **settings, **hosts[1])
    integrator.step(jumps)
    dynamics.run(jumps)
    agree(integrator, dynamics)
    return (context, integrator, counter), dynamics


def distance(context, atoms):
    return float(np.abs(where(context) - atoms.positions / 10.0).max())


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_trajectory_of_impulses(molecule, model, platform):
    (context, integrator, counter), dynamics = both(molecule, model, 100, platform, k=2)
    assert (
        distance(context, molecule) < 1e-8
    )  # constants of ASE and OpenMM differ in the tenth digit
    velocities = molecule.get_velocities() * (1000.0 * units.fs / units.nm)
    assert np.abs(moving(context) - velocities).max() < 1e-6
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks == 0
    assert counter.calls == integrator.stats.physics_evaluations == 101
    assert dynamics.stats.physics_evaluations == 101
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-6)
    assert integrator.stats.energy_error == pytest.approx(dynamics.stats.energy_error, rel=1e-6)
    assert integrator.stats.jump_seconds > 0
    assert context.getTime() / unit.picosecond == pytest.approx(0.05)


@pytest.mark.slow  # OpenCL compiles for each precision
@pytest.mark.parametrize("precision", ["double", "mixed", "single"])
@pytest.mark.parametrize("name", ["CUDA", "OpenCL"])
def test_trajectory_on_a_gpu(molecule, model, name, precision):
    """Answers of the jump pass through single precision there; a rounded landing is no mistake."""
    require_platform(name)
    system = springs(hot())
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, model, k=2, timestep=0.25 * FS)
    platform = openmm.Platform.getPlatformByName(name)
    context = openmm.Context(system, integrator, platform, {"Precision": precision})
    place(context, molecule)
    molecule.calc = OpenMMCalculator(springs(hot()))
    dynamics = KStepDynamics(molecule, model, k=2, timestep=0.25 * units.fs)
    integrator.step(100)
    dynamics.run(100)
    # Forces of the other precisions are those of positions in single precision.
    assert distance(context, molecule) < (1e-5 if precision == "double" else 1e-4)
    assert integrator.stats.fallbacks == 0
    # Where rounding makes a position look as if it had been set, it costs an evaluation.
    assert 101 <= counter.calls <= 201
    assert counter.calls == integrator.stats.physics_evaluations
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-3)
    energy = context.getState(getEnergy=True).getPotentialEnergy()
    difference = (energy - integrator.getLandingEnergy()) / unit.kilojoule_per_mole
    assert abs(difference) < 1e-2
    end, saved = where(context), context.createCheckpoint()
    integrator.step(2)
    after = where(context)
    context.loadCheckpoint(saved)
    assert np.abs(where(context) - end).max() < 1e-7
    integrator.step(2)
    assert np.abs(where(context) - after).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CUDA", "OpenCL"])
@pytest.mark.parametrize("tested", [False, True], ids=["constrained", "metropolized"])
def test_parts_of_a_step_on_a_gpu(model, name, tested):
    """Heat bath with constraints, and the test: one evaluation for each stride, none undone."""
    require_platform(name)
    molecule, system = molecule_of(fixed=not tested)
    counter = Counted().join(system)
    settings = {"metropolize": True, "extra_chances": 0} if tested else {}
    integrator = KStepIntegrator(system, model, k=2, timestep=0.25 * FS, **BATH, **settings)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName(name)
    context = openmm.Context(system, integrator, platform, {"Precision": "mixed"})
    place(context, molecule)
    integrator.step(20)
    stats = integrator.stats
    assert stats.fallbacks == stats.failures == 0
    assert counter.calls == stats.physics_evaluations
    if tested:
        assert stats.accepted + stats.flips == 20
        assert stats.accepted > 10
        assert counter.calls == 21
    else:
        assert 21 <= counter.calls <= 41
        assert off_lengths(system, where(context)) < 1e-6


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize("corrector", ["filtered", "none"])
def test_trajectory_of_other_correctors(molecule, model, corrector):
    (context, integrator, counter), dynamics = both(molecule, model, 12, k=3, corrector=corrector)
    assert distance(context, molecule) < 1e-8
    assert counter.calls == dynamics.stats.physics_evaluations
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks
    assert integrator.stats.jumps == 12


@pytest.mark.filterwarnings(BONDS)
def test_jumps_undone_are_made_with_the_physics(molecule, model, caplog):
    """The potential alone soon breaks the molecule; fallbacks follow, the same in both hosts."""
    (context, integrator, counter), dynamics = both(molecule, model, 20, k=8, corrector="none")
    assert integrator.stats.fallbacks == dynamics.stats.fallbacks > 3
    messages = [record.message for record in caplog.records]
    assert len(messages) == (2 if integrator.stats.fallbacks >= 10 else 1)
    assert "changed by more than 1 eV" in messages[0]
    assert (
        counter.calls == dynamics.stats.physics_evaluations == integrator.stats.physics_evaluations
    )
    assert distance(context, molecule) < 1e-6


@pytest.mark.filterwarnings(BONDS)
def test_jumps_go_on_after_physics_steps(model):
    """Some strides stand and some do not; impulses start from where the physics has led."""
    molecule = hot(temperature=3000.0)
    (context, integrator, counter), dynamics = both(molecule, model, 12, k=8)
    assert 0 < integrator.stats.fallbacks == dynamics.stats.fallbacks < 12
    assert counter.calls == dynamics.stats.physics_evaluations
    assert distance(context, molecule) < 1e-8


@pytest.mark.filterwarnings(BONDS)
@pytest.mark.parametrize("corrector", ["impulse", "none"])
@pytest.mark.parametrize("temperature", [1e-9, 1e9])
def test_metropolized_trajectory(molecule, model, corrector, temperature):
    """Where the random number does not matter, every decision is that of the other host."""
    hosts = (
        {"temperature": temperature * unit.kelvin, "friction": 0.0 / unit.picosecond},
        {"temperature_K": temperature, "friction": 0.0, "rng": np.random.default_rng(0)},
    )
    (context, integrator, counter), dynamics = both(
        molecule,
        model,
        12,
        hosts=hosts,
        k=6,
        corrector=corrector,
        metropolize=True,
        extra_chances=2,
    )
    assert distance(context, molecule) < 1e-8
    stats, other = integrator.stats, dynamics.stats
    assert (stats.accepted, stats.flips) == (other.accepted, other.flips)
    if temperature < 1.0:
        assert stats.flips > 0
    else:
        assert stats.accepted == 12
    assert counter.calls == stats.physics_evaluations == other.physics_evaluations
    assert stats.energy_error == pytest.approx(other.energy_error, rel=1e-6)


def test_calculators_as_the_physics(molecule):
    """GFN2 through openmm-ml: the same evaluations at the same places as in ASE."""
    topology = app.Topology()
    residue = topology.addResidue("EOH", topology.addChain())
    for z in molecule.numbers:
        topology.addAtom("", app.Element.getByAtomicNumber(int(z)), residue)
    calculator = CountingCalculator(xtb_calculator("GFN2-xTB"))
    system = MLPotential("ase").createSystem(topology, removeCMMotion=False, calculator=calculator)
    network = load_model("organic-gfn2", device="cpu")
    integrator = KStepIntegrator(system, network, k=2)
    context = place(make_context(system, integrator), molecule)
    # Masses of OpenMM's own table are slightly others.
    molecule.set_masses(masses_of(system))
    place(context, molecule)
    molecule.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(molecule, network, k=2)
    integrator.step(10)
    dynamics.run(10)
    assert distance(context, molecule) < 1e-6
    assert calculator.evaluations == molecule.calc.evaluations == 11
    assert integrator.stats.residual_rms == pytest.approx(dynamics.stats.residual_rms, rel=1e-3)


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_single_precision_network(molecule):
    """The network's precision is its own: float32 inside, float64 at the door."""
    network = load_model("organic-gfn2", device="cpu")
    (context, _, _), _ = both(molecule, network, 5, k=2)
    assert distance(context, molecule) < 1e-7


def test_conserved_momentum_and_energy(molecule, model):
    system = springs(hot())
    integrator = KStepIntegrator(system, model, k=1, timestep=0.1 * FS)
    context = place(make_context(system, integrator), molecule)

    def total():
        state = context.getState(getEnergy=True)
        return (state.getKineticEnergy() + state.getPotentialEnergy()).value_in_unit(
            unit.kilojoule_per_mole
        )

    before = total()
    integrator.step(40)
    masses = molecule.get_masses()[:, None]
    assert np.abs((masses * moving(context)).sum(0)).max() < 1e-8
    # With k = 1 the impulses cancel the potential: velocity Verlet on the physics.
    verlet_system = springs(hot())
    verlet = openmm.CustomIntegrator(0.0001)
    verlet.addComputePerDof("v", "v + 0.5*dt*f/m")
    verlet.addComputePerDof("x", "x + dt*v")
    verlet.addComputePerDof("v", "v + 0.5*dt*f/m")
    other = place(make_context(verlet_system, verlet), molecule)
    verlet.step(40)
    assert np.abs(where(other) - where(context)).max() < 1e-9
    assert abs(total() - before) < 0.5


def test_physics_is_every_group_but_the_jumps(molecule, model):
    """Springs in group 0, torsion in 1, or both elsewhere: the same path."""
    paths = []
    for group in (0, 7):
        system = springs(hot(), group)
        integrator = KStepIntegrator(system, model, k=2)
        context = place(make_context(system, integrator), molecule)
        integrator.step(3)
        paths.append(where(context))
    assert np.array_equal(*paths)
    without = springs(hot())
    without.removeForce(1)
    integrator = KStepIntegrator(without, model, k=2)
    context = place(make_context(without, integrator), molecule)
    integrator.step(3)
    assert np.abs(where(context) - paths[0]).max() > 1e-7


def test_repartitioned_masses(molecule, model):
    system = springs(molecule)
    heavy = np.where(molecule.numbers == 1, 2.016, molecule.get_masses()).tolist()
    for index, mass in enumerate(heavy):
        system.setParticleMass(index, mass)
    add_jump(system, model, elements=molecule.numbers.tolist())
    molecule.set_masses(heavy)
    molecule.calc = OpenMMCalculator(springs(hot()))
    integrator = KStepIntegrator(system, model, k=2, timestep=0.25 * FS)
    context = place(make_context(system, integrator), molecule)
    dynamics = KStepDynamics(molecule, model, k=2, timestep=0.25 * units.fs)
    integrator.step(5)
    dynamics.run(5)
    assert distance(context, molecule) < 1e-9


@pytest.mark.parametrize("corrector", ["impulse", "filtered"])
def test_what_a_run_has_learned_jumps_in_openmm(molecule, model, tmp_path, corrector):
    """The file that it leaves, in both hosts; and not the potential in memory, which has none."""
    molecule.calc = OpenMMCalculator(springs(hot()))
    learning = KStepDynamics(molecule, model, k=4, learn=Learning(refit=False))
    learning.run(8)
    path = tmp_path / "learned.safetensors"
    learning.potential.save(path)
    learned = load_model(path, device="cpu", dtype=torch.float64)
    assert learned.network.linear.weight.any()
    (context, _, _), dynamics = both(hot(), learned, 20, k=2, corrector=corrector)
    assert distance(context, dynamics.atoms) < 1e-8
    state = dynamics._run.point.state
    found = learning.potential.bind(state)(state.positions, None)[0].forces
    wanted = learned.bind(state)(state.positions, None)[0].forces
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="file"):
        KStepIntegrator(springs(hot()), learning.potential.model)
    with pytest.raises(TypeError, match="model is a AdaptedPotential"):
        KStepIntegrator(springs(hot()), learning.potential)
