"""Models of torch-sim's interface as potentials: known energies, batches, cells, refusals."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms

pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.models.morse import MorseModel

from kstep_integrators import KStepWarning, TorchSimPotential, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.potentials.base import Potential
from tests.potentials import models_of_others as others
from tests.potentials.models_of_others import cluster, of, together

SYSTEMS = {name: a for name, a in others.systems().items() if name not in ("layer", "chain")}


def shipped(kind, **settings):
    """A model that comes with torch-sim, and what it makes of the forces by itself."""
    settings = {
        "sigma": others.SIGMA,
        "epsilon": others.EPSILON,
        "cutoff": others.CUTOFF,
        **settings,
    }
    if kind == "lj":
        return LennardJonesModel(dtype=torch.float64, **settings)
    return MorseModel(alpha=others.ALPHA, compute_forces=True, dtype=torch.float64, **settings)


@pytest.mark.parametrize("kind", ["lj", "morse"])
@pytest.mark.parametrize("name", ["cluster", "cubic"])
@pytest.mark.filterwarnings("ignore:forces of the torch-sim model:kstep_integrators.KStepWarning")
def test_models_of_torch_sim_give_their_own_energies(name, kind):
    """Of its forces see ``findings/torch-sim-pair-forces.sh``: 0.3 has twice the gradient."""
    found = of(TorchSimPotential(shipped(kind)), SYSTEMS[name])
    energy, forces = others.by_images(SYSTEMS[name], kind, shifted=False)
    assert float(found.energy) == pytest.approx(energy, abs=1e-9)
    ratio = found.forces.numpy() / forces
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert ratio[0, 0] == pytest.approx(2.0) or ratio[0, 0] == pytest.approx(1.0)


def test_forces_that_are_not_the_gradient_are_said():
    atoms = SYSTEMS["skewed"]
    wrong = TorchSimPotential(others.interface_model(wrong=True))
    with pytest.warns(
        KStepWarning, match="forces of the torch-sim model PairModel are not the gra"
    ):
        of(wrong, atoms)
    of(wrong, atoms)  # once is enough
    alone = Atoms("Ar2", positions=[[0.0, 0, 0], [30.0, 0, 0]])
    of(TorchSimPotential(others.interface_model()), alone)  # without a force nothing can be told


def test_a_batch_is_one_call():
    model = others.interface_model()
    state = together(*[cluster(n, n) for n in (5, 2, 9)])
    bound = TorchSimPotential(model).bind(state)
    model.calls = 0
    bound(state.positions, None)
    assert model.calls == 1


def test_single_precision_is_that_of_the_model():
    single = TorchSimPotential(others.interface_model(dtype=torch.float32))
    exact = of(TorchSimPotential(others.interface_model()), SYSTEMS["cubic"])
    found = of(single, SYSTEMS["cubic"])
    assert found.energy.dtype == found.forces.dtype == torch.float64
    torch.testing.assert_close(found.forces, exact.forces, atol=1e-6, rtol=0)
    assert not torch.equal(found.forces, exact.forces)


def test_hessians_are_differences_of_forces():
    many = [cluster(4, 0), cluster(3, 1)]
    state = together(*many)
    forces = TorchSimPotential(others.interface_model()).bind(state)
    vectors = torch.randn(
        2, *state.positions.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    vectors[1, 4:] = 0.0
    found = forces.linearized(state.positions)(vectors)
    for vector, one in zip(vectors, found, strict=True):
        ends = [forces(state.positions + s * 1e-5 * vector, None)[0].forces for s in (1.0, -1.0)]
        torch.testing.assert_close(one, (ends[1] - ends[0]) / 2e-5, atol=5e-3, rtol=1e-3)
    assert forces.linearized(state.positions)(torch.zeros_like(vectors)).abs().max() == 0.0


def test_one_that_fails_harms_no_other():
    many = [cluster(5, 1), cluster(4, 2), cluster(6, 4)]
    potential = TorchSimPotential(others.interface_model())
    good = of(potential, many[0])
    many[1].positions[0] = [60.0, 0.0, 0.0]
    state = together(*many)
    x = state.positions.clone()
    x[-1, 0] = float("nan")
    found, _ = potential.bind(state)(x, None)
    assert sorted(found.failures) == [1, 2]
    assert "an atom is too far out" in found.failures[1]
    assert torch.equal(found.forces[:5], good.forces)
    assert found.forces[5:].isnan().all()
    nowhere, _ = potential.bind(state)(torch.full_like(x, float("nan")), None)
    assert sorted(nowhere.failures) == [0, 1, 2]


def test_it_is_a_potential_that_does_not_change():
    potential = TorchSimPotential(others.interface_model(), timestep=2.0 * units.FS)
    assert isinstance(potential, Potential)
    assert potential.timestep == 2.0 * units.FS
    assert potential.to("cpu") is potential
    assert potential.describe()["torch_sim"] == "PairModel"
    with pytest.raises(ValueError, match="was made on 'cpu' and stays there"):
        potential.to("meta")
    with pytest.raises(AttributeError, match="model of a TorchSimPotential cannot be changed"):
        potential.model = None


def test_copies_compute_the_same():
    potential, atoms = TorchSimPotential(others.interface_model()), SYSTEMS["skewed"]
    for other in (copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):  # noqa: S301
        assert torch.equal(of(other, atoms).forces, of(potential, atoms).forces)
        assert other.describe() == potential.describe()


def test_models_are_known_by_their_content():
    digests = [TorchSimPotential(shipped("lj", sigma=s)).digest for s in (3.4, 3.4, 3.5)]
    assert digests[0] == digests[1] != digests[2]
    model = others.interface_model()
    before = TorchSimPotential(model).digest
    model.weight.data *= 2.0
    assert TorchSimPotential(model).digest != before


def test_mixed_periodicity_is_refused_where_it_cannot_be_said():
    from torch_sim.state import SimState

    atoms = others.systems()["layer"]
    potential = TorchSimPotential(others.interface_model())
    if SimState.__dataclass_fields__["pbc"].type != "torch.Tensor":
        with pytest.raises(ValueError, match=r"pbc=\(True, True, False\), but this release"):
            potential.bind(state_from_atoms(atoms))
        return
    energy, _ = others.by_images(atoms)
    assert float(of(potential, atoms).energy) == pytest.approx(energy, abs=1e-9)


def test_charge_is_said_to_be_unseen():
    atoms = cluster(4, 0)
    atoms.info = {"charge": -1}
    with pytest.warns(KStepWarning, match="charge -1, which the torch-sim model PairModel is not"):
        of(TorchSimPotential(others.interface_model()), atoms)


def test_what_a_flow_cannot_use_is_refused():
    with pytest.raises(TypeError, match="model is the class LennardJonesModel, expected a model"):
        TorchSimPotential(LennardJonesModel)
    with pytest.raises(TypeError, match="model is Atoms, expected a model"):
        TorchSimPotential(Atoms())
    with pytest.raises(ValueError, match="LennardJonesModel was made without forces"):
        TorchSimPotential(LennardJonesModel(compute_forces=False))
    with pytest.raises(ValueError, match=r"computes in torch\.float16"):
        TorchSimPotential(LennardJonesModel(dtype=torch.float16))
