"""The kernel against the network in PyTorch: energies, forces, functions."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.learning.force_features import force_features
from kstep_integrators.nn.native import library as libraries
from kstep_integrators.nn.native.library import NativeLibrary
from kstep_integrators.nn.native.system import NativeSystem
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


@pytest.mark.parametrize("channels", [16, 24, 40, 64])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_energies_and_forces_are_those_of_the_network(config, channels, library):
    net, atoms = configured(channels, config), squeezed()
    energy, forces, _ = eager(net, atoms)
    found, pulls = system(net, library, atoms).forces(atoms.positions, weights(net))
    assert found[0] == pytest.approx(energy, rel=1e-10)
    assert off(pulls, forces) < 1e-10
    found, pulls = system(net, library, atoms, torch.float32).forces(atoms.positions, weights(net))
    assert found[0] == pytest.approx(energy, rel=1e-5)
    assert off(pulls, forces) < 1e-5


@pytest.mark.parametrize("level", ["x86_64", "x86_64_v3", "x86_64_v4", "arm64"])
def test_every_level_computes_the_same(level, library):
    path = library.path.with_name(library.path.name.replace(library.level, level))
    best = library.lib.kstep_level()
    asked = {name: n for table in libraries.LEVELS.values() for name, n in table.items()}[level]
    if not path.is_file() or asked > best:
        pytest.skip(f"this CPU does not run {level}")
    import ctypes

    one = NativeLibrary(ctypes.CDLL(str(path)), level, path)
    net, atoms = network(layers=3, linear=48).double(), squeezed()
    energy, forces, _ = eager(net, atoms)
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        found, pulls = system(net, one, atoms, dtype).forces(atoms.positions, weights(net))
        assert found[0] == pytest.approx(energy, rel=bound)
        assert off(pulls, forces) < bound


@pytest.mark.parametrize("name", BOXES)
def test_periodic_images(name, library):
    net, atoms = network(layers=2).double(), boxed(name)
    energy, x = periodic_reference(net, atoms)
    box = native(net, library).system(species(atoms), [len(atoms)], *BOXES[name])
    found, pulls = box.forces(atoms.positions)
    assert found[0] == pytest.approx(energy.item(), rel=1e-10)
    assert off(pulls, -torch.autograd.grad(energy, x)[0].numpy()) < 1e-10


def test_many_atoms_in_bins_as_without(library):
    """Ninety atoms: bins of space, in one direction more than in another."""
    one = squeezed("ethanol")
    atoms = Atoms()
    for n in range(10):
        copy_ = one.copy()
        copy_.rotate(37.0 * n, "xyz"[n % 3])
        copy_.positions += [4.0 * n, 3.0 * (n % 3), 0.0]
        atoms += copy_
    net = network(layers=3).double()
    energy, forces, _ = eager(net, atoms)
    found, pulls = system(net, library, atoms).forces(atoms.positions)
    assert found[0] == pytest.approx(energy, rel=1e-10)
    assert off(pulls, forces) < 1e-10


@pytest.mark.parametrize(
    ("dtype", "energies", "forces"), [(torch.float64, 1e-9, 1e-9), (torch.float32, 1e-4, 1e-4)]
)
def test_invariant_under_all_that_leaves_a_molecule_as_it_is(dtype, energies, forces, library):
    net, atoms = network(layers=3, linear=48).double(), squeezed()
    net_weights = weights(net)
    energy, pulls = system(net, library, atoms, dtype).forces(atoms.positions, net_weights)
    rotation = Rotation.from_euler("xyz", [0.4, 1.1, -2.0]).as_matrix()
    for turn in (rotation, -rotation):
        moved = atoms.positions @ turn.T + [1000.0, -500.0, 20.0]
        found, turned = system(net, library, atoms, dtype).forces(moved, net_weights)
        assert found[0] == pytest.approx(energy[0], abs=energies * 20)
        np.testing.assert_allclose(turned, pulls @ turn.T, atol=forces * 20)
    order = np.random.default_rng(1).permutation(len(atoms))
    shuffled = atoms[order]
    found, other = system(net, library, shuffled, dtype).forces(shuffled.positions, net_weights)
    assert found[0] == pytest.approx(energy[0], abs=energies * 20)
    np.testing.assert_allclose(other, pulls[order], atol=forces * 20)
    assert np.abs(pulls.sum(0)).max() < 1e-11
    assert np.abs(np.cross(atoms.positions, pulls).sum(0)).max() < forces * 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_do_not_depend_on_company_threads_or_history(dtype, library):
    net = network(linear=48).double()
    packed = native(net, library, dtype)
    molecules = [squeezed(name, seed) for seed, name in enumerate(("ethanol", "water", "benzene"))]
    kinds = [kind for one in molecules for kind in species(one)]
    x = np.concatenate([one.positions for one in molecules])
    together = packed.system(kinds, [len(one) for one in molecules])
    energies, forces = together.forces(x, weights(net))
    rng = np.random.default_rng(0)
    for scale in (0.01, 3.0):  # within the skin of the list, and beyond
        together.forces(x + rng.normal(0.0, scale, x.shape), weights(net), threads=2)
        again = together.forces(x, weights(net), threads=3)
        assert (again[0] == energies).all()
        assert (again[1] == forces).all()
    for n, one in enumerate(molecules):
        alone = packed.system(species(one), [len(one)]).forces(one.positions, weights(net))
        assert alone[0][0] == energies[n]
        first = sum(len(before) for before in molecules[:n])
        assert (alone[1] == forces[first : first + len(one)]).all()


def test_a_molecule_that_is_nowhere_harms_no_other(library):
    net, atoms = network().double(), squeezed("water")
    both = native(net, library).system(species(atoms) * 2, [3, 3])
    x = np.concatenate([atoms.positions, atoms.positions + 3.0])
    energies, forces = both.forces(x)
    for bad in (np.nan, np.inf, 1.7e308):
        x[:2, 2] = -bad, bad
        found, pulls = both.forces(x)
        assert np.isnan(found[0])
        assert np.isnan(pulls[:3]).all()
        assert found[1] == energies[1]
        assert (pulls[3:] == forces[3:]).all()


def test_one_atom_and_atoms_out_of_reach(library):
    net = network().double()
    lonely = Atoms("O", positions=[[1.0, 2.0, 3.0]])
    energy, _, _ = eager(net, lonely)
    found, pulls = system(net, library, lonely).forces(lonely.positions)
    assert found[0] == pytest.approx(energy, rel=1e-12)
    assert (pulls == 0).all()
    apart = Atoms("OH", positions=[[0.0, 0.0, 0.0], [1e7, 0.0, 0.0]])
    energy, _, _ = eager(net, apart)
    found, pulls = system(net, library, apart).forces(apart.positions)
    assert found[0] == pytest.approx(energy, rel=1e-12)
    assert (pulls == 0).all()


def test_functions_of_a_linear_readout_and_their_derivatives(library):
    net, atoms = network(linear=48, layers=2).double(), squeezed()
    every = torch.arange(3 * len(atoms))
    expected = force_features(
        net, state_from_atoms(atoms), torch.tensor(species(atoms)), True, every
    )
    sums, slopes = system(net, library, atoms).functions(atoms.positions, every)
    assert off(sums, expected.energies.numpy()) < 1e-10
    assert off(-slopes, expected.forces.numpy()) < 1e-10
    prepared = system(net, library, atoms)
    assert prepared.functions(atoms.positions)[1].shape == (0, *sums.shape)
    some = prepared.functions(atoms.positions, [7, 3], threads=2)[1]
    assert (some == slopes[[7, 3]]).all()  # threads share coordinates, and no sum depends on it
    with pytest.raises(ValueError, match=r"coordinates are \[27\], expected some of 0 to 26"):
        prepared.functions(atoms.positions, [27])


def test_memory_grows_with_the_atoms_and_is_told(library):
    net = network().double()
    packed, atoms = native(net, library), squeezed("benzene")
    one = packed.system(species(atoms), [len(atoms)])
    one.forces(atoms.positions)
    many = packed.system(species(atoms) * 50, [len(atoms)] * 50)
    many.forces(np.tile(atoms.positions, (50, 1)))
    assert packed.bytes > sum(p.numel() for p in net.parameters()) * 8
    assert one.pairs == 66
    assert one.bytes < many.bytes < 2 * one.bytes  # intermediate results are those of one


def test_what_cannot_be_is_refused(library):
    with pytest.raises(ValueError, match="backbone 'egnn', expected 'painn'"):
        native(network("egnn"), library)
    packed = native(network(), library)
    with pytest.raises(ValueError, match="sizes add up to 2 atoms and species are 3"):
        packed.system([0, 0, 1], [2])
    with pytest.raises(ValueError, match="indices from 0 to 3"):
        packed.system([0, 4], [2])
    with pytest.raises(ValueError, match=r"pbc is .* but there is no cell"):
        packed.system([0], [1], pbc=(True, False, False))
    with pytest.raises(ValueError, match="three vectors that span a volume"):
        packed.system([0], [1], np.zeros((3, 3)), (True, False, False))
    one = packed.system([0], [1])
    for call in (one.forces, one.functions, lambda x: one.hessian_products(np.zeros((1, 3)), [x])):
        with pytest.raises(ValueError, match=r"shape .*2, 3\), expected .*1, 3\)"):
            call(np.zeros((2, 3)))
    assert copy.deepcopy(one) is one
    for what in (packed, one):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(what)
    assert isinstance(one, NativeSystem)
