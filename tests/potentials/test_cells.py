"""Networks in periodic cells: of any shape and size, by every backbone and in the kernel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms, units

from kstep_integrators import FlowJump
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.energy.network import BACKBONES, EnergyNetwork
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.testing import assert_jump

FS = units.fs
ELEMENTS = [1, 6, 7, 8]
CELLS = {
    "smaller than the cutoff": np.diag([2.9, 3.1, 3.4]),
    "skewed": np.array([[4.1, 0, 0], [3.9, 2.6, 0], [-2.0, 2.9, 4.4]]),
    "left-handed": np.array([[0, 0, 5.0], [5.5, 0, 0], [0, 6.5, 1.0]]),
    "large": np.diag([9.0, 10.0, 11.0]),
}
DIRECTIONS = [(True,) * 3, (True, True, False), (False, False, True)]


def made(backbone: str = "painn", backend: str = "eager", **config) -> NetworkPotential:
    torch.manual_seed(0)
    sizes = {"channels": 8, "layers": 2, "radial": 6, "cutoff": 3.2, **config}
    network = EnergyNetwork(ELEMENTS, backbone=backbone, scale=20.0, **sizes).double()
    if network.linear is not None:
        torch.nn.init.normal_(network.linear.weight, std=0.3)
    network.requires_grad_(False)
    header = ModelHeader("untrained", network.config, "none", periodic=True)
    return NetworkPotential(network, header, device="cpu", dtype=torch.float64, backend=backend)


def system(cell: str = "skewed", pbc=(True,) * 3, seed: int = 0) -> Atoms:
    """Some atoms in a cell, or outside of it, and none on top of another."""
    rng = np.random.default_rng(seed)
    box = CELLS[cell]
    molecule = np.array([[0, 0, 0], [0.3, 0.9, 0.2], [1.2, -0.2, 0.8], [0.9, 0.6, -1.1]])
    molecule += rng.normal(0.0, 0.05, (4, 3))
    images = rng.integers(-2, 3, (4, 3)) * pbc
    atoms = Atoms("OHCN", molecule + images @ box, cell=box, pbc=pbc)
    atoms.set_momenta(rng.normal(0.0, 1.0, (4, 3)))
    return atoms


def at(potential: NetworkPotential, atoms: Atoms) -> Evaluation:
    state = state_from_atoms(atoms)
    return potential.bind(state)(state.positions, None)[0]


@pytest.mark.parametrize("pbc", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["eager", "native"])
def test_a_cell_is_a_cluster_of_its_images(backend, cell, pbc):
    atoms = system(cell, pbc)
    potential = made(backend=backend, layers=1)
    # Forces on an atom end where the energies of its neighbours do: two cutoffs from it.
    heights = 1.0 / np.linalg.norm(np.linalg.inv(CELLS[cell]), axis=0)
    spread = np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)
    reach = [int(np.ceil(6.4 / h + s)) * p for h, s, p in zip(heights, spread, pbc, strict=True)]
    steps = [*itertools.product(*(range(-n, n + 1) for n in reach))]
    steps.sort(key=lambda step: np.abs(step).sum())  # the cell itself is the first
    images = np.array(steps) @ CELLS[cell]
    cluster = Atoms(
        np.tile(atoms.numbers, len(images)),
        (images[:, None] + atoms.positions).reshape(-1, 3),
    )
    inside, around = at(potential, atoms), at(potential, cluster)
    np.testing.assert_allclose(inside.forces, around.forces[:4], atol=1e-10)
    assert float(inside.forces.abs().max()) > 0.1


@pytest.mark.parametrize("pbc", DIRECTIONS)
@pytest.mark.parametrize("backend", ["eager", "native"])
def test_a_supercell_has_the_energy_of_its_cells(backend, pbc):
    atoms, potential = system("smaller than the cutoff", pbc), made(backend=backend)
    repeats = [3 if direction else 1 for direction in pbc]
    many, one = at(potential, atoms.repeat(repeats)), at(potential, atoms)
    assert float(many.energy) == pytest.approx(np.prod(repeats) * float(one.energy), abs=1e-9)
    np.testing.assert_allclose(many.forces[:4], one.forces, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backbone", [*sorted(BACKBONES)])
def test_forces_are_the_gradient(backbone, cell):
    atoms, potential = system(cell), made(backbone)
    forces, step = at(potential, atoms).forces, 1e-4
    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(float(at(potential, moved).energy))
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(
            float(forces[atom, axis]), abs=1e-6
        )


@pytest.mark.parametrize("pbc", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("config", [{}, {"linear": 9, "layers": 3}])
def test_the_kernel_agrees(config, cell, pbc):
    state = state_from_atoms(system(cell, pbc))
    eager, native = (made(backend=one, **config).bind(state) for one in ("eager", "native"))
    a, b = (one(state.positions, None)[0] for one in (eager, native))
    assert float(a.energy) == pytest.approx(float(b.energy), abs=1e-10)
    np.testing.assert_allclose(a.forces, b.forces, atol=1e-10)
    vectors = torch.eye(12, dtype=torch.float64).reshape(12, 4, 3)
    hessians = [one.linearized(state.positions)(vectors) for one in (eager, native)]
    np.testing.assert_allclose(hessians[0], hessians[1], atol=1e-8)


def nothing(state: PhaseState) -> Evaluation:
    return Evaluation(torch.zeros(1, dtype=torch.float64), torch.zeros_like(state.positions))


@pytest.mark.parametrize("pbc", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["eager", "native"])
def test_the_contract_of_a_jump_in_cells(backend, cell, pbc):
    state = state_from_atoms(system(cell, pbc))
    jump = FlowJump(made(backend=backend), 0.25 * FS)
    assert_jump(jump, state, nothing(state), k=8)


@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"painn"}))
def test_the_contract_of_a_jump_by_other_backbones(backbone):
    state = state_from_atoms(system("skewed"))
    assert_jump(FlowJump(made(backbone), 0.25 * FS), state, nothing(state), k=4)


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_energy_is_conserved_while_atoms_cross_the_boundary(backend):
    atoms = system("smaller than the cutoff")
    atoms.set_momenta(2.0 * atoms.get_momenta())
    state = state_from_atoms(atoms)
    bound = FlowJump(made(backend=backend), 0.02 * FS).bind(state)
    kinetic = [float((state.momenta.square() / state.masses).sum() / 2)]
    energies = [kinetic[0] + float(at(made(backend=backend), atoms).energy)]
    first = state.positions
    for _ in range(20):
        state, _ = bound(state, nothing(state), None, 50)
        there, _ = made(backend=backend).bind(state)(state.positions, None)
        kinetic.append(float((state.momenta.square() / state.masses).sum() / 2))
        energies.append(float(there.energy) + kinetic[-1])
    assert float((state.positions - first).abs().max()) > 1.5
    assert np.ptp(kinetic) > 1.0
    assert np.ptp(energies) < 1e-3 * np.ptp(kinetic)


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_replicas_in_cells_of_their_own(backend):
    atoms = [system("skewed"), system("large", seed=1), system("smaller than the cutoff", seed=2)]
    states, potential = [state_from_atoms(one) for one in atoms], made(backend=backend)
    together = join_states(states)
    found, _ = potential.bind(together)(together.positions, None)
    alone = [at(potential, one) for one in atoms]
    np.testing.assert_allclose(found.energy, torch.cat([one.energy for one in alone]), atol=1e-11)
    np.testing.assert_allclose(found.forces, torch.cat([one.forces for one in alone]), atol=1e-11)


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_another_cell_is_another_potential(backend):
    atoms, potential = system("skewed"), made(backend=backend)
    before = float(at(potential, atoms).energy)
    atoms.set_cell(1.05 * atoms.cell, scale_atoms=False)
    after = float(at(potential, atoms).energy)
    assert after != before
    assert after == float(at(made(backend=backend), atoms).energy)


def test_an_atom_that_is_lost_harms_no_other_molecule():
    states = [state_from_atoms(system("skewed")), state_from_atoms(system("large", seed=1))]
    positions = states[0].positions.clone()
    positions[2] = torch.nan
    potential = made()
    together = join_states([states[0].replace(positions=positions), states[1]])
    found, _ = potential.bind(together)(together.positions, None)
    assert float(found.energy[1]) == pytest.approx(
        float(at(potential, system("large", seed=1)).energy)
    )


def test_a_model_of_molecules_is_refused():
    potential = made()
    header = ModelHeader("of molecules", potential.network.config, "none")
    isolated = NetworkPotential(potential.network, header, device="cpu")
    state = state_from_atoms(system())
    with pytest.raises(ValueError, match=r"fitted to isolated molecules only.*Pass learn=True"):
        isolated.bind(state)
    isolated.in_cells().bind(state)
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        isolated.bind(state)
