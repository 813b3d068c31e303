"""The device path where there is no GPU: the real code on PyTorch's meta device.

A meta tensor has a device, a type and a shape but no values. Mixing it with a tensor of the host
raises, and so does asking it for a value, which on a GPU would be a copy from the device to the
host in the middle of a jump.
"""

import numpy as np
import pytest
import torch

from kstep_integrators import FlowJump, KStepDynamics, units
from kstep_integrators.correctors import Impulse, half_kick
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.nn.energy.network import BACKBONES
from kstep_integrators.state import Evaluation
from kstep_integrators.thermostats import Bussi
from tests.conftest import hot, physics, potential

META = torch.device("meta")


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constrained", [False, True])
def test_the_whole_step_stays_on_the_device(backbone, dtype, constrained, state):
    model = potential(backbone)
    model = type(model)(model.network, model.header, device="meta", dtype=dtype)
    jump = FlowJump(model, 0.5 * units.FS)
    bound = jump.bind(state)
    there = state.replace(mobile=torch.ones(9, 1, dtype=torch.float64) if constrained else None)
    there = there.to(META)
    physics = Evaluation(torch.zeros(1, dtype=torch.float64), torch.zeros_like(state.positions))
    physics = physics.to(META)

    inner = bound.begin(there)
    kicked = half_kick(there, Impulse()(there, physics, inner, 4 * jump.timestep, bound))
    landed, info = bound(kicked, physics, inner, 4)
    for tensor in (landed.positions, landed.momenta, info.end.energy, info.end.forces):
        assert tensor.device == META
        assert tensor.dtype == torch.float64
    assert constrain(there, landed.momenta).device == META


def test_the_check_can_fail(state):
    there = state.to(META)
    with pytest.raises(RuntimeError, match="meta"):
        there.positions.sum().item()
    with pytest.raises(RuntimeError, match="device"):
        there.positions + state.momenta


def test_a_state_there_and_back(state):
    assert state.to(torch.device("cpu")) is state
    assert state.to(META).batch.device == META
    assert state.to(META).time.device == META


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_agree(state):
    on_cpu = potential()
    on_gpu = on_cpu.to("cuda")
    here, _ = on_cpu.bind(state)(state.positions, None)
    there, _ = on_gpu.bind(state)(state.positions.cuda(), None)
    torch.testing.assert_close(there.forces.cpu(), here.forces, atol=1e-9, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bussi_on_cuda_and_cpu_agree(state):
    bath, cuda = Bussi(300.0, 20.0 * units.FS), torch.device("cuda")
    here = bath.half_step(state, units.FS, np.random.default_rng(0))
    there = bath.half_step(state.to(cuda), units.FS, np.random.default_rng(0))
    assert there.momenta.is_cuda
    torch.testing.assert_close(there.momenta.cpu(), here.momenta, atol=1e-12, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dense_limit", [1, 64])
def test_a_run_on_cuda_and_one_on_the_cpu_agree(dense_limit):
    here, there = (run(potential(dense_limit=dense_limit).to(name)) for name in ("cpu", "cuda"))
    assert abs(here.positions - there.positions).max() < 1e-8
    assert abs(here.get_momenta() - there.get_momenta()).max() < 1e-8


def run(model):
    atoms = hot()
    atoms.calc = physics()
    KStepDynamics(atoms, model, k=4, timestep=0.2 * units.FS).run(6)
    return atoms
