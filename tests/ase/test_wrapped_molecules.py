"""Bonds of fixed length across the boundaries of a cell: wrapped and whole molecules move alike."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength, FixBondLengths, FixCom
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import CalculatorPotential, KStepDynamics, run_ensemble
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.check_bonds import bond_offsets
from kstep_integrators.mechanics.degrees_of_freedom import atomic_degrees_of_freedom
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake

FS = units.fs
CELLS = {
    "cube": np.diag([7.0, 7.0, 7.0]),
    "skewed": np.array([[7.0, 0.0, 0.0], [6.3, 7.0, 0.0], [-5.8, 3.4, 7.0]]),
    "hexagonal": np.array([[7.0, 0.0, 0.0], [-3.5, 6.1, 0.0], [0.0, 0.0, 8.0]]),
    "slab": np.array([[7.0, 0.0, 0.0], [5.0, 7.0, 0.0], [0.0, 0.0, 40.0]]),
}
PERIODIC = {"slab": (True, True, False)}


def lennard_jones(depth=0.02):
    return LennardJones(sigma=1.2, epsilon=depth, rc=3.4, smooth=True)


def box(cell="cube", seed=0, bonded=((0, 1), (0, 2), (1, 2))):
    """Rigid waters on a lattice about the origin: some lie across the boundaries."""
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    rng, positions = np.random.default_rng(seed), []
    for corner in np.ndindex(2, 2, 2):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.append(water @ turn + np.array(corner) / 2 @ CELLS[cell])
    atoms = Atoms("OH2" * 8, np.concatenate(positions), cell=CELLS[cell])
    atoms.pbc = PERIODIC.get(cell, True)
    pairs = [[3 * i + a, 3 * i + b] for i in range(8) for a, b in bonded]
    atoms.set_constraint(FixBondLengths(pairs))
    thermalize_momenta(atoms, temperature_K=300.0, rng=rng)
    atoms.calc = lennard_jones()
    return atoms


def wrapped(atoms):
    """The same with every atom in the cell, and one of them a few cells away."""
    moved = atoms.copy()
    moved.calc = atoms.calc
    moved.positions[:] = atoms.get_positions(wrap=True)
    moved.positions[4] += np.array(atoms.pbc) * [2, -1, 3] @ np.array(atoms.cell)
    return moved


def same_images(one, other, tolerance=1e-9):
    """Positions that differ by whole cell vectors, and momenta."""
    between = (one.positions - other.positions) @ np.linalg.inv(np.array(one.cell))
    assert np.abs(between - np.rint(between)).max() < tolerance
    np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature_K": 300.0, "friction": 0.01 / FS},
        {"temperature_K": 300.0, "thermostat": "bussi", "taut": 20.0 * FS},
    ],
    ids=["constant", "langevin", "bussi"],
)
def test_wrapped_and_whole_take_one_path(cell, settings):
    whole = box(cell)
    ends = []
    for atoms in (whole, wrapped(whole)):
        rng = {"rng": np.random.default_rng(0)} if settings else {}
        cheap = CalculatorPotential(lennard_jones(0.018))
        KStepDynamics(atoms, cheap, k=4, timestep=0.5 * FS, **settings, **rng).run(5)
        ends.append(atoms)
    assert np.abs(ends[0].positions - whole.get_positions(wrap=True)).max() > 1.0
    same_images(*ends)
    fixed = ends[1].constraints[0]
    found = [ends[1].get_distance(a, b, mic=True) for a, b in fixed.pairs]
    np.testing.assert_allclose(found, fixed.bondlengths, rtol=1e-11)


def test_it_is_velocity_verlet_of_ase():
    one, other = (wrapped(box("skewed")) for _ in range(2))
    KStepDynamics(one, CalculatorPotential(lennard_jones()), k=4, timestep=1.0 * FS).run(5)
    VelocityVerlet(other, 1.0 * FS).run(20)
    np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
    np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-7)


@pytest.mark.parametrize("other", [FixAtoms([1, 4]), FixCom()], ids=["atoms", "centre"])
def test_beside_other_constraints(other):
    ends = []
    for atoms in (box("skewed"), wrapped(box("skewed"))):
        atoms.set_constraint([*atoms.constraints, other])
        KStepDynamics(atoms, CalculatorPotential(lennard_jones(0.018)), k=4).run(5)
        ends.append(atoms)
    same_images(*ends)


def test_atoms_wrapped_by_an_observer():
    left_alone, folded = box("skewed"), box("skewed")
    ends = []
    for atoms in (left_alone, folded):
        dynamics = KStepDynamics(atoms, CalculatorPotential(lennard_jones(0.018)), k=4)
        if atoms is folded:
            dynamics.attach(atoms.wrap, interval=2)
        dynamics.run(8)
        assert dynamics.stats.bond_changes == 0
        ends.append(atoms)
    same_images(*ends)


def test_a_checkpoint_goes_on_the_same(tmp_path):
    straight, halted = wrapped(box()), wrapped(box())
    cheap = CalculatorPotential(lennard_jones(0.018))
    KStepDynamics(straight, cheap, k=4).run(6)
    file = tmp_path / "run.ckpt"
    KStepDynamics(halted, cheap, k=4, checkpoint=file, checkpoint_interval=3).run(3)
    resumed = KStepDynamics.resume(file, lennard_jones(), cheap)
    resumed.run(3)
    # The neighbour list of the calculator is made anew.
    np.testing.assert_allclose(resumed.atoms.positions, straight.positions, atol=1e-12)


def test_replicas():
    cheap, settings = CalculatorPotential(lennard_jones(0.018)), {"k": 4, "timestep": 0.5 * FS}
    alone = [box(seed=0), wrapped(box(seed=1))]
    together = [one.copy() for one in alone]
    for atoms in alone:
        KStepDynamics(atoms, cheap, **settings).run(4)
    result = run_ensemble(together, cheap, lambda atoms: lennard_jones(), 4, **settings)
    for one, other in zip(alone, result.replicas, strict=True):
        np.testing.assert_allclose(other.atoms.positions, one.positions, atol=1e-9)


def test_one_bond_across_a_face():
    """Of 2.06 A, where the atoms as they stand are 8.02 A apart."""
    atoms = Atoms("CC", [[1, 0, 5], [9, 0.5, 5]], cell=[10] * 3, pbc=True)
    atoms.set_constraint(FixBondLength(0, 1))
    state = state_from_atoms(atoms)
    np.testing.assert_allclose(state.bond_lengths.numpy(), [np.hypot(2.0, 0.5)])
    np.testing.assert_array_equal(state.bond_offsets.numpy(), [[-10.0, 0.0, 0.0]])
    moved = state.positions.clone()
    moved[0, 0] += 0.1  # the bond is longer, and each atom is moved half of it along the bond
    # |(2.1, -0.5) - 2 m (2, -0.5)|^2 = 4.25
    m = (17.8 - np.sqrt(17.8**2 - 4.0 * 17.0 * 0.41)) / 34.0
    wanted = m * np.array([[-2.0, 0.5, 0.0], [2.0, -0.5, 0.0]])
    np.testing.assert_allclose(shake(state, moved).displacement.numpy(), wanted, atol=1e-12)
    momenta = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    kept = constrain(state, momenta)
    assert abs(float((kept[0] - kept[1]) @ torch.from_numpy(wanted[1]))) < 1e-15
    assert float(kept[0, 0]) == pytest.approx(1.0 - 0.5 * 4.0 / 4.25)


def test_what_is_whole_stays_so():
    """Half of the cell and more: a bond that has its length as it stands is not of an image."""
    long = Atoms("CC", [[0, 0, 0], [6, 0, 0]], cell=[10] * 3, pbc=True)
    long.set_constraint(FixBondLengths([[0, 1]], bondlengths=[6.0]))
    assert state_from_atoms(long).bond_offsets.abs().max() == 0
    long.set_constraint(FixBondLengths([[0, 1]]))  # ASE takes the length of the nearest image
    assert state_from_atoms(long).bond_lengths.tolist() == [4.0]
    no_cell = box()
    no_cell.pbc = False
    assert state_from_atoms(no_cell).bond_offsets is None


def test_bonds_that_do_not_have_their_lengths_are_still_refused():
    atoms = box()
    atoms.constraints[0].bondlengths = np.tile([0.97, 0.96, 1.5], 8)
    with pytest.raises(ValueError, match="do not have their lengths") as error:
        KStepDynamics(atoms, CalculatorPotential(lennard_jones()), k=1)
    assert "whole" not in str(error.value)


def test_the_advice_works():
    """A cell that grows takes the atoms along: put back on their lengths, the run goes on."""
    atoms = wrapped(box("skewed"))
    dynamics = KStepDynamics(atoms, CalculatorPotential(lennard_jones(0.018)), k=4)
    dynamics.run(1)
    atoms.set_cell(1.02 * np.array(atoms.cell), scale_atoms=True)
    with pytest.raises(ValueError, match=r"atoms\.set_positions\(atoms\.get_positions\(\)\)"):
        dynamics.run(1)
    atoms.set_positions(atoms.get_positions())
    dynamics.run(2)
    atoms.wrap()
    atoms.pbc = False
    with pytest.raises(ValueError, match="molecules are in pieces without the cell"):
        dynamics.run(1)


def test_every_corner_of_a_cell():
    """All images that a bond can be seen in give its one vector, in cells of any shape."""
    rng = np.random.default_rng(3)
    for name, cell in CELLS.items():
        pbc = PERIODIC.get(name, (True, True, True))
        start = rng.uniform(size=(200, 3)) @ cell
        bond = rng.normal(size=(200, 3))
        bond *= 1.1 / np.linalg.norm(bond, axis=1)[:, None]
        steps = rng.integers(-3, 4, size=(200, 3)) * np.array(pbc)
        x = torch.from_numpy(np.concatenate([start + bond, start + steps @ cell]))
        pairs = torch.stack([torch.arange(200), torch.arange(200, 400)], dim=1)
        lengths = torch.full((200,), 1.1, dtype=torch.float64)
        cells = torch.from_numpy(cell).expand(len(pairs), 3, 3)
        found = bond_offsets(pairs, lengths, x, cells, pbc)
        np.testing.assert_allclose(found.numpy(), -steps @ cell, atol=1e-12)


def test_equipartition_of_wrapped_molecules():
    whole = box("skewed")
    split = wrapped(whole)
    bonds = whole.constraints[0].pairs
    shares = [
        atomic_degrees_of_freedom(
            atoms.get_masses(),
            momentum_conserved=True,
            bonds=bonds,
            bond_positions=atoms.positions,
            cell=np.array(atoms.cell),
            pbc=atoms.pbc,
        )
        for atoms in (whole, split)
    ]
    np.testing.assert_allclose(*shares, atol=1e-12)
    assert shares[0].sum() == pytest.approx(3 * 24 - 3 - 24)
