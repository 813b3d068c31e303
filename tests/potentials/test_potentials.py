import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.neighbor_lists import build_skin_list, refresh
from kstep_integrators.nn.energy.network import BACKBONES
from kstep_integrators.potentials import CalculatorPotential, NetworkPotential
from kstep_integrators.state import PhaseState
from kstep_integrators.testing import BrokenCalculator
from tests.conftest import LINEAR, hot, potential


def together(*states: PhaseState) -> PhaseState:
    return make_state(
        torch.cat([s.numbers for s in states]),
        torch.cat([s.masses for s in states]),
        torch.cat([s.positions for s in states]),
        torch.cat([s.momenta for s in states]),
        batch=torch.cat([torch.full((len(s.numbers),), i) for i, s in enumerate(states)]),
    )


@pytest.mark.parametrize("backbone", [*sorted(BACKBONES), *LINEAR])
def test_dense_and_list_paths_give_the_same_numbers(backbone):
    state = together(*(state_from_atoms(hot(name)) for name in ("toluene", "water", "butane")))
    dense, _ = potential(backbone).bind(state)(state.positions, None)
    rows, _ = potential(backbone, dense_limit=1).bind(state)(state.positions, None)
    assert dense.require_forces().abs().max() > 0.1
    torch.testing.assert_close(rows.energy, dense.energy, atol=1e-10, rtol=0)
    torch.testing.assert_close(rows.forces, dense.forces, atol=1e-10, rtol=0)


@pytest.mark.parametrize("dense_limit", [1, 64])
def test_a_batch_is_its_molecules_one_by_one(dense_limit):
    singles = [state_from_atoms(hot(name)) for name in ("ethanol", "water", "benzene")]
    batch = together(*singles)
    model = potential(dense_limit=dense_limit)
    whole, _ = model.bind(batch)(batch.positions, None)
    alone = [model.bind(s)(s.positions, None)[0] for s in singles]
    torch.testing.assert_close(whole.energy, torch.cat([e.energy for e in alone]))
    torch.testing.assert_close(
        whole.forces, torch.cat([e.require_forces() for e in alone]), atol=1e-10, rtol=0
    )


def test_the_list_is_rebuilt_when_atoms_have_moved_half_the_skin():
    generator = torch.Generator().manual_seed(0)
    x = 12.0 * torch.rand(60, 3, generator=generator, dtype=torch.float64)
    species, batch = torch.zeros(60, dtype=torch.int64), torch.zeros(60, dtype=torch.int64)
    first = build_skin_list(x, species, batch, cutoff=4.0, skin=1.0)
    assert refresh(first, x + 0.28) is first  # every atom has moved by 0.485
    moved = x + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    second = refresh(first, moved)
    assert second is not first
    distances = torch.cdist(moved, moved)
    for i in range(60):
        listed = set(second.graph.index[i][second.graph.pair_mask[i]].tolist())
        near = set(torch.nonzero(distances[i] < 5.0).flatten().tolist()) - {i}
        assert listed == near


def test_non_finite_positions_keep_the_list():
    x = torch.rand(5, 3, dtype=torch.float64)
    species = torch.zeros(5, dtype=torch.int64)
    rows = build_skin_list(x, species, species, 4.0)
    assert refresh(rows, x * float("nan")) is rows


def test_padding_there_and_back():
    batch = torch.tensor([0, 0, 0, 1, 2, 2])
    padding = make_padding(batch)
    values = torch.arange(12.0).reshape(6, 2)
    wide = padding.pad(values)
    assert wide.shape == (3, 3, 2)
    assert wide[1, 1:].abs().max() == 0
    torch.testing.assert_close(padding.flat(wide), values)


def test_energy_shifts_count_the_atoms(state):
    model = potential()
    with_shifts, _ = model.bind(state)(state.positions, None)
    model = potential()
    model.network.shifts.zero_()
    without, _ = model.bind(state)(state.positions, None)
    # C2H6O: 2 * -2 + 6 * -1 - 4
    assert float(with_shifts.energy - without.energy) == pytest.approx(-14.0, abs=1e-12)


def test_what_a_model_does_not_cover_is_refused(ethanol):
    model = potential()
    salt = Atoms("NaCl", positions=[[0, 0, 0], [2.4, 0, 0]])
    with pytest.raises(ValueError, match=r"does not cover the elements \['Na', 'Cl'\]; it covers"):
        model.bind(state_from_atoms(salt))
    ethanol.set_cell([10, 10, 10])
    ethanol.pbc = True
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        model.bind(state_from_atoms(ethanol))


def test_another_precision_leaves_the_first_potential_alone(state):
    first = potential()
    before, _ = first.bind(state)(state.positions, None)
    second = NetworkPotential(first.network, first.header, dtype=torch.float32)
    after, _ = first.bind(state)(state.positions, None)
    single, _ = second.bind(state)(state.positions, None)
    assert torch.equal(before.forces, after.forces)
    assert single.forces.dtype == torch.float64
    torch.testing.assert_close(single.forces, before.forces, atol=1e-3, rtol=0)
    assert not torch.equal(single.forces, before.forces)


def test_only_float_precisions(state):
    model = potential()
    with pytest.raises(ValueError, match=r"torch.float16 is not supported"):
        NetworkPotential(model.network, model.header, dtype=torch.float16)


def test_calculator_potential_returns_what_the_calculator_does(ethanol):
    state = state_from_atoms(ethanol)
    calculator = LennardJones(sigma=1.0, epsilon=0.05)
    model = CalculatorPotential(calculator)
    found, _ = model.bind(state)(state.positions + 0.1, None)
    ethanol.calc = LennardJones(sigma=1.0, epsilon=0.05)
    assert float(found.energy) == pytest.approx(ethanol.get_potential_energy(), rel=1e-12)
    assert model.to("cpu") is model
    assert model.describe()["calculator"]["sigma"] == "1.0"


def test_a_calculator_takes_molecules_in_turn():
    names = ("water", "methane", "water")
    states = [state_from_atoms(hot(name, seed=seed)) for seed, name in enumerate(names)]
    batch = together(*states)
    broken = BrokenCalculator(LennardJones(sigma=1.0, epsilon=0.05), [5])
    bound = CalculatorPotential(broken).bind(batch)
    found, carry = bound(batch.positions, None)
    one = CalculatorPotential(LennardJones(sigma=1.0, epsilon=0.05))
    alone = [one.bind(state)(state.positions, None)[0] for state in states]
    assert torch.equal(found.energy, torch.cat([each.energy for each in alone]))
    assert torch.equal(found.forces, torch.cat([each.forces for each in alone]))
    assert found.failures == {}
    # The second molecule fails, and is left alone for the rest of the flow.
    for _ in range(2):
        found, carry = bound(batch.positions + 0.1 * len(carry), carry)
        assert found.failures == {1: "RuntimeError: call 5 was told to fail"}
        assert found.energy.isfinite().tolist() == [True, False, True]
        assert found.forces.isfinite().all(1).tolist() == [True] * 3 + [False] * 5 + [True] * 3
    assert broken.calls == 3 + 3 + 2


def test_hessians_of_molecules_in_turn():
    states = [state_from_atoms(hot(name)) for name in ("water", "methane")]
    batch = together(*states)
    model = CalculatorPotential(LennardJones(sigma=1.0, epsilon=0.05))
    vectors = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    found = model.bind(batch).linearized(batch.positions)(vectors)
    for state, atoms in zip(states, (slice(0, 3), slice(3, 8)), strict=True):
        alone = model.bind(state).linearized(state.positions)(vectors[:, atoms])
        assert torch.equal(found[:, atoms], alone)
