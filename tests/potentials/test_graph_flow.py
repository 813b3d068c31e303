"""Flows as they are recorded on a GPU: their steps, taken here as they are, and recorded there."""

import gc
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kstep_integrators import FlowJump, KStepWarning, units
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.nn.common.fixed_lists import fixed_list, list_plan
from kstep_integrators.nn.common.neighbor_lists import build_skin_list
from kstep_integrators.nn.energy.network import BACKBONES
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.potentials.fixed_list_forces import FixedListForces
from kstep_integrators.potentials.graph_flow import GraphFlow
from kstep_integrators.potentials.recording import KEPT, Recordings
from tests.conftest import LINEAR, hot, potential
from tests.potentials.test_potentials import together

TAU = 0.2 * units.FS
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def molecules():
    return together(*(state_from_atoms(hot(name)) for name in ("ethanol", "water")))


def both(model, state, k, bound=None):
    """k steps by a recorded flow, and one by one."""
    forces = model.bind(state)
    start, _ = forces(state.positions, None)
    bound = GraphFlow(forces, state) if bound is None else bound
    with torch.no_grad():
        return bound.flow(state, start, TAU, k), verlet_flow(forces, state, start, TAU, k)[:2]


def assert_same(one, other, tolerance=1e-12):
    for mine, expected in zip(one, other, strict=True):
        for name in ("positions", "momenta", "time", "energy", "forces"):
            if hasattr(expected, name):
                ours, theirs = (getattr(x, name).cpu() for x in (mine, expected))
                torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0, equal_nan=True)


@pytest.mark.parametrize("dense_limit", [1, 64])
def test_the_steps_are_those_of_velocity_verlet(dense_limit):
    state, k = molecules(), 19
    fixed = torch.ones_like(state.masses)
    fixed[[0, 10]] = 0.0
    model = potential(dense_limit=dense_limit, backend="eager")
    bound = GraphFlow(model.bind(state), state)
    for mobile in (None, fixed, None):
        momenta = state.momenta if mobile is None else state.momenta * mobile
        state = state.replace(mobile=mobile, momenta=momenta)
        one, other = both(model, state, k, bound)
        assert_same(one, other)
    assert len(bound.recorder.recordings) == 2
    if dense_limit == 1:
        assert bound.recorder.listed.lacked() == (False, False)


def test_a_jump_takes_the_recorded_steps(state):
    model = potential(backend="eager")
    jump = FlowJump(model, TAU).bind(state)
    expected, info = jump(state, None, None, 8)
    jump.forces = GraphFlow(jump.forces, state)
    landed, other = jump(state, None, None, 8)
    assert len(jump.forces.recorder.recordings) == 1
    assert_same((landed, other.end), (expected, info.end))
    kept = landed.positions.clone(), other.end.forces.clone()
    jump(landed, None, other.end, 8)
    assert torch.equal(landed.positions, kept[0])
    assert torch.equal(other.end.forces, kept[1])


class NoHost(TorchDispatchMode):
    """Refuses what waits for a device: values on the host, shapes that depend on values, copies."""

    ASKING = ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "bincount")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if any(name.startswith(word) for word in self.ASKING):
            raise RuntimeError(f"{name} waits for the device")
        if name.startswith("index") and any(x.dtype == torch.bool for x in given[1:2]):
            raise RuntimeError(f"{name} by a mask waits for the device")
        result = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if len({x.device for x in given + made}) > 1:
            raise RuntimeError(f"{name} copies between devices")
        return result


@pytest.mark.parametrize(
    ("device", "backbone"),
    [("cpu", "painn"), *(("meta", name) for name in (*sorted(BACKBONES), "linear"))],
)
@pytest.mark.parametrize("dense_limit", [1, 64])
def test_the_steps_never_ask_the_host(backbone, dense_limit, device):
    state, model = molecules(), potential(backbone, dense_limit, backend="eager")
    model = NetworkPotential(
        model.network,
        model.header,
        device=device,
        dtype=torch.float32,
        backend="eager",
        dense_limit=dense_limit,
    )
    recorder = GraphFlow(model.bind(state), state).recorder
    if dense_limit == 1:
        recorder.listed = FixedListForces(recorder.forces, recorder.plan, 8)
    recorder.memory.state.positions.copy_(state.positions)
    there = state.to(torch.device(device))
    with NoHost(), torch.no_grad():
        recorder.steps(2, TAU)
        recorder.memory.taken(there, TAU)
    assert recorder.memory.state.positions.dtype == torch.float64
    assert recorder.memory.state.positions.device.type == device


def test_a_list_that_is_refreshed_does_ask_the_host(state):
    forces = potential(dense_limit=1, backend="eager").bind(state)
    start, _ = forces(state.positions, None)
    with NoHost(), pytest.raises(RuntimeError, match="waits for the device"):
        verlet_flow(forces, state, start, TAU, 2)


@pytest.mark.parametrize("size", [40, 60])
def test_a_list_of_a_fixed_width_holds_the_same_neighbours(size):
    generator = torch.Generator().manual_seed(0)
    x = 8.0 * torch.rand(60, 3, generator=generator, dtype=torch.float64)
    x[7] = torch.nan
    species, batch = torch.zeros(60, dtype=torch.int64), torch.arange(60) // size
    known = build_skin_list(x, species, batch, cutoff=4.0, skin=1.0).graph
    plan = list_plan(species, batch, x.device)
    width = known.pair_mask.shape[1]
    graph, most = fixed_list(x, plan, 5.0, width + 3)
    assert most == width
    assert torch.equal(graph.pair_mask[:, :width], known.pair_mask)
    assert torch.equal(graph.index[:, :width][known.pair_mask], known.index[known.pair_mask])
    assert not graph.pair_mask[:, width:].any()
    narrow, most = fixed_list(x, plan, 5.0, width - 1)
    assert most == width
    assert torch.equal(narrow.index, graph.index[:, : width - 1])


def test_an_atom_that_leaves_the_skin_is_noticed(state):
    state = state.replace(momenta=state.momenta.clone())
    state.momenta[8] = state.masses[8] * 0.5 / units.FS  # 0.8 A in a jump
    model = potential(dense_limit=1, backend="eager")
    bound = GraphFlow(model.bind(state), state)
    one, other = both(model, state, 8, bound)
    assert bound.recorder.listed.lacked() == (True, False)
    assert_same(one, other, 0.0)


def test_a_list_that_is_too_narrow_is_noticed_and_widened(state):
    model = potential(dense_limit=1, backend="eager")
    bound = GraphFlow(model.bind(state), state)
    recorder = bound.recorder
    recorder.listed = FixedListForces(recorder.forces, recorder.plan, 5)
    one, other = both(model, state, 8, bound)
    assert_same(one, other, 0.0)
    assert recorder.listed.width == 8
    again, _ = both(model, state, 8, bound)
    assert recorder.listed.lacked() == (False, False)
    assert_same(again, other)


def test_a_molecule_without_positions_harms_no_other():
    state = molecules()
    state.positions[9:] = torch.nan
    for dense_limit in (1, 64):
        (new, end), other = both(potential(dense_limit=dense_limit, backend="eager"), state, 8)
        assert_same((new, end), other)
        assert new.positions[:9].isfinite().all()
        assert end.energy[0].isfinite()


@pytest.mark.parametrize("dense_limit", [1, 64])
def test_weights_that_a_run_has_learned_need_no_new_recording(dense_limit, state):
    model = potential("linear", dense_limit, backend="eager")
    other = model.with_weights(2.0 * model.network.linear.weight)
    bound = GraphFlow(model.bind(state), state)
    learned = GraphFlow(other.bind(state), state, bound)
    assert_same(*both(model, state, 8, bound))
    assert_same(*both(other, state, 8, learned))
    assert len(bound.recorder.recordings) == 1
    (_, before), (_, after) = both(model, state, 8, bound)[0], both(other, state, 8, learned)[0]
    assert (before.energy - after.energy).abs() > 1e-3


def test_a_process_keeps_some_recordings():
    gc.collect()
    first, second = (Recordings(torch.device("cpu")) for _ in range(2))
    for n in range(KEPT):
        first.get(n, lambda: None)
    second.get(0, lambda: None)
    assert len(first) == KEPT - 1
    assert 0 not in first
    first.clear()
    for n in range(KEPT):
        second.get(n, lambda: None)
    assert len(second) == KEPT


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_cannot_be_recorded_is_said_and_done_step_by_step(state):
    model = potential(backend="eager")
    bound = GraphFlow(model.bind(state), state)
    bound.recorder.recordings = Recordings(torch.device("cuda", 0))
    with pytest.warns(KStepWarning, match="could not be recorded as a CUDA graph"):
        one, other = both(model, state, 8, bound)
    assert_same(one, other, 0.0)
    both(model, state, 8, bound)  # without another word


@CUDA
@pytest.mark.parametrize("backbone", [*sorted(BACKBONES), *LINEAR])
@pytest.mark.parametrize("dense_limit", [1, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_a_recorded_flow_agrees_with_the_cpu_in_float64(backbone, dense_limit, dtype, tolerance):
    state, device = molecules(), torch.device("cuda")
    model = potential(backbone, dense_limit, backend="eager")
    there = NetworkPotential(
        model.network, model.header, device="cuda", dtype=dtype, dense_limit=dense_limit
    )
    on_gpu, bound = state.to(device), there.bind(state)
    start, _ = bound(on_gpu.positions, None)
    for k in (8, 19, 8):
        expected = both(model, state, k)[1]
        assert_same(bound.flow(on_gpu, start, TAU, k), expected, tolerance)
    assert len(bound.recorder.recordings) == 2
    if dense_limit == 1:
        assert bound.recorder.listed.lacked() == (False, False)


@CUDA
@pytest.mark.parametrize("dense_limit", [1, 64])
def test_a_recorded_flow_waits_for_the_device_at_its_end_only(dense_limit):
    state = molecules().to(torch.device("cuda"))
    bound = potential(dense_limit=dense_limit, backend="eager").to("cuda").bind(state)
    start, _ = bound(state.positions, None)
    expected = bound.flow(state, start, TAU, 16)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            got = bound.flow(state, start, TAU, 16)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == (1 if dense_limit == 1 else 0)
    assert_same(got, expected)


@CUDA
def test_weights_that_were_learned_reach_a_recording_on_a_gpu():
    state = molecules()
    model = potential("linear").to("cuda")
    on_gpu = state.to(torch.device("cuda"))
    first = model.bind(state)
    start, _ = first(on_gpu.positions, None)
    first.flow(on_gpu, start, TAU, 8)
    other = model.with_weights(2.0 * model.network.linear.weight)
    second = other.bind(state)
    assert second.recorder is first.recorder
    start, _ = second(on_gpu.positions, None)
    expected = both(potential("linear").with_weights(other.network.linear.weight.cpu()), state, 8)
    assert_same(second.flow(on_gpu, start, TAU, 8), expected[1], 1e-9)
