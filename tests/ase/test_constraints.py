"""FixBondLengths through the doors of ASE: runs, refusals, failures, checkpoints, ensembles."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.constraints import FixAtoms, FixBondLength, FixBondLengths, FixCom
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from kstep_integrators import KStepDynamics, run_ensemble
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ase.atoms_json import decode_atoms, encode_atoms
from kstep_integrators.step.guard import DynamicsFailed
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, hot, physics
from tests.mechanics.test_shake import held, hydrogen_bonds

FS = units.fs


def lengths_of(atoms):
    (fixed,) = (c for c in atoms.constraints if isinstance(c, FixBondLengths))
    i, j = fixed.pairs.T
    return np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)


def ready(seed=0):
    atoms = held(seed=seed)
    atoms.set_momenta(atoms.get_momenta())  # ASE projects them
    atoms.calc = CountingCalculator(physics())
    return atoms


def test_it_is_velocity_verlet_of_ase():
    one, other = ready(), ready()
    dynamics = KStepDynamics(one, cheap(), k=4, timestep=1.0 * FS)
    dynamics.run(10)
    VelocityVerlet(other, 1.0 * FS).run(40)
    assert dynamics.stats.fallbacks == 0
    assert dynamics.stats.physics_evaluations == 11
    np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
    np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-7)
    fixed = one.constraints[0].bondlengths
    np.testing.assert_allclose(lengths_of(one), fixed, rtol=1e-12)
    np.testing.assert_array_equal(fixed, other.constraints[0].bondlengths)


@pytest.mark.parametrize("corrector", ["impulse", "none"])
def test_strides_conserve_energy(corrector):
    atoms = ready()
    # The physics differs from the potential by a tenth.
    atoms.calc = CountingCalculator(physics(depth=2.2 if corrector == "impulse" else 2.0))
    dynamics = KStepDynamics(atoms, cheap(), k=4, timestep=0.5 * FS, corrector=corrector)
    energies = []
    for _ in range(160):
        dynamics.run(1)
        energies.append(atoms.get_total_energy())
    first, second = np.mean(energies[:80]), np.mean(energies[80:])
    assert np.std(energies) < 0.01
    assert abs(first - second) < 0.003
    assert dynamics.stats.fallbacks == 0


@pytest.mark.parametrize(
    "between",
    [
        lambda atoms: None,
        lambda atoms: atoms.set_momenta(1.01 * atoms.get_momenta() + 0.1, apply_constraint=False),
        lambda atoms: thermalize_momenta(atoms, temperature_K=300.0, rng=np.random.default_rng(0)),
    ],
    ids=["nothing", "momenta", "thermalized"],
)
@pytest.mark.parametrize("others", [[], [FixAtoms([0])], [FixCom()]], ids=["", "atoms", "centre"])
def test_baths_keep_to_the_bonds(others, between):
    """After every step, whatever was done before it; a bath that does nothing changes nothing."""
    ends = []
    for bath in (
        {},
        {"friction": 0.0},
        {"thermostat": "bussi", "taut": np.inf},
        {"friction": 0.01 / FS},
        {"thermostat": "bussi", "taut": 20.0 * FS},
    ):
        atoms = held("ethanol", *others, seed=1)
        atoms.set_momenta(atoms.get_momenta())
        atoms.calc = physics()
        settings = {"temperature_K": 300.0, "rng": np.random.default_rng(0), **bath} if bath else {}
        dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4, timestep=0.5 * FS, **settings)
        i, j = atoms.constraints[0].pairs.T
        for _ in range(4):
            between(atoms)
            dynamics.run(1)
            v = atoms.get_velocities()
            opening = ((atoms.positions[i] - atoms.positions[j]) * (v[i] - v[j])).sum(1)
            assert np.abs(opening).max() < 1e-13
        ends.append(atoms.positions.copy())
    still, without, endless, langevin, bussi = ends
    np.testing.assert_allclose(without, still, atol=1e-12)
    np.testing.assert_allclose(endless, still, atol=1e-12)
    assert np.abs(langevin - still).max() > 1e-4
    assert np.abs(bussi - still).max() > 1e-6


def test_momenta_are_projected_at_the_start(tmp_path):
    atoms = held()
    atoms.calc = physics()
    raw = atoms.get_momenta()
    log = tmp_path / "md.traj"
    dynamics = KStepDynamics(atoms, cheap(), k=2, trajectory=log)
    np.testing.assert_array_equal(atoms.get_momenta(), raw)
    dynamics.run(0)
    frame = read(log, index=0)
    assert np.abs(frame.get_momenta() - raw).max() > 0.1
    ready_ones = frame.get_momenta()
    frame.set_momenta(ready_ones)  # through ASE's own projection
    np.testing.assert_allclose(frame.get_momenta(), ready_ones, atol=1e-11)
    # They are left alone from then on, to the last bit.
    first = state_from_atoms(frame)
    np.testing.assert_array_equal(first.momenta.numpy(), frame.get_momenta())


def test_lengths_are_those_of_the_first_look():
    atoms = hot()
    atoms.set_constraint([FixBondLength(0, 3), FixBondLengths([[0, 4], [2, 8]], bondlengths=None)])
    state = state_from_atoms(atoms)
    assert state.bonds.tolist() == [[0, 3], [0, 4], [2, 8]]
    atoms.positions[3] *= 1.0 + 1e-6
    again = state_from_atoms(atoms)
    assert torch.equal(again.bonds, state.bonds)
    assert torch.equal(again.bond_lengths, state.bond_lengths)
    atoms.set_constraint()
    assert state_from_atoms(atoms).bonds is None


def test_what_fixed_atoms_keep_is_no_bond():
    atoms = hot()
    bonds = FixBondLengths([[0, 3], [0, 4]])
    atoms.set_constraint([bonds, FixAtoms([0, 3])])
    assert state_from_atoms(atoms).bonds.tolist() == [[0, 4]]
    atoms.set_constraint([bonds, FixAtoms([0, 3, 4])])
    assert state_from_atoms(atoms).bonds is None
    atoms.set_constraint([bonds, FixCom()])
    assert state_from_atoms(atoms).fix_com


def test_atoms_are_put_back_on_given_lengths():
    atoms = hot()
    atoms.set_constraint(FixBondLengths([[0, 3]], bondlengths=[1.09]))
    with pytest.raises(ValueError, match=r"1 fixed bonds do not .*atoms 0 and 3 .* 1.090000 A"):
        state_from_atoms(atoms)
    atoms.set_positions(atoms.get_positions())  # as the message says
    assert float(state_from_atoms(atoms).bond_lengths) == 1.09


@pytest.mark.parametrize(
    ("pairs", "lengths", "message"),
    [
        ([[0, 0]], [1.0], r"\[\[0, 0\]\] are no bonds: expected two different atoms of 0 to 8"),
        ([[0, 9]], [1.0], r"\[\[0, 9\]\] are no bonds"),
        ([[0, 3]], [0.0], "have no length"),
        ([[0, 3]], [np.inf], "have no length"),
        ([[0, 3], [0, 4]], [1.0], r"shapes \(2, 2\) and \(1,\)"),
        ([[0, 3], [3, 0]], None, r"\[\[0, 3\], \[3, 0\]\] repeat each other"),
    ],
)
def test_bonds_that_are_none(pairs, lengths, message):
    atoms = hot()
    atoms.set_constraint(FixBondLengths(pairs, bondlengths=lengths))
    with pytest.raises(ValueError, match=message):
        state_from_atoms(atoms)


def test_a_rigid_line_repeats_itself():
    line = Atoms("HCN", [[0, 0, 0], [0, 0, 1.07], [0, 0, 2.22]])
    line.set_constraint(FixBondLengths([[0, 1], [1, 2], [0, 2]]))
    with pytest.raises(ValueError, match="repeat each other"):
        state_from_atoms(line)
    line.positions[1, 0] = 0.3  # a triangle does not
    line.set_constraint(FixBondLengths([[0, 1], [1, 2], [0, 2]]))
    assert len(state_from_atoms(line).bonds) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corrector": "filtered"}, "'filtered' with 6 bonds of fixed length"),
        (
            {"metropolize": True, "temperature_K": 300.0, "friction": np.inf},
            "metropolize=True with 6 bonds of fixed length",
        ),
    ],
)
def test_what_has_not_been_validated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KStepDynamics(ready(), cheap(), k=4, **arguments)
    with pytest.raises(ValueError, match=message):
        run_ensemble([ready()], cheap(), lambda atoms: physics(), 1, k=4, **arguments)
    free = ready()
    free.set_constraint()
    dynamics = KStepDynamics(free, cheap(), k=4, **arguments)
    free.set_constraint(FixBondLengths(hydrogen_bonds(free)))
    with pytest.raises(ValueError, match=message):
        dynamics.run(1)


def test_a_jump_off_the_constraints_is_undone():
    atoms = ready()
    wild = cheap(depth=1e6)
    dynamics = KStepDynamics(atoms, wild, k=2, timestep=0.5 * FS, corrector="none")
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "SHAKE does not converge" in dynamics.stats.last_problem
    other = ready()
    VelocityVerlet(other, 0.5 * FS).run(2)
    np.testing.assert_allclose(atoms.positions, other.positions, atol=1e-9)


def test_physics_steps_off_the_constraints_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = ready()
    atoms.calc = physics(depth=1e6)
    start = atoms.get_positions()
    dynamics = KStepDynamics(atoms, cheap(depth=1e6), k=2, timestep=0.5 * FS)
    with pytest.raises(DynamicsFailed, match=r"steps in its place lead nowhere: the fixed bond"):
        dynamics.run(1)
    np.testing.assert_array_equal(atoms.positions, start)
    again = read("kstep.restart.traj")
    assert len(state_from_atoms(again).bonds) == 6


def test_one_replica_is_lost_and_the_others_go_on():
    replicas = [ready(seed) for seed in range(3)]
    replicas[1].set_momenta(300.0 * replicas[1].get_momenta())
    result = run_ensemble(
        replicas, cheap(), lambda atoms: physics(), 4, k=2, timestep=0.5 * FS, corrector="none"
    )
    assert list(result.failures) == [1]
    assert "fixed bond" in result.failures[1]
    alone = ready(2)
    KStepDynamics(alone, cheap(), k=2, timestep=0.5 * FS, corrector="none").run(4)
    np.testing.assert_allclose(result.replicas[2].atoms.positions, alone.positions, atol=1e-11)
    np.testing.assert_allclose(lengths_of(result.replicas[2].atoms), lengths_of(ready(2)))


def test_json_keeps_lengths():
    atoms = hot()
    atoms.set_constraint([FixAtoms([0]), FixBondLengths([[1, 6]], bondlengths=[1.1])])
    text, lost = encode_atoms(atoms)
    assert lost == []
    back = decode_atoms(text)
    assert back.constraints[1].bondlengths.tolist() == [1.1]
    atoms.set_constraint(FixBondLengths([[1, 6]]))
    assert decode_atoms(encode_atoms(atoms)[0]).constraints[0].bondlengths is None


def test_a_resumed_run_is_the_same_to_the_last_bit(tmp_path):
    def run(name, steps):
        arguments = {"temperature_K": 300.0, "friction": 0.01 / FS}
        return KStepDynamics(
            ready(), cheap(), k=4, timestep=0.5 * FS, **arguments, rng=np.random.default_rng(0),
            checkpoint=tmp_path / name,
        )  # fmt: skip

    whole = run("whole", 20)
    whole.run(20)
    run("half", 10).run(10)
    rest = KStepDynamics.resume(tmp_path / "half", CountingCalculator(physics()), cheap())
    evaluations = rest.stats.physics_evaluations
    rest.run(10)
    assert rest.stats.physics_evaluations == evaluations + 10
    assert np.array_equal(whole.atoms.positions, rest.atoms.positions)
    assert np.array_equal(whole.atoms.get_momenta(), rest.atoms.get_momenta())
