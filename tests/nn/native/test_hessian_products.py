"""Products of vectors with Hessians by the kernel, against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from kstep_integrators.nn.energy.hessians import hessian_products
from tests.conftest import network
from tests.nn.native.kernels import (
    BOXES,
    CONFIGS,
    boxed,
    configured,
    eager,
    native,
    off,
    periodic_reference,
    species,
    squeezed,
    system,
    weights,
)


def vectors(count: int, atoms: Atoms, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 3.0, (count, len(atoms), 3))


def expected(net, atoms, v):
    _, _, (x, graph) = eager(net, atoms)
    return hessian_products(net, x, graph)(torch.tensor(v).unsqueeze(1))[:, 0].numpy()


@pytest.mark.parametrize("channels", [16, 24, 40, 64])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_products_are_those_of_automatic_differentiation(config, channels, library):
    net, atoms = configured(channels, config), squeezed()
    v = vectors(5, atoms)
    wanted = expected(net, atoms, v)
    # The last bound is for the readout alone with 40 channels, whose Hessian changes by 2e-6 with
    # the rounding of its weights.
    for dtype, bound in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        found = system(net, library, atoms, dtype).hessian_products(
            atoms.positions, v, weights(net)
        )
        assert off(found, wanted) < bound


def test_at_every_distance_of_a_pair(library):
    """A pair at distances where it is repelled, frozen, neither, and at the cutoff."""
    net = network(layers=2, linear=48).double()
    pair = Atoms("CO", np.zeros((2, 3)))
    one, v = system(net, library, pair), vectors(2, pair)
    for d in np.linspace(0.3, 1.05 * net.cutoff, 40):
        pair.positions[1] = d * np.array([1.0, -2.0, 2.0]) / 3.0
        found = one.hessian_products(pair.positions, v, weights(net))
        np.testing.assert_allclose(found, expected(net, pair, v), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_level_computes_the_same(dtype, levels):
    net, atoms = network(layers=3, linear=48).double(), squeezed()
    v = vectors(5, atoms)
    wanted = expected(net, atoms, v)
    for one in levels:
        found = system(net, one, atoms, dtype).hessian_products(atoms.positions, v, weights(net))
        assert off(found, wanted) < {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_symmetric_and_without_net_force_or_torque(dtype, exact, library):
    net, atoms = network(layers=3, linear=48).double(), squeezed()
    one, n = system(net, library, atoms, dtype), 3 * len(atoms)
    whole = one.hessian_products(
        atoms.positions, np.eye(n).reshape(n, -1, 3), weights(net)
    ).reshape(n, n)
    scale = np.abs(whole).max()
    assert np.abs(whole - whole.T).max() < exact * scale
    assert np.abs(whole.reshape(n, -1, 3).sum(1)).max() < 1e-13 * scale
    _, forces = one.forces(atoms.positions, weights(net))
    for axis in np.eye(3):  # turned, the molecule has its forces turned
        turned = one.hessian_products(
            atoms.positions, np.cross(axis, atoms.positions)[None], weights(net)
        )[0]
        assert np.abs(turned + np.cross(axis, forces)).max() < 20 * exact * scale


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_turned_with_the_molecule(dtype, exact, library):
    net, atoms = network(layers=3, linear=48).double(), squeezed()
    one, v = system(net, library, atoms, dtype), vectors(3, atoms)
    products = one.hessian_products(atoms.positions, v, weights(net))
    rotation = Rotation.from_euler("xyz", [0.4, 1.1, -2.0]).as_matrix()
    for turn in (rotation, -rotation):
        moved = atoms.positions @ turn.T + [1000.0, -500.0, 20.0]
        assert off(one.hessian_products(moved, v @ turn.T, weights(net)), products @ turn.T) < exact


@pytest.mark.parametrize("name", BOXES)
def test_periodic_images(name, library):
    net, atoms = network(layers=2).double(), boxed(name)
    v = vectors(3, atoms)
    energy, x = periodic_reference(net, atoms)
    (gradient,) = torch.autograd.grad(energy, x, create_graph=True)
    wanted = [
        torch.autograd.grad(gradient, x, torch.tensor(one), retain_graph=True)[0].numpy()
        for one in v
    ]
    box = native(net, library).system(species(atoms), [len(atoms)], *BOXES[name])
    assert off(box.hessian_products(atoms.positions, v), np.stack(wanted)) < 1e-10


def test_however_many_vectors_go_together(library):
    net, atoms = network(linear=48).double(), squeezed()
    one, v = system(net, library, atoms), vectors(9, atoms)
    v[2] = 0.0
    alone = [one.hessian_products(atoms.positions, row[None], weights(net))[0] for row in v]
    assert (alone[2] == 0).all()
    for count in range(10):
        found = one.hessian_products(atoms.positions, v[:count], weights(net))
        assert found.shape == (count, len(atoms), 3)
        for row, single in zip(found, alone[:count], strict=True):
            np.testing.assert_allclose(row, single, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_do_not_depend_on_company_threads_or_history(dtype, library):
    net = network(linear=48).double()
    packed = native(net, library, dtype)
    molecules = [squeezed(name, seed) for seed, name in enumerate(("ethanol", "water", "benzene"))]
    kinds = [kind for one in molecules for kind in species(one)]
    x = np.concatenate([one.positions for one in molecules])
    v = np.random.default_rng(1).normal(size=(6, *x.shape))
    together = packed.system(kinds, [len(one) for one in molecules])
    products = together.hessian_products(x, v, weights(net))
    rng = np.random.default_rng(0)
    for scale in (0.01, 3.0):  # within the skin of the list, and beyond
        moved = x + rng.normal(0.0, scale, x.shape)
        together.hessian_products(moved, v[:2], weights(net), threads=2)
        assert (together.hessian_products(x, v, weights(net), threads=3) == products).all()
    for n, one in enumerate(molecules):
        first = sum(len(before) for before in molecules[:n])
        mine = slice(first, first + len(one))
        alone = packed.system(species(one), [len(one)])
        found = alone.hessian_products(one.positions, v[:, mine], weights(net))
        assert (found == products[:, mine]).all()


def test_a_molecule_that_is_nowhere_harms_no_other(library):
    net, atoms = network().double(), squeezed("water")
    both = native(net, library).system(species(atoms) * 2, [3, 3])
    x = np.concatenate([atoms.positions, atoms.positions + 3.0])
    v = np.random.default_rng(1).normal(size=(5, 6, 3))
    products = both.hessian_products(x, v)
    x[1, 2] = np.nan
    found = both.hessian_products(x, v)
    assert np.isnan(found[:, :3]).all()
    assert (found[:, 3:] == products[:, 3:]).all()


def test_one_atom_and_atoms_out_of_reach(library):
    net = network().double()
    for atoms in (Atoms("O", [[1.0, 2.0, 3.0]]), Atoms("OH", [[0.0, 0.0, 0.0], [1e7, 0.0, 0.0]])):
        found = system(net, library, atoms).hessian_products(atoms.positions, vectors(5, atoms))
        assert (found == 0).all()
