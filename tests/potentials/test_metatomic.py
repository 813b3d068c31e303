"""Models of metatomic as potentials: known energies, batches, cells, units, refusals."""

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms

pytest.importorskip("metatomic.torch", reason="metatomic is not installed")

from ase.calculators.lj import LennardJones
from metatomic.torch import ModelOutput

from kstep_integrators import CalculatorPotential, KStepWarning, MetatomicPotential, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.batched_forces import BatchedForces
from tests.potentials import models_of_others as others
from tests.potentials.models_of_others import cluster, of, together

SYSTEMS = others.systems()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return others.exported(tmp_path_factory.mktemp("metatomic"))


def test_energies_and_forces_are_those_of_ase(path):
    atoms = others.crystal(2, skew=1.0)
    found = of(MetatomicPotential(path), atoms)
    atoms.calc = LennardJones(sigma=others.SIGMA, epsilon=others.EPSILON, rc=others.CUTOFF)
    assert float(found.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("length", "energy"), [("nm", "kJ/mol"), ("angstrom", "kJ/mol")])
def test_units_that_the_model_declares_are_converted(path, tmp_path, length, energy):
    other = MetatomicPotential(others.exported(tmp_path, length=length, energy=energy))
    atoms = SYSTEMS["layer"]
    one, two = of(MetatomicPotential(path), atoms), of(other, atoms)
    torch.testing.assert_close(two.energy, one.energy, atol=1e-9, rtol=0)
    torch.testing.assert_close(two.forces, one.forces, atol=1e-9, rtol=0)


def test_lists_that_are_kept_through_a_jump_change_nothing(path):
    state = state_from_atoms(SYSTEMS["outside"])
    forces = MetatomicPotential(path).bind(state)
    walk = None
    for step in range(12):
        x = state.positions + 0.1 * step * torch.tensor([[1.0, -2, 0.5], *[[0.0] * 3] * 3])
        kept, walk = forces(x, walk)
        fresh, _ = forces(x, None)
        torch.testing.assert_close(kept.energy, fresh.energy, atol=1e-10, rtol=0)
        torch.testing.assert_close(kept.forces, fresh.forces, atol=1e-10, rtol=0)


def test_the_first_calls_of_a_process_round_as_later_ones(path):
    forces, state = MetatomicPotential(path), state_from_atoms(SYSTEMS["cubic"])
    bound = forces.bind(state)
    first, *later = [bound(state.positions, None)[0].forces for _ in range(5)]
    assert all(torch.equal(one, first) for one in later)


def test_single_precision_is_that_of_the_model(path, tmp_path):
    single = MetatomicPotential(others.exported(tmp_path, dtype="float32"))
    assert single.dtype == torch.float32
    atoms = others.crystal(seed=3)
    far = atoms.copy()
    far.positions += [4000, -2000, 1000] @ far.cell.array  # of which single precision sees nothing
    exact = of(MetatomicPotential(path), atoms)
    for one in (of(single, atoms), of(single, far)):
        assert one.energy.dtype == one.forces.dtype == torch.float64
        torch.testing.assert_close(one.forces, exact.forces, atol=1e-6, rtol=0)
    assert not torch.equal(of(single, atoms).forces, exact.forces)


@pytest.mark.parametrize("name", ["cluster", "skewed", "layer"])
def test_hessians_are_exact(path, name):
    state = state_from_atoms(SYSTEMS[name])
    forces = MetatomicPotential(path).bind(state)
    vectors = torch.randn(
        3, *state.positions.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found = forces.linearized(state.positions)(vectors)
    ends = [forces(state.positions + s * 1e-5 * vectors[0], None)[0].forces for s in (1.0, -1.0)]
    torch.testing.assert_close(found[0], (ends[1] - ends[0]) / 2e-5, atol=1e-7, rtol=1e-7)
    by_differences = BatchedForces.linearized(forces, state.positions)(vectors)
    torch.testing.assert_close(found, by_differences, atol=5e-3, rtol=1e-3)


def test_a_model_without_second_derivatives_is_differentiated_by_forces(path, monkeypatch):
    state = state_from_atoms(SYSTEMS["skewed"])
    forces = MetatomicPotential(path).bind(state)
    vector = torch.ones_like(state.positions).cumsum(0).unsqueeze(0)
    whole = forces.linearized(state.positions)(vector)

    class Once(torch.autograd.Function):  # as of operations that are written by hand
        @staticmethod
        def forward(ctx, energy):
            return energy.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return slope

    inner = forces._energy
    monkeypatch.setattr(forces, "_energy", lambda *a, **k: Once.apply(inner(*a, **k)))
    torch.testing.assert_close(
        forces.linearized(state.positions)(vector), whole, rtol=1e-3, atol=0.01
    )


def test_one_that_fails_harms_no_other(tmp_path):
    potential = MetatomicPotential(others.exported(tmp_path, asks="near"))
    many = [cluster(5, 1), cluster(4, 2), cluster(3, 3), cluster(6, 4)]
    good = of(potential, many[0])
    many[1].positions[0] = [60.0, 0.0, 0.0]
    many[2].positions[0] = [-60.0, 0.0, 0.0]
    state = together(*many)
    x = state.positions.clone()
    x[-1, 0] = float("nan")
    forces = potential.bind(state)
    found, walk = forces(x, None)
    assert sorted(found.failures) == [1, 2, 3]
    assert "an atom is too far out" in found.failures[1]
    assert "the model returned the energy nan eV" in found.failures[2]
    assert "not finite" in found.failures[3]
    assert found.energy.isnan().tolist() == [False, True, True, True]
    assert float(found.energy[0]) == float(good.energy[0])
    assert torch.equal(found.forces[:5], good.forces)
    assert found.forces[5:].isnan().all()
    again, _ = forces(state.positions, walk)  # what has failed stays so through a jump
    assert sorted(again.failures) == [1, 2, 3]
    products = forces.linearized(x)(torch.ones(1, *x.shape, dtype=torch.float64))
    assert products[0, :5].isfinite().all()
    assert products[0, 5:].isnan().all()


def test_charge_and_spin_reach_a_model_that_asks(tmp_path):
    potential = MetatomicPotential(others.exported(tmp_path, asks="electrons"))
    atoms = cluster(4, 0)
    plain = float(of(potential, atoms).energy)
    atoms.info = {"charge": 1, "spin": 2}
    assert float(of(potential, atoms).energy) == pytest.approx(12.0 * plain)
    assert of(CalculatorPotential(ase_calculator(potential.source)), atoms).energy.tolist() == [
        pytest.approx(12.0 * plain)
    ]


def ase_calculator(path):
    from metatomic_ase import MetatomicCalculator

    return MetatomicCalculator(path)


def test_charge_is_said_to_be_unseen(path):
    atoms = cluster(4, 0)
    atoms.info = {"charge": 1, "spin": 2}
    with pytest.warns(KStepWarning, match="charge 1 and multiplicity 2, which the metatomic model"):
        of(MetatomicPotential(path), atoms)
    atoms.info = {"charge": 1, "total_charge": 2}  # the physics says so, if it asks
    assert of(MetatomicPotential(path), atoms).failures == {}


def test_it_is_a_potential_that_does_not_change(path):
    potential = MetatomicPotential(path, timestep=2.0 * units.FS)
    assert isinstance(potential, Potential)
    assert potential.timestep == 2.0 * units.FS
    assert potential.to("cpu") is potential
    with pytest.raises(AttributeError, match="output of a MetatomicPotential cannot be changed"):
        potential.output = "energy/other"


@pytest.mark.parametrize("in_memory", [False, True])
def test_copies_compute_the_same(path, in_memory):
    potential = MetatomicPotential(others.atomistic_model() if in_memory else path)
    atoms = SYSTEMS["skewed"]
    for other in (copy.copy(potential), copy.deepcopy(potential)):
        assert torch.equal(of(other, atoms).forces, of(potential, atoms).forces)
        assert other.describe() == potential.describe()


def test_another_process_reads_the_file_again(path, tmp_path):
    mine = tmp_path / "copy.pt"
    mine.write_bytes(path.read_bytes())
    text = pickle.dumps(MetatomicPotential(mine, timestep=1.0))
    other = pickle.loads(text)  # noqa: S301
    assert other.timestep == 1.0
    assert len(text) < 1000
    others.atomistic_model(kind="morse").save(mine)
    with pytest.raises(ValueError, match=r"has the hash \w{16}..., but that of"):
        pickle.loads(text)  # noqa: S301
    with pytest.raises(TypeError, match="is not from a file"):
        pickle.dumps(MetatomicPotential(others.atomistic_model()))


def test_models_are_known_by_their_content(path):
    memory = [MetatomicPotential(others.atomistic_model(kind=k)) for k in ("lj", "lj", "morse")]
    first, same, other = (one.describe()["sha256"] for one in memory)
    assert first == same != other
    import torch.jit
    from metatomic.torch import load_atomistic_model

    loaded = [MetatomicPotential(load_atomistic_model(path)) for _ in range(2)]
    assert loaded[0].digest == loaded[1].digest
    script = MetatomicPotential(torch.jit.load(path))
    assert torch.equal(of(script, SYSTEMS["cubic"]).forces, of(loaded[0], SYSTEMS["cubic"]).forces)


def test_a_variant_is_chosen_by_name():
    outputs = {f"energy/{n}": ModelOutput(unit="eV", sample_kind="system") for n in ("pbe", "scan")}
    model = others.atomistic_model(outputs=outputs)
    assert MetatomicPotential(model, variant="pbe").output == "energy/pbe"
    with pytest.raises(ValueError, match=r"variant is None: .*no default variant"):
        MetatomicPotential(model)
    with pytest.raises(ValueError, match=r"variant is 'b3lyp': variant 'b3lyp' .*not found"):
        MetatomicPotential(model, variant="b3lyp")
    with pytest.raises(TypeError, match="variant is 3"):
        MetatomicPotential(model, variant=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"energy": ""}, r"does not say its unit of energy \(energy\)"),
        ({"length": ""}, "does not say its unit of length"),
        ({"asks": "mass"}, r"asks for the inputs \['mass'\]"),
        ({"supported_devices": ["mps"]}, r"supports the devices \['mps'\], none of which is here"),
        ({"outputs": {}}, "has no energy"),
    ],
)
def test_models_that_a_flow_cannot_use_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MetatomicPotential(others.atomistic_model(**settings))


def test_what_is_no_model_is_refused(path, tmp_path):
    with pytest.raises(ValueError, match=r"there is no file 'nowhere\.pt'"):
        MetatomicPotential("nowhere.pt")
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.pt' cannot be loaded as an exported metatomic"):
        MetatomicPotential(tmp_path / "text.pt")
    with pytest.raises(TypeError, match="model is a Linear, expected the path"):
        MetatomicPotential(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="loaded already: leave it out"):
        MetatomicPotential(others.atomistic_model(), extensions=tmp_path)
    only = others.atomistic_model(supported_devices=["cuda"])
    with pytest.raises(ValueError, match=r"device is 'cpu', but the metatomic model supports"):
        MetatomicPotential(only, device="cpu")
    with pytest.raises(ValueError, match="timestep is 0"):
        MetatomicPotential(path, timestep=0)


def test_elements_that_the_model_does_not_cover_are_refused(path):
    with pytest.raises(ValueError, match=r"does not cover the atomic numbers \[10\]; it covers"):
        of(MetatomicPotential(path), Atoms("NeAr", positions=[[0, 0, 0], [3, 0, 0]]))
