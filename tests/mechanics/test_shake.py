"""Bonds of fixed length: SHAKE, projected momenta, and what moves with them."""

import math

import numpy as np
import pytest
import torch
from ase import units
from ase.constraints import FixAtoms, FixBondLengths, FixCom

from kstep_integrators import FlowJump
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.mechanics.bond_watch import find_bonds
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.rattle import project_momenta
from kstep_integrators.mechanics.rigid_bonds import cluster_bonds
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.state import Evaluation, kinetic_energy, velocities
from kstep_integrators.testing import assert_jump, flipped
from tests.conftest import cheap, hot, potential

FS = units.fs


def hydrogen_bonds(atoms):
    """Pairs of a bond with hydrogen."""
    found = find_bonds(state_from_atoms(atoms))
    pairs = found.pairs[found.bonded].numpy()
    return pairs[(atoms.numbers[pairs] == 1).any(1)]


def held(name="ethanol", *others, seed=0):
    """A hot molecule with rigid bonds of hydrogen."""
    atoms = hot(name, seed=seed)
    atoms.set_constraint([FixBondLengths(hydrogen_bonds(atoms)), *others])
    return atoms


def stretches(state, positions=None):
    """Relative errors of the fixed lengths."""
    i, j = state.bonds.T
    x = state.positions if positions is None else positions
    return ((x[i] - x[j]).norm(dim=1) / state.bond_lengths - 1.0).abs().max()


def opening(state):
    """Largest rate at which a fixed bond changes its length."""
    i, j = state.bonds.T
    v = velocities(state)
    return ((state.positions[i] - state.positions[j]) * (v[i] - v[j])).sum(1).abs().max()


def random(state, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(state.positions.shape, dtype=torch.float64, generator=generator)


def test_positions_are_put_back_along_the_bonds():
    state = state_from_atoms(held())
    moved = state.positions + 0.05 * random(state)
    assert stretches(state, moved) > 0.01
    shaken = shake(state, moved)
    assert shaken.failures == {}
    assert stretches(state, shaken.positions) < 1e-12
    # A force along the old bond vectors: no net impulse, and no torque about the old positions.
    push = state.masses * shaken.displacement
    assert push.sum(0).abs().max() < 1e-12
    assert torch.linalg.cross(state.positions, push).sum(0).abs().max() < 1e-12
    # What is on the constraints already is not moved.
    again = shake(state, shaken.positions)
    assert again.displacement.abs().max() < 1e-12


def test_one_bond_by_hand():
    # Masses 1 and 3 along z at a distance of 2; the light one is moved sideways by 1: the impulse
    # is along z, and the bond ends at a height of sqrt(4 - 1).
    atoms = held("water")
    atoms.set_constraint(FixBondLengths([[1, 0]], bondlengths=[2.0]))
    atoms.positions[:] = [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [9.0, 0.0, 0.0]]
    atoms.set_masses([3.0, 1.0, 1.0])
    state = state_from_atoms(atoms)
    moved = state.positions.clone()
    moved[1, 0] += 1.0
    found = shake(state, moved).positions
    short = 2.0 - math.sqrt(3.0)
    wanted = [[0.0, 0.0, short / 4.0], [1.0, 0.0, 2.0 - 0.75 * short], [9.0, 0.0, 0.0]]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


def test_without_bonds_nothing_is_done(state):
    moved = state.positions + 0.1
    assert shake(state, moved).positions is moved
    assert constrain(state, state.momenta) is state.momenta


def test_momenta_are_projected():
    state = state_from_atoms(held())
    raw = random(state, 1)
    done = constrain(state, raw)
    assert opening(state.replace(momenta=raw)) > 0.01
    assert opening(state.replace(momenta=done)) < 1e-14
    # An orthogonal projection in mass-weighted coordinates.
    torch.testing.assert_close(constrain(state, done), done, atol=1e-14, rtol=0)
    assert abs(float(((raw - done) * done / state.masses).sum())) < 1e-13
    lost = 0.5 * ((raw - done).square() / state.masses).sum()
    before, after = (kinetic_energy(state.replace(momenta=p)) for p in (raw, done))
    assert float(before - after) == pytest.approx(float(lost), rel=1e-12)


@pytest.mark.parametrize("others", [(FixCom(),), (FixAtoms([1, 4]),), (FixAtoms([0]),)])
def test_beside_other_constraints(others):
    atoms = held("ethanol", *others)
    state = state_from_atoms(atoms)
    state = state.replace(momenta=constrain(state, random(state)))
    jump = FlowJump(cheap(), 1.0 * FS).bind(state)
    landed, info = jump(state, None, None, 20)
    assert info.failures == {}
    assert stretches(landed) < 1e-12
    assert opening(landed) < 1e-13
    if state.mobile is not None:
        index = others[0].index
        assert torch.equal(landed.positions[index], state.positions[index])
        assert landed.momenta[index].abs().max() == 0
    else:
        assert landed.momenta.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize("k", [8, 40])
def test_the_contract_of_a_jump(k):
    state = state_from_atoms(held())
    nothing = Evaluation(torch.zeros(1, dtype=torch.float64), torch.zeros_like(state.positions))
    assert_jump(FlowJump(potential(), 0.5 * FS), state, nothing, k=k)


def test_a_flow_goes_back_where_it_came_from():
    state = state_from_atoms(held())
    jump = FlowJump(cheap(), 2.0 * FS).bind(state)
    there, _ = jump(state, None, None, 50)
    assert (there.positions - state.positions).abs().max() > 0.1
    back, _ = jump(flipped(there), None, None, 50)
    assert (back.positions - state.positions).abs().max() < 1e-9
    assert (back.momenta + state.momenta).abs().max() < 1e-9


def test_a_flow_conserves_energy_and_momenta():
    start = state_from_atoms(held())
    spreads = []
    for k in (10, 20):
        state, energies = start, []
        jump = FlowJump(cheap(), 10.0 * FS / k).bind(start)
        for _ in range(100):
            state, info = jump(state, None, None, k)
            energies.append(float(info.end.energy + kinetic_energy(state)))
        first, second = np.mean(energies[:50]), np.mean(energies[50:])
        spreads.append(np.std(energies))
        # No drift: the halves of a picosecond agree.
        assert abs(second - first) < 0.5 * spreads[-1]
        assert (state.momenta.sum(0) - start.momenta.sum(0)).abs().max() < 1e-11
        assert stretches(state) < 1e-12
    # Of second order in the base step.
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.2)


def test_the_error_of_a_flow_is_of_second_order():
    start = state_from_atoms(held())
    ends = []
    for k in (8, 16, 32):
        flow = FlowJump(cheap(), 4.0 * FS / k).bind(start)
        ends.append(flow(start, None, None, k)[0].positions)
    coarse, fine = ((x - ends[2]).abs().max() for x in ends[:2])
    # (1/64 - 1/1024) / (1/256 - 1/1024)
    assert float(coarse / fine) == pytest.approx(5.0, rel=0.05)


def test_rigid_waters_of_one_system_are_alone():
    """They are solved in one call, each for itself: the cost grows with their number."""
    water = held("water")
    water.set_constraint(FixBondLengths([[0, 1], [0, 2], [1, 2]]))
    one = state_from_atoms(water)
    shifts = 3.0 * torch.arange(5.0, dtype=torch.float64).repeat_interleave(3).unsqueeze(1)
    bonds = torch.cat([one.bonds + 3 * i for i in range(5)])
    state = make_state(
        one.numbers.repeat(5),
        one.masses.repeat(5, 1),
        one.positions.repeat(5, 1) + shifts,
        one.momenta.repeat(5, 1),
        bonds=bonds,
        bond_lengths=one.bond_lengths.repeat(5),
    )
    assert cluster_bonds(bonds)[0].bonds.shape == (5, 3)
    noise = random(state)
    shaken, kept = shake(state, state.positions + 0.05 * noise), constrain(state, noise)
    for i in range(5):
        mine = slice(3 * i, 3 * i + 3)
        each = one.replace(positions=state.positions[mine])
        alone = shake(each, each.positions + 0.05 * noise[mine])
        torch.testing.assert_close(shaken.positions[mine], alone.positions, atol=1e-14, rtol=0)
        torch.testing.assert_close(kept[mine], constrain(each, noise[mine]), atol=1e-14, rtol=0)


def test_each_molecule_of_a_batch_is_alone():
    parts = [state_from_atoms(a) for a in (held("water"), hot("methane"), held("ethanol"))]
    whole = join_states(parts)
    moved = whole.positions + 0.05 * random(whole)
    together = shake(whole, moved).positions
    sizes = [len(part.numbers) for part in parts]
    for part, x, y in zip(parts, moved.split(sizes), together.split(sizes), strict=True):
        torch.testing.assert_close(shake(part, x).positions, y, atol=1e-13, rtol=0)
    momenta = constrain(whole, random(whole, 2)).split(sizes)
    for part, raw, p in zip(parts, random(whole, 2).split(sizes), momenta, strict=True):
        torch.testing.assert_close(constrain(part, raw), p, atol=1e-13, rtol=0)


@pytest.mark.parametrize("moved", ["apart", "turned", "nan"])
def test_what_cannot_be_put_back_is_said(moved):
    whole = join_states([state_from_atoms(held("water")), state_from_atoms(held("ethanol"))])
    i, j = whole.bonds[-1].tolist()
    x = whole.positions.clone()
    if moved == "apart":
        axis = torch.linalg.cross(x[i] - x[j], torch.tensor([0.3, 0.5, 0.7]).double())
        x[j] += 3.0 * axis
    elif moved == "turned":
        x[i], x[j] = whole.positions[j], whole.positions[i]
    else:
        x[j] = math.nan
    shaken = shake(whole, x)
    assert list(shaken.failures) == [1]
    assert "cannot be put back on its length (SHAKE does not converge)" in shaken.failures[1]
    assert shaken.positions[:3].isfinite().all()
    assert shaken.positions[3:].isnan().all()


def test_a_flow_waits_where_it_cannot_go_on():
    whole = join_states([state_from_atoms(held("water")), state_from_atoms(held("ethanol"))])
    asked = []

    def nothing(x, carry):
        asked.append(bool(x.isfinite().all()))
        return Evaluation(torch.zeros(2, dtype=torch.float64), torch.zeros_like(x)), carry

    fast = whole.momenta.clone()
    fast[3:] *= 1000.0
    state = whole.replace(momenta=constrain(whole, fast))
    landed, _, failures = verlet_flow(nothing, state, nothing(whole.positions, None)[0], FS, 5)
    assert list(failures) == [1]
    assert asked == [True] * 6
    assert landed.positions[3:].isnan().all()
    # Water goes on as if it were alone.
    slow = state.replace(momenta=whole.momenta)
    alone, _, none = verlet_flow(nothing, slow, nothing(whole.positions, None)[0], FS, 5)
    assert none == {}
    torch.testing.assert_close(landed.positions[:3], alone.positions[:3], atol=1e-13, rtol=0)
    torch.testing.assert_close(landed.momenta[:3], alone.momenta[:3], atol=1e-13, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": torch.tensor([0, 0, 1])}, r"\[\[0, 2\]\] join atoms of different molecules"),
        (
            {"mobile": torch.tensor([0.0, 1.0, 0.0])},
            r"\[\[0, 2\]\] join atoms that are fixed themselves",
        ),
        ({"bond_lengths": None}, "bonds and bond_lengths belong together"),
        ({"bond_lengths": torch.tensor([[1.0]])}, r"shapes \(1, 2\) and \(1, 1\)"),
        ({"bonds": torch.zeros(0, 2), "bond_lengths": torch.zeros(0)}, "with C >= 1"),
    ],
)
def test_states_without_sense(changes, message):
    atoms = torch.zeros(3, 3, dtype=torch.float64)
    atoms[2, 0] = 1.0
    given = {"bonds": torch.tensor([[0, 2]]), "bond_lengths": torch.ones(1)}
    arguments = (torch.ones(3, dtype=torch.int64), torch.ones(3), atoms, torch.zeros_like(atoms))
    assert make_state(*arguments, **given).bonds.tolist() == [[0, 2]]
    with pytest.raises(ValueError, match=message):
        make_state(*arguments, **{**given, **changes})


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_molecule_does_not_take_others_along(lost):
    # Clusters of two bonds and of one: the second has an empty place.
    bonds = torch.tensor([[0, 1], [0, 2], [3, 4], [5, 6], [5, 7], [8, 9]])
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    momenta = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    light = torch.ones(10, 1, dtype=torch.float64)
    expected = project_momenta(bonds, positions, momenta, light)
    mine = torch.zeros(10, dtype=torch.bool)
    mine[5 * lost : 5 * lost + 5] = True
    positions[mine] = float("nan")
    found = project_momenta(bonds, positions, momenta, light)
    assert torch.equal(found[~mine], expected[~mine])
    assert not bool(found[mine].isfinite().any())
