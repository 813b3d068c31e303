import numpy as np
import pytest
import torch
from ase import units
from ase.constraints import FixAtoms, FixBondLengths, FixCom
from ase.md.verlet import VelocityVerlet

from kstep_integrators import DirectJump, Guard, KStepDynamics
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ensemble.states import join_states
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.state import Evaluation, kinetic_energy
from kstep_integrators.testing import CountingCalculator, assert_jump
from tests.conftest import cheap, hot, physics
from tests.direct_systems import (
    Oracle,
    arguments,
    direct,
    momentum,
    oracle,
    silent,
    untrained,
)
from tests.mechanics.test_shake import held, opening, stretches

FS = units.fs


def evaluated(state):
    return cheap().bind(state)(state.positions, None)[0]


def verlet(timestep_fs, steps):
    """Ethanol after plain velocity Verlet of the physics."""
    reference = hot()
    reference.calc = physics()
    VelocityVerlet(reference, timestep_fs * FS).run(steps)
    return reference


@pytest.mark.parametrize("backbone", ["egnn", "transformer"])
@pytest.mark.parametrize("baseline", ["verlet", "plain"])
@pytest.mark.parametrize("force_head", [False, True])
def test_the_contract_of_a_jump(backbone, baseline, force_head, state):
    network = untrained(baseline, backbone=backbone, force_head=force_head)
    assert_jump(direct(network), state, evaluated(state), k=8)


def test_no_increments_are_velocity_verlet_at_the_stride(atoms):
    dynamics = KStepDynamics(atoms, silent(), k=2)
    dynamics.run(20)
    reference = verlet(1.0, 20)
    assert abs(atoms.positions - reference.positions).max() < 1e-12
    assert abs(atoms.get_momenta() - reference.get_momenta()).max() < 1e-12
    assert dynamics.get_time() == pytest.approx(20 * FS, rel=1e-12)
    assert dynamics.scheme.corrector.name == "delta"


def test_no_increments_on_the_plain_baseline_move_the_molecule_as_a_whole(state):
    push = torch.tensor([0.3, 0.0, -0.1], dtype=torch.float64)
    state = state.replace(momenta=state.momenta + state.masses * push)
    landed, info = silent("plain").bind(state)(state, evaluated(state), None, 4)
    torch.testing.assert_close(landed.positions, state.positions + 2.0 * FS * push)
    torch.testing.assert_close(landed.momenta, state.momenta)
    assert (info.steps, info.start, info.end) == (4, None, None)


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_the_oracle_makes_k_verlet_steps(baseline, atoms):
    dynamics = KStepDynamics(atoms, oracle(baseline), k=8)
    dynamics.run(5)
    reference = verlet(0.5, 40)
    assert abs(atoms.positions - reference.positions).max() < 1e-10
    assert abs(atoms.get_momenta() - reference.get_momenta()).max() < 1e-10
    assert atoms.calc.evaluations == 6
    assert dynamics.stats.fallbacks == 0


def test_the_network_is_given_the_start_of_the_stride(atoms):
    atoms.positions += 7.0
    atoms.set_momenta(atoms.get_momenta() + atoms.get_masses()[:, None] * 0.2)
    state = state_from_atoms(atoms)
    found = evaluated(state)
    jump = silent()
    jump.bind(state)(state, found, None, 8)
    x, v, f, stride = jump.network.asked
    com = (state.masses * state.positions).sum(0) / state.masses.sum()
    torch.testing.assert_close(x[0], state.positions - com)
    torch.testing.assert_close(v[0], state.momenta / state.masses - 0.2)
    torch.testing.assert_close(f[0], found.forces)
    assert stride.tolist() == [2]


def test_evaluations_with_logger_and_trajectory(atoms, tmp_path):
    dynamics = KStepDynamics(
        atoms,
        oracle(force_head=True),
        k=8,
        trajectory=tmp_path / "md.traj",
        logfile=tmp_path / "md.log",
    )
    dynamics.run(6)
    assert atoms.calc.evaluations == 7
    assert dynamics.stats.physics_evaluations == 7
    assert dynamics.stats.residual_rms < 1e-9
    assert dynamics.stats.fallbacks == 0
    described = dynamics.todict()
    assert described["jump"] == "direct"
    assert described["corrector"] == "delta"


def test_a_thermostat_stands_around_direct_jumps(atoms):
    arguments = {"k": 2, "temperature_K": 300, "friction": 0.01 / FS}
    KStepDynamics(atoms, silent(), **arguments, rng=np.random.default_rng(5)).run(10)
    again = hot()
    again.calc = physics()
    KStepDynamics(again, silent(), **arguments, rng=np.random.default_rng(5)).run(10)
    assert np.array_equal(atoms.positions, again.positions)
    assert abs(atoms.get_momenta().sum(0)).max() > 1e-3


def test_single_precision_keeps_the_total_momentum(state):
    network = untrained()
    jump = DirectJump(network, ModelHeader("tiny", {}, "none"), device="cpu")
    assert jump.dtype == torch.float32
    found = evaluated(state)
    landed, _ = jump.bind(state)(state, found, None, 8)
    assert (momentum(landed) - momentum(state)).abs().max() < 1e-12
    exact, _ = direct(network).bind(state)(state, found, None, 8)
    assert (landed.positions - exact.positions).abs().max() < 1e-5
    assert landed.positions.dtype == torch.float64


def test_a_centre_of_mass_that_is_held_stays(ethanol):
    ethanol.set_constraint(FixCom())
    state = state_from_atoms(ethanol)
    before = (state.masses * state.positions).sum(0)
    landed, _ = direct(untrained()).bind(state)(state, evaluated(state), None, 4)
    assert ((landed.masses * landed.positions).sum(0) - before).abs().max() < 1e-10


def test_molecules_of_one_state_are_as_alone():
    states = [state_from_atoms(hot(name, seed=i)) for i, name in enumerate(("ethanol", "water"))]
    jump = direct(untrained(force_head=True))
    forces = [0.1 * torch.sin(state.positions) for state in states]
    alone = [
        jump.bind(state)(state, Evaluation(torch.zeros(1), force), None, 4)
        for state, force in zip(states, forces, strict=True)
    ]
    whole = join_states(states)
    landed, info = jump.bind(whole)(whole, Evaluation(torch.zeros(2), torch.cat(forces)), None, 4)
    for name in ("positions", "momenta"):
        expected = torch.cat([getattr(one, name) for one, _ in alone])
        torch.testing.assert_close(getattr(landed, name), expected, rtol=0, atol=1e-12)
    expected = torch.cat([one.end.forces for _, one in alone])
    torch.testing.assert_close(info.end.forces, expected, rtol=0, atol=1e-12)


def test_forces_that_are_predicted_are_watched(atoms):
    # The head of the silent network says that forces stay what they were.
    dynamics = KStepDynamics(atoms, silent(force_head=True), k=2)
    before = atoms.get_forces()
    dynamics.run(1)
    expected = np.sqrt(np.mean((atoms.get_forces() - before) ** 2))
    assert dynamics.stats.residual_rms == pytest.approx(expected, rel=1e-12)
    dynamics.run(2)
    assert dynamics.stats.energy_error is None
    without = KStepDynamics(atoms, silent(), k=2)
    without.run(1)
    assert without.stats.residual_rms is None
    assert without.stats.energy_error is None


def test_the_force_tolerance_sees_the_head(atoms):
    dynamics = KStepDynamics(atoms, silent(force_head=True), k=2, force_tolerance=1e-3)
    dynamics.run(2)
    assert dynamics.stats.fallbacks == 2
    assert "residual force" in dynamics.stats.last_problem
    # A fallback is two steps of the physics at the base step.
    assert atoms.calc.evaluations == 1 + 2 * 3
    reference = verlet(0.5, 4)
    assert abs(atoms.positions - reference.positions).max() < 1e-12


def test_tolerances_of_what_is_not_predicted_are_refused(atoms):
    with pytest.raises(ValueError, match=r"energy_tolerance=0.1, but .* does not predict the ener"):
        KStepDynamics(atoms, silent(force_head=True), k=2, energy_tolerance=0.1)
    with pytest.raises(ValueError, match=r"force_tolerance=0.1, but .* not predict the forces"):
        KStepDynamics(atoms, silent(), k=2, force_tolerance=0.1)


def test_the_guard_sees_nonsense(atoms):
    network = untrained(bound=1e6)
    with torch.no_grad():
        network.readout.out.weight.mul_(1e5)
        network.readout.own.weight.mul_(1e5)
    dynamics = KStepDynamics(atoms, direct(network), k=4)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 3
    assert "moved at" in dynamics.stats.last_problem
    assert atoms.calc.evaluations == 1 + 3 * 4
    reference = verlet(0.5, 12)
    assert abs(atoms.positions - reference.positions).max() < 1e-12


def test_what_is_not_a_number_does_not_stand(atoms):
    network = untrained()
    with torch.no_grad():
        network.readout.out.weight.fill_(torch.nan)
    dynamics = KStepDynamics(atoms, direct(network), k=4)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert np.isfinite(atoms.positions).all()


def test_shrinking_goes_down_to_the_shortest_stride_that_was_learned(atoms):
    jump = silent(strides=(4, 8), force_head=True)
    dynamics = KStepDynamics(atoms, jump, k=8, on_error="shrink", force_tolerance=1e-6)
    dynamics.run(1)
    assert dynamics.stats.shrinks == 1
    assert dynamics.stats.last_problem is not None
    # One jump of 8, then twice a jump of 4 and 4 physics steps in its place.
    assert atoms.calc.evaluations == 1 + 1 + 2 * (1 + 4)
    reference = verlet(0.5, 8)
    assert abs(atoms.positions - reference.positions).max() < 1e-12
    assert dynamics.get_time() == pytest.approx(8 * 0.5 * FS, rel=1e-12)


def test_shrinking_without_a_stride_of_half_the_length_is_refused(atoms):
    with pytest.raises(ValueError, match=r"on_error='shrink' with k=2.*\[2, 4, 8\]"):
        KStepDynamics(atoms, silent(), k=2, on_error="shrink")
    with pytest.raises(ValueError, match=r"on_error='shrink' with k=9"):
        KStepDynamics(atoms, silent(strides=(4, 9)), k=9, on_error="shrink")


def test_strides_and_steps_that_were_not_learned_are_refused(atoms, state):
    with pytest.raises(ValueError, match=r"k=3, but .* strides of \[2, 4, 8\] base steps of 0.5"):
        KStepDynamics(atoms, silent(), k=3)
    with pytest.raises(ValueError, match=r"k=3, but model 'tiny' was trained for jumps of \[2, 4"):
        silent().bind(state)(state, evaluated(state), None, 3)
    with pytest.raises(ValueError, match=r"base step is .* fs, but the jump has its own"):
        KStepDynamics(atoms, silent(), k=4, timestep=0.25 * FS)
    KStepDynamics(atoms, silent(), k=4, timestep=0.5 * FS).run(1)


@pytest.mark.parametrize("corrector", ["none", "impulse", "filtered"])
def test_other_correctors_of_the_verlet_baseline_are_refused(atoms, corrector):
    with pytest.raises(ValueError, match="counts forces twice or not at all"):
        KStepDynamics(atoms, silent(), k=4, corrector=corrector)


def test_correctors_that_belong_to_other_jumps_are_refused(atoms):
    with pytest.raises(ValueError, match=r"it takes \['none'\]: it has learned the whole motion"):
        KStepDynamics(atoms, silent("plain"), k=4, corrector="delta")
    with pytest.raises(ValueError, match=r"cannot take the corrector 'delta'.*of a potential"):
        KStepDynamics(atoms, cheap(), k=4, corrector="delta")


def test_a_metropolis_test_is_refused(atoms):
    with pytest.raises(ValueError, match="neither time-reversible nor volume-preserving"):
        KStepDynamics(atoms, silent(), k=4, metropolize=True, temperature_K=300, friction=0.01 / FS)


def test_atoms_that_were_not_learned_are_refused(ethanol):
    ethanol.calc = CountingCalculator(physics())
    heavy = ethanol.copy()
    heavy.calc = ethanol.calc
    masses = heavy.get_masses()
    masses[3] = 2.014
    heavy.set_masses(masses)
    with pytest.raises(ValueError, match=r"atom 3 has the mass 2.014 u, but .* 1.008 u"):
        KStepDynamics(heavy, silent(), k=4)
    other = ethanol.copy()
    other.calc = ethanol.calc
    other.numbers[0] = 16
    with pytest.raises(ValueError, match=r"does not cover the elements \['S'\]"):
        KStepDynamics(other, silent(), k=4)
    periodic = ethanol.copy()
    periodic.calc = ethanol.calc
    periodic.set_cell([9.0, 9.0, 9.0])
    periodic.pbc = True
    with pytest.raises(ValueError, match=r"molecules only.*Use a potential: a direct"):
        KStepDynamics(periodic, silent(), k=4)
    fixed = ethanol.copy()
    fixed.calc = ethanol.calc
    fixed.set_constraint(FixAtoms([1, 2]))
    with pytest.raises(ValueError, match=r"atoms \[1, 2\] are fixed"):
        KStepDynamics(fixed, silent(), k=4)
    assert ethanol.calc.evaluations == 0


def test_there_is_no_hessian(state):
    with pytest.raises(ValueError, match="has no potential, and so no Hessian"):
        silent().bind(state).linearized(state)


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match=r"dtype torch.float16 is not supported"):
        DirectJump(untrained(), ModelHeader("tiny", {}, "none"), dtype=torch.float16)


def test_the_energy_error_of_a_guard_is_physical(atoms):
    """The guard asks the physics, whose energy a direct jump may change at will."""
    tight = Guard(max_energy_change=1e-9)
    dynamics = KStepDynamics(atoms, silent(), k=8, guard=tight)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "the total energy changed by" in dynamics.stats.last_problem
    assert float(kinetic_energy(state_from_atoms(atoms))) > 0


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_the_oracle_makes_k_rattle_steps_with_fixed_bonds(baseline):
    state = state_from_atoms(held())
    jump = direct(Oracle(**arguments(baseline)), constraints="HBonds")
    jump.network.fixed = {"bonds": state.bonds, "bond_lengths": state.bond_lengths}
    atoms = held()
    atoms.calc = CountingCalculator(physics())
    dynamics = KStepDynamics(atoms, jump, k=8)
    dynamics.run(3)
    landed = state_from_atoms(atoms)
    expected, _, _ = verlet_flow(cheap().bind(state), state, evaluated(state), 0.5 * FS, 24)
    torch.testing.assert_close(landed.positions, expected.positions, rtol=0, atol=1e-9)
    torch.testing.assert_close(landed.momenta, expected.momenta, rtol=0, atol=1e-9)
    assert dynamics.stats.fallbacks == 0
    assert atoms.calc.evaluations == 4


@pytest.mark.parametrize("baseline", ["verlet", "plain"])
def test_landings_are_on_the_constraints(baseline):
    atoms = held()
    atoms.calc = physics()
    network = untrained(baseline, scales=[[[0.002, 0.002]] * 4] * 3)
    # The plain baseline leaves the physical force out, and is no dynamics without its network.
    guard = Guard(max_energy_change=100.0)
    dynamics = KStepDynamics(atoms, direct(network, constraints="HBonds"), k=2, guard=guard)
    before = state_from_atoms(atoms)
    dynamics.run(3)
    assert dynamics.stats.fallbacks == 0
    landed = state_from_atoms(atoms)
    assert stretches(landed) < 1e-11
    assert opening(landed) < 1e-11
    assert (momentum(landed) - momentum(before)).abs().max() < 1e-10
    assert torch.equal(landed.bond_lengths, before.bond_lengths)


def test_bonds_that_cannot_be_put_back_are_failures_of_the_jump():
    atoms = held()
    atoms.calc = physics()
    network = untrained("plain", scales=[[[3.0, 0.01]] * 4] * 3)
    dynamics = KStepDynamics(atoms, direct(network, constraints="HBonds"), k=8)
    dynamics.run(1)
    assert dynamics.stats.fallbacks == 1
    assert "fixed bond" in dynamics.stats.last_problem
    assert stretches(state_from_atoms(atoms)) < 1e-11


def test_constraints_that_were_not_learned_are_refused(ethanol):
    free, rigid = direct(untrained()), direct(untrained(), constraints="HBonds")
    state = state_from_atoms(held())
    rigid.bind(state)
    with pytest.raises(ValueError, match=r"constraints=None, but the system has 6 bonds of fixed"):
        free.bind(state)
    with pytest.raises(ValueError, match=r"constraints='HBonds', but the system has 0 bonds"):
        rigid.bind(state_from_atoms(ethanol))
    pairs = held().constraints[0].pairs
    ethanol.set_constraint(FixBondLengths(pairs[:-1]))
    with pytest.raises(ValueError, match=r"has 5 bonds of fixed length for 6 hydrogen atoms"):
        rigid.bind(state_from_atoms(ethanol))
    ethanol.set_constraint(FixBondLengths([*pairs, [0, 1]]))
    with pytest.raises(ValueError, match=r"7 bonds .* 1 of them without hydrogen"):
        rigid.bind(state_from_atoms(ethanol))


def test_another_device_is_another_jump():
    jump = silent()
    assert jump.to("cpu") is jump
    moved = jump.to("meta")
    assert (moved.device.type, jump.device.type) == ("meta", "cpu")
    assert moved.describe() == jump.describe()
    assert make_jump(jump, device="cpu") is jump
    assert make_jump(jump, device="meta").device.type == "meta"
