"""Models of other packages as potentials, by either interface: known energies, batches, cells."""

import numpy as np
import pytest
import torch

from kstep_integrators import MetatomicPotential, TorchSimPotential
from tests.potentials import models_of_others as others
from tests.potentials.models_of_others import cluster, of, together

SYSTEMS = others.systems()
MIXED = ("layer", "chain")  # torch-sim 0.3 cannot say that


@pytest.fixture(params=["metatomic.torch", "torch_sim"])
def made(request, tmp_path):
    """A potential of either interface, by the kind of its pairs."""
    package = request.param
    pytest.importorskip(package, reason=f"{package} is not installed")

    def make(kind="lj"):
        if package == "torch_sim":
            return TorchSimPotential(others.interface_model(kind))
        return MetatomicPotential(others.exported(tmp_path, kind=kind))

    return make


@pytest.mark.parametrize("kind", ["lj", "morse"])
@pytest.mark.parametrize(
    ("made", "name"),
    [(package, name) for package in ("metatomic.torch", "torch_sim") for name in SYSTEMS
     if package != "torch_sim" or name not in MIXED],
    indirect=["made"],
)  # fmt: skip
def test_energies_and_forces_are_those_of_all_images(made, name, kind):
    atoms = SYSTEMS[name]
    found = of(made(kind), atoms)
    energy, forces = others.by_images(atoms, kind)
    assert float(found.energy) == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(found.forces, forces, atol=1e-9, rtol=0)


def test_a_batch_is_its_molecules_one_by_one(made):
    potential = made()
    many = [cluster(n, n) for n in (5, 2, 9)]
    state = together(*many)
    whole, _ = potential.bind(state)(state.positions, None)
    alone = [of(potential, atoms) for atoms in many]
    torch.testing.assert_close(whole.energy, torch.cat([one.energy for one in alone]))
    torch.testing.assert_close(
        whole.forces, torch.cat([one.forces for one in alone]), atol=1e-12, rtol=0
    )


def test_each_of_a_batch_has_its_own_cell(made):
    many = [SYSTEMS[name] for name in ("skewed", "small", "outside", "cubic")]
    cells = torch.stack([torch.tensor(atoms.cell.array) for atoms in many])
    state = together(*many).replace(cell=cells, pbc=(True, True, True))
    whole, _ = made().bind(state)(state.positions, None)
    for atoms, energy, forces in zip(
        many, whole.energy, whole.forces.split([len(a) for a in many]), strict=True
    ):
        expected, slopes = others.by_images(atoms)
        assert float(energy) == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(forces, slopes, atol=1e-9, rtol=0)


def test_atoms_in_another_order_have_the_same_forces(made):
    potential, atoms = made(), SYSTEMS["skewed"]
    order = [2, 0, 3, 1]
    one, two = of(potential, atoms), of(potential, atoms[order])
    torch.testing.assert_close(two.energy, one.energy, atol=1e-12, rtol=0)
    torch.testing.assert_close(two.forces, one.forces[order], atol=1e-12, rtol=0)
