"""Potentials that can learn: what they are before, and what they are as model files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.data import atomic_numbers, covalent_radii
from safetensors.torch import load_file, save_file

from kstep_integrators import CalculatorPotential, FlowJump, load_model, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Filtered
from kstep_integrators.learning.adapted import AdaptedPotential, adapt
from kstep_integrators.learning.settings import Learning
from kstep_integrators.learning.shown_backbone import FUNCTIONS, shown_as
from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.models.model_file import ModelHeader, read_model, write_model
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.potentials import NetworkPotential, Potential
from kstep_integrators.state import Evaluation
from kstep_integrators.testing import assert_jump
from tests.conftest import cheap, network, potential
from tests.direct_systems import silent

ETHANOL = [1, 6, 8]


def random_weights(adapted, seed=0):
    rng = np.random.default_rng(seed)
    shape = tuple(adapted.weights.shape)
    return adapted.with_weights(torch.from_numpy(rng.normal(0.0, 0.1, shape)))


def in_double(adapted):
    """The same, its network in float64."""
    model = NetworkPotential(
        adapted.model.network, adapted.model.header, device="cpu", dtype=torch.float64
    )
    return AdaptedPotential(model, adapted.base, adapted.start)


@pytest.fixture
def untrained(tmp_path):
    """A small backbone in a file."""
    path = tmp_path / "untrained.safetensors"
    write_model(path, network(), ModelHeader("untrained", {}, "nothing"))
    return path


@pytest.fixture(params=["network", "calculator", "nothing"])
def adapted(request, untrained):
    """With weights, of a base of each kind."""
    if request.param == "network":
        return random_weights(adapt(potential(), ETHANOL))
    base = cheap() if request.param == "calculator" else None
    return random_weights(in_double(adapt(base, ETHANOL, untrained)))


def found(potential_, state):
    return potential_.bind(state)(state.positions, None)[0]


@pytest.mark.parametrize("base", [potential(), cheap()])
def test_before_it_has_learned_it_is_its_base(base, state):
    adapted = adapt(base, ETHANOL)
    assert isinstance(adapted, Potential)
    assert adapted.weights.shape[1] == FUNCTIONS
    assert not adapted.weights.any()
    assert adapted.timestep == base.timestep
    before, after = found(base, state), found(adapted, state)
    torch.testing.assert_close(after.energy, before.energy, rtol=0, atol=1e-12)
    torch.testing.assert_close(after.forces, before.forces, rtol=0, atol=1e-12)


def test_of_nothing_it_is_nuclear_repulsion(state):
    adapted = adapt(None, ETHANOL, timestep=0.4 * units.FS)
    assert adapted.timestep == pytest.approx(0.4 * units.FS)
    assert adapted.model.network.repulsion is not None
    assert float(found(adapted, state).forces.abs().max()) < 0.5
    close = Atoms("H2", [[0, 0, 0], [0, 0, 0.2]])
    assert float(found(adapt(None, [1]), state_from_atoms(close)).forces[1, 2]) > 10.0
    assert adapt(cheap(), ETHANOL).model.network.repulsion is None  # which has its own


def test_a_flow_on_it_keeps_the_contract_of_jumps(adapted, state):
    """Time-reversible, symmetric, conserving, and blind to other molecules."""
    if isinstance(adapted.base, CalculatorPotential):
        # the springs know their atoms by their order: a calculator that does not
        base = CalculatorPotential(
            LennardJones(sigma=0.8, epsilon=0.05, rc=20.0), timestep=0.25 * units.FS
        )
        adapted = AdaptedPotential(adapted.model, base, base)
    nothing = Evaluation(torch.zeros(1).double(), torch.zeros_like(state.positions))
    assert_jump(FlowJump(adapted, 0.25 * units.FS), state, nothing, k=6)


def test_hessian_products_are_those_of_its_forces(adapted, state):
    vector = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 3)))
    bound = adapted.bind(state)
    product = bound.linearized(state.positions)(vector[None])[0]
    up, down = (bound(state.positions + s * vector, None)[0].forces for s in (2e-5, -2e-5))
    # those of a calculator are finite differences themselves
    tolerance = 1e-5 if adapted.base is None else 5e-3
    torch.testing.assert_close(product, (down - up) / 4e-5, rtol=1e-4, atol=tolerance)


def test_the_filtered_corrector_takes_it(adapted, state):
    """By the Hessian of the whole: other weights, another force."""
    inner = found(adapted, state)
    residual = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 3)))
    physics = Evaluation(inner.energy, inner.forces + residual)
    one, other = (
        Filtered().force(state, physics, inner, 4 * units.FS, FlowJump(each).bind(state))
        for each in (adapted, adapted.with_weights(0.0 * adapted.weights))
    )
    assert torch.isfinite(one).all()
    assert float((one - other).abs().max()) > 1e-3


def test_weights_change_the_learned_part_alone(adapted, state):
    twice = adapted.with_weights(2.0 * adapted.weights, {"labels": 7})
    nothing = adapted.with_weights(0.0 * adapted.weights)
    one, two, base = (found(each, state) for each in (adapted, twice, nothing))
    torch.testing.assert_close(
        two.forces - base.forces, 2.0 * (one.forces - base.forces), rtol=0, atol=1e-9
    )
    assert twice.record["labels"] == 7
    assert "labels" not in adapted.record
    assert twice.describe() == adapted.describe()
    torch.testing.assert_close(adapted.to("cpu").weights, adapted.weights)


def test_a_saved_potential_is_the_one_that_is_loaded(adapted, state, tmp_path):
    path = tmp_path / "learned.safetensors"
    learned = adapted.with_weights(adapted.weights, {"labels": 12, "method": "HF, sto-3g"})
    learned.save(path)
    more = {} if adapted.base is None else {"base": cheap()}
    back = load_model(path, device="cpu", dtype=torch.float64, **more)
    one, other = found(learned, state), found(back, state)
    # files hold weights in float32
    torch.testing.assert_close(other.energy, one.energy, rtol=0, atol=1e-4)
    torch.testing.assert_close(other.forces, one.forces, rtol=0, atol=1e-4)
    _, header, _ = read_model(path)
    assert (header.name, header.method) == ("learned", "HF, sto-3g")
    assert header.training["labels"] == 12
    assert header.training["backbone"] == "untrained"
    assert header.timestep_fs == pytest.approx(adapted.timestep / units.FS)
    assert (header.base is None) == (adapted.base is None)


def test_a_saved_network_learns_on(tmp_path, state):
    """The weights of the file are those that it begins with."""
    path = tmp_path / "learned.safetensors"
    random_weights(adapt(potential(), ETHANOL)).save(path)
    again = adapt(load_model(path, device="cpu"), ETHANOL)
    assert again.weights.abs().max() > 0.1
    torch.testing.assert_close(
        found(again, state).forces, found(load_model(path, device="cpu"), state).forces
    )


def test_a_correction_goes_with_the_base_that_it_corrects(tmp_path, untrained):
    path = tmp_path / "correction.safetensors"
    adapt(cheap(depth=1.8), ETHANOL, untrained).save(path)
    with pytest.raises(ValueError, match=r"'correction' is a correction of .*: pass base=Calc"):
        load_model(path)
    other = CalculatorPotential(LennardJones(sigma=0.8))
    with pytest.raises(ValueError, match=r"base is .*lennardjones.*, but the model 'correction'"):
        load_model(path, base=other)
    with pytest.raises(TypeError, match="base is 'GFN2', expected a potential such as"):
        load_model(path, base="GFN2")
    with pytest.raises(ValueError, match=r"'organic-gfn2' stands alone: leave base out"):
        load_model("organic-gfn2", base=other)


@pytest.mark.parametrize("version", [1, 2])
def test_older_files_stand_alone(version, untrained, tmp_path, state):
    """Headers of version 2 had no base, those of version 1 no kinds either."""
    weights = load_file(untrained)
    with open(untrained, "rb") as handle:
        size = int.from_bytes(handle.read(8), "little")
        header = json.loads(json.loads(handle.read(size))["__metadata__"]["kstep_integrators"])
    assert header.pop("base") is None
    if version == 1:
        del header["kind"], header["constraints"]
    header["format_version"] = version
    old = tmp_path / "old.safetensors"
    save_file(weights, old, {"kstep_integrators": json.dumps(header)})
    one, other = (load_model(path, device="cpu") for path in (old, untrained))
    assert one.header == other.header
    assert torch.equal(found(one, state).forces, found(other, state).forces)


# Backbones


def test_an_unknown_element_is_shown_as_one_of_its_group_at_scaled_distances():
    """Silane that is as much larger as its radii looks like methane, and has weights of its own."""
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) / np.sqrt(3.0)
    found = []
    for symbol in ("C", "Si"):
        bond = covalent_radii[atomic_numbers[symbol]] + covalent_radii[1]
        atoms = Atoms(f"{symbol}H4", [[0, 0, 0], *(bond * corners)])
        # Every distance has to scale alike: of the hydrogen atoms only the bonds do.
        one = adapt(cheap(), sorted({*atoms.numbers.tolist()}))
        network, numbers = one.model.network, torch.from_numpy(atoms.numbers)
        graph = dense_graph(one.species(numbers), make_padding(torch.zeros(5, dtype=torch.int64)))
        only_bonds = graph.pair_mask.clone()
        only_bonds[0, 1:, 1:] = False
        graph = dataclasses.replace(graph, pair_mask=only_bonds)
        x = torch.from_numpy(atoms.positions).unsqueeze(0)
        found.append(torch.cat(network.invariants(x, graph)[0], dim=-1))
    assert float((found[0] - found[1]).abs().max()) < 1e-4 * float(found[0].abs().max())


@pytest.mark.parametrize(
    ("element", "shown"), [(1, 1), (8, 8), (5, 6), (9, 8), (14, 6), (15, 7), (16, 8), (30, 6)]
)
def test_elements_that_stand_for_others(element, shown):
    assert shown_as(element, [1, 6, 7, 8]) == shown


@pytest.mark.parametrize("formula", ["N2", "H2", "P2", "Cl2", "OS"])
def test_bonds_between_elements_that_the_backbone_has_met_apart_alone(formula):
    """Features change along them, so that they can be learned."""
    atoms = Atoms(formula)
    elements = sorted({*atoms.numbers.tolist()})
    length = 0.8 * sum(covalent_radii[z] for z in atoms.numbers)  # a triple bond
    atoms.positions[1, 0] = length
    one = in_double(adapt(None, elements))
    found = one.features(state_from_atoms(atoms), torch.arange(6))
    assert float(found.forces.abs().max()) > 0.05


def test_a_network_of_an_unknown_element_has_derivatives_like_any_other():
    """Forces of a learned part with silicon against differences of its energy, in float64."""
    atoms = Atoms("SiH4", 1.48 / np.sqrt(3.0) * np.array(
        [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])).copy()  # fmt: skip
    atoms.rattle(0.05, seed=0)
    one = random_weights(in_double(adapt(None, [1, 14])))
    state = state_from_atoms(atoms)
    forces = one.bind(state)
    here, _ = forces(state.positions, None)
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        energies = []
        for sign in (1.0, -1.0):
            moved = state.positions.clone()
            moved[atom, axis] += sign * 2e-5
            energies.append(float(forces(moved, None)[0].energy[0]))
        slope = (energies[1] - energies[0]) / 4e-5
        assert slope == pytest.approx(float(here.forces[atom, axis]), abs=1e-6)


def test_backbones_that_do_not_do(untrained, tmp_path):
    with pytest.raises(ValueError, match=r"is a network, which learns on its own features"):
        adapt(potential(), ETHANOL, untrained)
    path = tmp_path / "jumps.safetensors"
    jump = silent()
    write_model(path, jump.network, jump.header)
    with pytest.raises(ValueError, match=r"a model of direct jumps; expected that of a potential"):
        adapt(None, ETHANOL, path)


# Settings


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"labels": 3}, TypeError, "labels is 3, expected a path or several"),
        ({"labels": [3]}, TypeError, "labels is 3, expected a path"),
        ({"file": 3}, TypeError, "file is 3"),
        ({"backbone": 3}, TypeError, "backbone is 3"),
        ({"grow": "yes"}, TypeError, "grow is 'yes', expected True or False"),
        ({"refit": "later"}, ValueError, "refit is 'later', expected True, False or 'wait'"),
        ({"refit": 3}, TypeError, "refit is 3, expected True or False"),
        ({"stop": 0}, ValueError, "stop is 0"),
        ({"stop": 1.5}, ValueError, "stop is 1.5"),
        ({"stop": True}, (TypeError, ValueError), "stop is True"),
    ],
)
def test_settings_that_make_no_sense(settings, error, message):
    with pytest.raises(error, match=message):
        Learning(**settings)


def test_settings_are_brought_to_plain_values(tmp_path):
    settings = Learning(labels=tmp_path / "a.traj", file=tmp_path / "b.traj", stop=np.int64(3))
    assert settings.labels == (str(tmp_path / "a.traj"),)
    assert type(settings.stop) is int
    assert json.loads(json.dumps(settings.labels)) == [str(tmp_path / "a.traj")]
    here = Path.cwd()  # a run may be resumed elsewhere
    assert Learning(labels=["a.traj", "b"]).labels == (str(here / "a.traj"), str(here / "b"))
    assert Learning(backbone="organic-gfn2").backbone == "organic-gfn2"
    assert Learning(refit="wait").refit == "wait"
