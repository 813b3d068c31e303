"""OpenMM as an ASE calculator: the real force field of the training module, and its constraints."""

import sys

import numpy as np
import openmm
import pytest
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from openmm import unit

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import OpenMMCalculator, fixed_bonds
from kstep_integrators.calculators.whole_molecules import WholeMolecules
from kstep_integrators.physics.identity import calculator_name
from kstep_training.prep.molecules import conformers, hydrogenated
from kstep_training.prep.systems import build_system

FS = units.fs


def ethanol(constraints=None, temperature=300.0):
    """MMFF94 ethanol: hot atoms, on the constraints of the System if it has any, and the System."""
    (atoms,) = conformers("CCO")
    system = build_system(hydrogenated("CCO"), constraints=constraints)
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
    if constraints is not None:
        atoms.set_constraint(fixed_bonds(system))
        atoms.set_positions(atoms.get_positions())
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    return atoms, system


@pytest.mark.parametrize("constraints", [None, "HBonds"])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_energy_and_forces_are_those_of_openmm(constraints, platform):
    atoms, system = ethanol(constraints)
    atoms.calc = OpenMMCalculator(system, platform)
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(atoms.positions * unit.angstrom)
    state = context.getState(energy=True, forces=True)
    # CODATA 2014, as in ASE: 1 kJ/mol = 0.01036426966 eV
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * 0.010364269656
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-5)
    forces = state.getForces(asNumpy=True)
    forces = forces.value_in_unit(unit.kilojoule_per_mole / unit.angstrom) * 0.010364269656
    found = atoms.get_forces(apply_constraint=False)
    np.testing.assert_allclose(found, forces, atol=1e-5)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert calculator_name(atoms.calc) == "openmm"


def test_forces_are_the_slope_of_the_energy():
    atoms, system = ethanol()
    atoms.calc = OpenMMCalculator(system)
    force = atoms.get_forces()[4, 1]
    ends = []
    for step in (1e-4, -2e-4):
        atoms.positions[4, 1] += step
        ends.append(atoms.get_potential_energy())
    assert force == pytest.approx((ends[1] - ends[0]) / 2e-4, abs=1e-5)


def test_nothing_is_kept_from_one_geometry_to_the_next():
    atoms, system = ethanol()
    atoms.calc = OpenMMCalculator(system)
    first, elsewhere = atoms.get_forces().copy(), atoms.copy()
    elsewhere.positions += np.random.default_rng(1).normal(0.0, 0.1, atoms.positions.shape)
    elsewhere.calc = atoms.calc
    elsewhere.get_forces()
    np.testing.assert_array_equal(atoms.get_forces(), first)
    system.getForce(0).setBondParameters(0, 0, 1, [0.0, 0.15])  # no part of it any more
    atoms.calc.reset()
    np.testing.assert_array_equal(atoms.get_forces(), first)


def test_two_femtoseconds_with_rigid_bonds_conserve_energy():
    atoms, system = ethanol("HBonds")
    atoms.calc = OpenMMCalculator(system)
    inner = CalculatorPotential(OpenMMCalculator(system))
    dynamics = KStepDynamics(atoms, inner, k=2, timestep=2.0 * FS)
    energies = []
    for _ in range(250):
        dynamics.run(1)
        energies.append(atoms.get_total_energy())
    kinetic = 0.5 * units.kB * 300.0 * atoms.get_number_of_degrees_of_freedom()
    # A picosecond: a fluctuation of Verlet at 2 fs, and no drift.
    assert np.std(energies) < 0.015 * kinetic
    assert abs(np.mean(energies[:125]) - np.mean(energies[125:])) < 0.005 * kinetic
    assert dynamics.stats.fallbacks == 0
    assert dynamics.stats.residual_rms == pytest.approx(0.0, abs=1e-12)
    found = state_from_atoms(atoms)
    i, j = found.bonds.T
    lengths = (found.positions[i] - found.positions[j]).norm(dim=1)
    assert (lengths / found.bond_lengths - 1.0).abs().max() < 1e-12


def test_it_follows_openmm_itself():
    atoms, system = ethanol("HBonds")
    atoms.calc = OpenMMCalculator(system)
    integrator = openmm.CustomIntegrator(0.002)  # RATTLE
    integrator.setConstraintTolerance(1e-10)
    integrator.addPerDofVariable("x1", 0)
    for name, expression in (("v", "v+0.5*dt*f/m"), ("x", "x+dt*v"), ("x1", "x")):
        integrator.addComputePerDof(name, expression)
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v+0.5*dt*f/m+(x-x1)/dt")
    integrator.addConstrainVelocities()
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions / 10.0)
    context.setVelocities(atoms.get_velocities() * 1000.0 * FS / 10.0)
    inner = CalculatorPotential(OpenMMCalculator(system))
    dynamics = KStepDynamics(atoms, inner, k=5, timestep=2.0 * FS)
    dynamics.run(10)
    integrator.step(50)
    there = context.getState(positions=True).getPositions(asNumpy=True)
    there = there.value_in_unit(unit.angstrom)
    assert np.abs(there - atoms.positions).max() < 1e-6


def test_constraints_of_a_system():
    atoms, system = ethanol("HBonds")
    fixed = fixed_bonds(system)
    assert len(fixed.pairs) == system.getNumConstraints() == 6
    for k, ((i, j), length) in enumerate(zip(fixed.pairs, fixed.bondlengths, strict=True)):
        one, other, wanted = system.getConstraintParameters(k)
        assert (one, other) == (i, j)
        assert length == pytest.approx(wanted.value_in_unit(unit.angstrom), abs=1e-14)
        assert atoms.get_distance(i, j) == pytest.approx(length, abs=1e-12)
    with pytest.raises(ValueError, match="the System has no constraints"):
        fixed_bonds(build_system(hydrogenated("CCO")))


def test_repartitioned_masses_go_along():
    atoms, system = ethanol("HBonds")
    masses = atoms.get_masses()
    for i, j in atoms.constraints[0].pairs:
        heavy, light = (i, j) if masses[i] > masses[j] else (j, i)
        masses[heavy] -= 2.0
        masses[light] += 2.0
    for i, mass in enumerate(masses):
        system.setParticleMass(i, mass)
    atoms.calc = OpenMMCalculator(system)
    with pytest.raises(ValueError, match=r"have other masses .*\(atom 0, C: 12.011 u, expected 6"):
        atoms.get_potential_energy()
    atoms.set_masses(masses)
    atoms.get_potential_energy()
    # The inner force is given the masses of the run too.
    inner = CalculatorPotential(OpenMMCalculator(system))
    dynamics = KStepDynamics(atoms, inner, k=2, timestep=4.0 * FS)
    dynamics.run(2)
    assert dynamics.stats.fallbacks == 0


def test_other_atoms_are_refused():
    atoms, system = ethanol()
    calc = OpenMMCalculator(system)
    few = atoms[:8]
    few.calc = calc
    with pytest.raises(ValueError, match="there are 8 atoms, but the System has 9 particles"):
        few.get_potential_energy()
    mixed = atoms[[2, 1, 0, 3, 4, 5, 6, 7, 8]]
    mixed.calc = calc
    with pytest.raises(ValueError, match=r"atoms \[0, 2\] have other masses .* the order of the"):
        mixed.get_potential_energy()
    atoms.pbc = True
    atoms.calc = calc
    with pytest.raises(ValueError, match="the System is not periodic; make both periodic"):
        atoms.get_potential_energy()


def test_a_periodic_system():
    system = openmm.System()
    for _ in range(2):
        system.addParticle(39.95)
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.9)
    for _ in range(2):
        force.addParticle(0.0, 0.34, 1.0)
    system.addForce(force)
    near = Atoms("Ar2", [[0.5, 0, 0], [19.5, 0, 0]], cell=[20.0, 21.0, 22.0], pbc=True)
    near.set_masses([39.95, 39.95])
    near.calc = OpenMMCalculator(system)
    attraction = near.get_forces()[0, 0]
    assert attraction > 1.0  # the image is 1 angstrom away: repelled along x
    near.set_cell([40.0, 21.0, 22.0])
    assert near.get_forces()[0, 0] == 0.0
    near.pbc = (True, True, False)
    with pytest.raises(ValueError, match="the System is periodic; make both periodic in all"):
        near.get_potential_energy()


def test_virtual_sites_and_unknown_platforms_are_refused():
    system = openmm.System()
    for mass in (16.0, 1.0, 0.0):
        system.addParticle(mass)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"particles \[2\] of the System are virtual sites"):
        OpenMMCalculator(system)
    plain = openmm.System()
    plain.addParticle(1.0)
    with pytest.raises(ValueError, match=r"platform is 'Metal'; OpenMM has \['Reference'"):
        OpenMMCalculator(plain, "Metal")


def test_a_missing_package_names_its_extra(monkeypatch):
    system = build_system(hydrogenated("C"))
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r"needs openmm.*kstep-integrators\[openmm\]"):
        OpenMMCalculator(system)


def test_there_is_nothing_without_atoms():
    _, system = ethanol()
    with pytest.raises(ValueError, match="needs atoms, got None"):
        OpenMMCalculator(system).calculate()


@pytest.mark.filterwarnings("ignore:the box is not rectangular:kstep_integrators.KStepWarning")
def test_wrapped_molecules_are_put_together():
    """Bonds know of no images in OpenMM; of a wrapped box the energy is that of the whole one."""
    water = [[0.0, 0.0, 0.0], [0.0957, 0.0, 0.0], [-0.024, 0.0927, 0.0]]
    cell = np.array([[2.0, 0.0, 0.0], [0.9, 2.0, 0.0], [-0.7, 0.8, 2.0]])
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*cell)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.7)
    positions, rng = [], np.random.default_rng(0)
    for number, corner in enumerate(np.ndindex(3, 3, 3)):
        first = 3 * number
        positions.append(
            water @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + np.array(corner) @ cell / 3
        )
        for mass, charge in ((15.999, -0.8), (1.008, 0.4), (1.008, 0.4)):
            system.addParticle(mass)
            pairs.addParticle(charge, 0.3, 0.5 if mass > 2 else 0.0)
        angles.addAngle(first + 1, first, first + 2, 1.8, 300.0)
        bonds.addBond(first, first + 1, 0.09, 3e5)
        bonds.addBond(first + 2, first, 0.09, 3e5)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            pairs.addException(first + a, first + b, 0.0, 1.0, 0.0)
    for force in (bonds, angles, pairs):
        system.addForce(force)
    whole = Atoms("OH2" * 27, 10 * np.concatenate(positions), cell=10 * cell, pbc=True)
    whole.set_masses([15.999, 1.008, 1.008] * 27)
    whole.calc = OpenMMCalculator(system)
    torn = whole.copy()
    torn.wrap()
    torn.positions[7] += [-20.0, 0.0, 0.0]
    assert np.abs(torn.positions - whole.positions).max() > 10.0
    torn.calc = OpenMMCalculator(system)
    assert torn.get_potential_energy() == pytest.approx(whole.get_potential_energy(), rel=1e-6)
    np.testing.assert_allclose(torn.get_forces(), whole.get_forces(), atol=2e-5)


def test_branched_molecules_of_any_size_are_put_together():
    """Sixty random trees, each atom in an image of its own: bonds are what they were."""
    rng, system, springs = np.random.default_rng(0), openmm.System(), openmm.HarmonicBondForce()
    count, bonds = 400, []
    x = rng.uniform(0.0, 3.0, (count, 3))
    for i in range(count):
        system.addParticle(12.0)
        if i % 7:
            bonds.append((int(rng.integers(i - i % 7, i)), i))
            springs.addBond(*bonds[-1], 0.1, 1.0)
            x[i] = x[bonds[-1][0]] + rng.normal(size=3) * 0.05
    system.addForce(springs)
    box = np.array([[3.0, 0.0, 0.0], [1.0, 3.0, 0.0], [-0.9, 1.2, 3.0]])
    torn = x + rng.integers(-2, 3, (count, 3)) @ box
    whole = WholeMolecules(system).put_together(torn, box)
    i, j = np.array(bonds).T
    np.testing.assert_allclose(whole[i] - whole[j], x[i] - x[j], atol=1e-13)
    assert WholeMolecules(system).put_together(x, box) is x
