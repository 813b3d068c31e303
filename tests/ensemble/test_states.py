"""Molecules joined into one state and taken out of it; noise for each of them."""

import dataclasses

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixCom

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.fields import Layout, select
from kstep_integrators.mechanics.bond_watch import find_bonds
from kstep_integrators.state import Correction, Evaluation, PhasePoint
from kstep_integrators.thermostats.noise import gammas, normals, normals_of_atoms, uniforms
from tests.conftest import hot

NAMES = ("water", "ethanol", "methane")


def states(*constraints):
    found = []
    for seed, name in enumerate(NAMES):
        atoms = hot(name, seed=seed)
        if seed < len(constraints):
            atoms.set_constraint(constraints[seed])
        found.append(state_from_atoms(atoms, time=float(seed)))
    return found


def point_of(state):
    numbers = torch.arange(3.0 * len(state.numbers), dtype=torch.float64).reshape(-1, 3)
    energy = state.time + 10.0
    inner = Evaluation(energy + 1.0, numbers + 0.5)
    return PhasePoint(state, Evaluation(energy, numbers), inner, Correction(-numbers, 2.0))


def assert_same(a, b):
    for name, value in vars(a).items():
        other = getattr(b, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


@pytest.mark.parametrize("constraints", [(), ([], FixAtoms([0, 2]))])
def test_what_is_joined_comes_apart_again(constraints):
    parts = states(*constraints)
    whole = join_states(parts)
    assert whole.n_molecules == 3
    assert whole.time.tolist() == [0.0, 1.0, 2.0]
    point = point_of(whole)
    for i, part in enumerate(parts):
        which = torch.arange(3) == i
        found = select(point, Layout(which, whole.batch))
        mobile = part.mobile
        if constraints and mobile is None:
            mobile = torch.ones_like(part.masses)
        assert_same(found.state, part.replace(mobile=mobile))
        mine = whole.batch == i
        assert torch.equal(found.physics.forces, point.physics.forces[mine])
        assert torch.equal(found.inner.energy, point.inner.energy[which])
        assert torch.equal(found.correction.force, point.correction.force[mine])
    two = select(point, Layout(torch.tensor([True, False, True]), whole.batch))
    assert_same(two.state, join_states([parts[0], parts[2]]).replace(mobile=two.state.mobile))
    every = select(point, Layout(torch.tensor([True, True, True]), whole.batch))
    assert_same(every.state, whole)
    assert join_states([join_states(parts[:2]), parts[2]]).batch.tolist() == whole.batch.tolist()


def test_failures_follow_their_molecules():
    point = point_of(join_states(states()))
    failed = dataclasses.replace(point.physics, failures={0: "no", 2: "never"})
    found = select(
        dataclasses.replace(point, physics=failed, inner=None, correction=None),
        Layout(torch.tensor([False, True, True]), point.state.batch),
    )
    assert found.physics.failures == {1: "never"}
    assert (found.inner, found.correction) == (None, None)


def test_bonds_follow_their_molecules():
    whole = join_states(states())
    kept = torch.tensor([True, False, True])
    found = select(find_bonds(whole), Layout(kept, whole.batch))
    expected = find_bonds(select(whole, Layout(kept, whole.batch)))
    assert torch.equal(found.pairs, expected.pairs)
    assert torch.equal(found.bonded, expected.bonded)
    assert torch.equal(found.length, expected.length)


def test_molecules_that_cannot_be_joined():
    with pytest.raises(ValueError, match="molecule 1 has fix_com=True, but molecule 0 has False"):
        join_states(states([], FixCom()))
    parts = states()
    with pytest.raises(ValueError, match="molecule 2 has pbc="):
        join_states([*parts[:2], parts[2].replace(pbc=(True, True, True))])
    cells = [
        part.replace(pbc=(True,) * 3, cell=(8.0 + i) * torch.eye(3)[None].double())
        for i, part in enumerate(parts)
    ]
    both = join_states(cells)
    assert both.cell[:, 0, 0].tolist() == [8.0, 9.0, 10.0][: len(parts)]


def test_one_generator_for_one_molecule_is_that_generator():
    """Bit for bit what a generator gives by itself, alone or one of many."""
    state = states()[1]
    shapes = torch.tensor([3.5], dtype=torch.float64)
    reference = np.random.default_rng(4)
    expected = (
        reference.random(1),
        reference.standard_normal(1),
        reference.standard_gamma([3.5]),
        reference.standard_normal((9, 3)),
    )
    for noise in (np.random.default_rng(4), [np.random.default_rng(4)]):
        found = (
            uniforms(noise, state),
            normals(noise, state),
            gammas(noise, shapes),
            normals_of_atoms(noise, state),
        )
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_molecules_with_generators_of_their_own():
    whole, parts = join_states(states()), states()
    shapes = torch.tensor([0.5, 3.5, 7.0], dtype=torch.float64)
    together = np.random.default_rng(4).spawn(3)
    alone = np.random.default_rng(4).spawn(3)
    for draw in (uniforms, normals, normals_of_atoms):
        found = np.asarray(draw(together, whole))
        each = [np.asarray(draw(rng, part)) for rng, part in zip(alone, parts, strict=True)]
        np.testing.assert_array_equal(found, np.concatenate(each))
    each = [float(gammas(rng, shapes[i : i + 1])) for i, rng in enumerate(alone)]
    assert gammas(together, shapes).tolist() == each
