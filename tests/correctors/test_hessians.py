"""Filters, rigid motions, Krylov spaces, and the Hessians of potentials."""

import logging

import numpy as np
import pytest
import torch
from ase import Atoms

from kstep_integrators import CalculatorPotential
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors.filters import FILTERS, octic, quartic
from kstep_integrators.correctors.krylov import lanczos
from kstep_integrators.correctors.modes import filtered, mass_weighted
from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.mechanics.rigid_motions import rigid_motions
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.nn.energy.compiled_forces import have_compiler
from kstep_integrators.nn.energy.network import BACKBONES
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import EvaluationFailed, PhaseState
from kstep_integrators.testing import CountingCalculator
from tests.conftest import hot, network, physics, potential
from tests.potentials.test_potentials import together
from tests.step.test_guard import twice


def every_direction(n: int) -> torch.Tensor:
    return torch.eye(3 * n, dtype=torch.float64).reshape(3 * n, n, 3)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_filter_falls_from_one_to_zero(name):
    x = torch.linspace(0.0, 50.0, 2001, dtype=torch.float64)
    values = FILTERS[name](x)
    assert values[0] == 1.0
    assert values[-1] < 1e-5
    assert (values.diff() < 0).all() or (values.diff() <= 0).all()
    assert FILTERS[name](torch.tensor(torch.pi)) < 0.05


def test_filters_by_hand():
    assert float(quartic(torch.tensor(1.5))) == 0.5
    assert float(quartic(torch.tensor(3.0))) == pytest.approx(1 / 17)
    assert float(octic(torch.tensor(1.2))) == 0.5
    assert float(octic(torch.tensor(2.4))) == pytest.approx(1 / 257)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("dense_limit", [1, 64])
def test_the_hessian_of_a_network_is_the_derivative_of_its_forces(backbone, dense_limit, state):
    bound = potential(backbone, dense_limit, backend="eager").bind(state)
    vectors = torch.randn(4, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = bound.linearized(state.positions)(vectors)
    step = 1e-4
    for vector, product in zip(vectors, found, strict=True):
        ahead = bound(state.positions + step * vector, None)[0].forces
        behind = bound(state.positions - step * vector, None)[0].forces
        torch.testing.assert_close(product, (behind - ahead) / (2 * step), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_the_hessian_does_not_depend_on_how_many_vectors_go_at_once(backbone, state, monkeypatch):
    bound = potential(backbone, backend="eager").bind(state)
    whole = bound.linearized(state.positions)(every_direction(9))
    monkeypatch.setattr("kstep_integrators.nn.energy.hessians.PAIRS_AT_ONCE", 300)
    monkeypatch.setattr("kstep_integrators.nn.energy.hessians.ATOMS_AT_ONCE", 50)
    parts = bound.linearized(state.positions)(every_direction(9))
    torch.testing.assert_close(parts, whole, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        whole.reshape(27, 27), whole.reshape(27, 27).T, atol=1e-10, rtol=1e-10
    )


def test_the_hessian_in_single_precision(state):
    double = potential()
    single = NetworkPotential(double.network, double.header, dtype=torch.float32)
    found = single.bind(state).linearized(state.positions)(every_direction(9))
    assert found.dtype == torch.float64
    expected = double.bind(state).linearized(state.positions)(every_direction(9))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def several() -> PhaseState:
    """Molecules of different sizes, one of them with atoms closer than any the network has seen."""
    atoms = [hot("ethanol"), hot("methanol", seed=1), hot("ethanol", seed=2)]
    atoms[1].positions[2] = 0.3 * atoms[1].positions[0] + 0.7 * atoms[1].positions[2]
    return together(*(state_from_atoms(a) for a in atoms))


@pytest.mark.parametrize("layers", [1, 3])
def test_the_lean_way_of_a_backbone_has_the_derivatives_of_the_plain_one(layers):
    state = several()
    net = network("painn", layers=layers).double()
    padding = make_padding(state.batch)
    graph = dense_graph(net.species_of[state.numbers], padding)
    x = padding.pad(state.positions)
    found = []
    for fixed in (False, True):
        leaf = x.clone().requires_grad_(True)
        energy = net.interaction_energy(leaf, graph, fixed=fixed)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf, create_graph=True)
        vectors = torch.eye(gradient.numel(), dtype=torch.float64).reshape(-1, *x.shape)[::5]
        rows = [torch.autograd.grad(gradient, leaf, v, retain_graph=True)[0] for v in vectors]
        found.append((energy.detach(), gradient.detach(), torch.stack(rows)))
    for plain, lean in zip(*found, strict=True):
        torch.testing.assert_close(lean, plain, atol=1e-9, rtol=1e-11)
    assert found[0][2].abs().max() > 1.0


@pytest.mark.skipif(not have_compiler(), reason="needs a C++ compiler")
def test_a_compiled_potential_has_the_hessian_of_the_eager_one(caplog):
    caplog.set_level(logging.INFO, "kstep_integrators.notices")
    state = several()
    eager = potential("egnn")
    compiled = NetworkPotential(
        eager.network, eager.header, device="cpu", dtype=torch.float64, backend="compiled"
    )
    bound = [m.bind(state) for m in (eager, compiled)]
    vectors = torch.randn(5, len(state.numbers), 3, dtype=torch.float64)
    for positions in (state.positions, state.positions.roll(1, 1) + 0.01 * vectors[0]):
        for some in (vectors, vectors[:1]):
            plain, traced = (b.linearized(positions)(some) for b in bound)
            torch.testing.assert_close(traced, plain, atol=1e-9, rtol=1e-11)
    assert len(bound[1].hessian.traced) == 1
    assert caplog.messages[0] == "recording Hessians of 3 x 9 atoms ..."
    assert len(caplog.messages) == 2


def test_the_hessian_of_a_calculator(ethanol):
    state = state_from_atoms(ethanol)
    counter = CountingCalculator(physics())
    bound = CalculatorPotential(counter).bind(state)
    products = bound.linearized(state.positions)
    assert counter.evaluations == 0
    whole = products(every_direction(9)).reshape(27, 27)
    assert counter.evaluations == 6 * 9
    # Central differences: symmetric to the square of the displacement.
    assert (whole - whole.T).abs().max() < 1e-4 * whole.abs().max()
    vector = torch.randn(1, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        products(vector).reshape(27), whole @ vector.reshape(27), atol=2e-2, rtol=1e-3
    )
    assert products(torch.zeros(1, 9, 3, dtype=torch.float64)).abs().max() == 0


def test_fixed_atoms_cost_no_force_calls(ethanol):
    state = state_from_atoms(ethanol)
    mobile = torch.ones(9, 1, dtype=torch.float64)
    mobile[:4] = 0
    counter = CountingCalculator(physics())
    bound = CalculatorPotential(counter).bind(state)
    mass_weighted(bound.linearized(state.positions), state.replace(mobile=mobile)).dense()
    assert counter.evaluations == 6 * 5


def count(state) -> int:
    rigid = rigid_motions(state, make_padding(state.batch))[0]
    gram = rigid.T @ rigid
    assert (gram - gram.diag().round().diag()).abs().max() < 1e-12
    return int(gram.diag().round().sum())


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (Atoms("H"), 3),
        (Atoms("H2", [[0, 0, 0], [0, 0.3, 0.7]]), 5),
        (Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]]), 5),
        (Atoms("OH2", [[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]]), 6),
        (Atoms("OH2", [[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]], cell=[9] * 3, pbc=True), 3),
    ],
)
def test_how_many_rigid_motions_there_are(atoms, expected):
    assert count(state_from_atoms(atoms)) == expected


@pytest.mark.parametrize(("fixed", "expected"), [((), 6), ((0,), 3), ((0, 4), 1), ((0, 1, 5), 0)])
def test_rigid_motions_leave_fixed_atoms_where_they_are(fixed, expected, state):
    mobile = torch.ones(9, 1, dtype=torch.float64)
    mobile[list(fixed)] = 0
    state = state.replace(mobile=mobile)
    assert count(state) == expected
    rigid = rigid_motions(state, make_padding(state.batch))[0].reshape(9, 3, -1)
    assert (rigid[list(fixed)].abs() < 1e-15).all()
    if len(fixed) == 1:
        # What is orthogonal to these has no angular momentum about the fixed atom.
        arm = (state.positions - state.positions[fixed[0]]).unsqueeze(1).expand(9, 3, 3)
        axes = torch.eye(3, dtype=torch.float64).expand(9, 3, 3)
        spins = (state.masses.sqrt() * mobile).unsqueeze(-1) * torch.linalg.cross(axes, arm).mT
        both = torch.cat([spins.flatten(0, 1), rigid.flatten(0, 1)], 1)
        assert torch.linalg.matrix_rank(both, rtol=1e-10) == 3


def random_symmetric(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(size, size, dtype=torch.float64, generator=generator)
    return draw @ draw.T - 0.5 * torch.eye(size, dtype=torch.float64)


def test_lanczos_against_eigenvectors():
    matrices = torch.stack([random_symmetric(60, seed) for seed in range(3)])
    vectors = torch.randn(3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    vectors[2] = 0
    products = 0

    def times(v):
        nonlocal products
        products += 1
        return torch.einsum("bij,bj->bi", matrices, v)

    def function(squares):
        return quartic(squares.clamp(min=0).sqrt())

    found = lanczos(times, vectors, function)
    assert products <= 60
    values, modes = torch.linalg.eigh(matrices)
    exact = (modes * function(values).unsqueeze(1)) @ (modes.mT @ vectors.unsqueeze(-1))
    torch.testing.assert_close(found, exact.squeeze(-1), atol=1e-8, rtol=0)
    assert (found[2] == 0).all()


def test_lanczos_ends_when_the_space_is_complete():
    matrix = torch.diag(torch.tensor([1.0, 1.0, 4.0, 4.0, 4.0], dtype=torch.float64)).unsqueeze(0)
    products = 0

    def times(v):
        nonlocal products
        products += 1
        return (matrix @ v.unsqueeze(-1)).squeeze(-1)

    vector = torch.arange(1.0, 6.0, dtype=torch.float64).unsqueeze(0)
    found = lanczos(times, vector, torch.sqrt)
    torch.testing.assert_close(found, vector * matrix[0].diag().sqrt(), atol=1e-12, rtol=0)
    assert products == 2


@pytest.mark.parametrize("filter_", [quartic, octic])
@pytest.mark.parametrize("stride", [0.4, 0.8])
def test_the_krylov_space_gives_what_eigenvectors_do(filter_, stride):
    state = state_from_atoms(hot("cyclohexane"))
    bound = potential().bind(state)
    force = torch.randn(18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def function(squares):
        return filter_(stride * squares.clamp(min=0).sqrt())

    results = [
        filtered(bound.linearized(state.positions), state, force, function, dense_limit)
        for dense_limit in (64, 1)
    ]
    torch.testing.assert_close(*results, atol=1e-6, rtol=0)
    assert (results[0] - force).abs().max() > 0.1


def test_the_krylov_space_takes_finite_differences_too(ethanol):
    state = state_from_atoms(ethanol)
    bound = CalculatorPotential(physics()).bind(state)
    force = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def function(squares):
        return quartic(0.8 * squares.clamp(min=0).sqrt())

    products = bound.linearized(state.positions)
    dense, krylov = (filtered(products, state, force, function, limit) for limit in (64, 1))
    torch.testing.assert_close(krylov, dense, atol=1e-3, rtol=0)


@pytest.mark.parametrize("dense_limit", [64, 1])
def test_a_hessian_that_is_not_finite_is_a_failure(dense_limit, state):
    def products(vectors):
        return torch.full_like(vectors, np.nan)

    force = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with pytest.raises(EvaluationFailed, match="Hessian of the potential is not finite"):
        filtered(products, state, force, torch.ones_like, dense_limit)


@pytest.mark.parametrize("dense_limit", [64, 1])
@pytest.mark.parametrize("what", ["hessian", "force", "positions"])
def test_what_is_not_finite_of_one_molecule_is_nothing_to_another(what, dense_limit, state):
    force = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def function(squares):
        return quartic(0.8 * squares.clamp(min=0).sqrt())

    one = potential().bind(state).linearized(state.positions)
    alone = filtered(one, state, force, function, dense_limit)
    both = twice(state)
    forces = torch.cat([force, force])
    if what == "positions":
        positions = both.positions.clone()
        positions[12, 1] = torch.nan
        both = both.replace(positions=positions)
    if what == "force":
        forces[12, 1] = torch.nan
    products = potential().bind(both).linearized(both.positions)

    def broken(vectors):
        result = products(vectors)
        return result.index_fill(1, torch.tensor([12]), torch.nan) if what == "hessian" else result

    found = filtered(broken, both, forces, function, dense_limit)
    torch.testing.assert_close(found[:9], alone, atol=1e-9, rtol=0)
    assert found[9:].isnan().all()
