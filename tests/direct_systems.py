"""Networks of increments for tests of direct jumps: silent, untrained, and one that knows all."""

from __future__ import annotations

import torch
from ase.data import atomic_masses

from kstep_integrators import CalculatorPotential, DirectJump
from kstep_integrators.jumps.baseline import increments
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.nn.increments.network import IncrementNetwork, Increments
from kstep_integrators.state import PhaseState
from kstep_integrators.testing import MorseNetwork
from kstep_integrators.units import FS
from tests.conftest import ELEMENTS, REFERENCE

MASSES = [float(atomic_masses[z]) for z in ELEMENTS]
STRIDES = (2, 4, 8)


def arguments(baseline: str = "verlet", strides=STRIDES, **config) -> dict:
    """Of a small network that knows the base step 0.5 fs."""
    return {
        "elements": ELEMENTS,
        "strides": list(strides),
        "timestep_fs": 0.5,
        "baseline": baseline,
        "scales": [[[0.01 * k, 0.02 * k]] * len(ELEMENTS) for k in strides],
        "masses": MASSES,
        "channels": 8,
        "layers": 1,
        "heads": 4,
        **config,
    }


def untrained(baseline: str = "verlet", seed: int = 0, **config) -> IncrementNetwork:
    """A network whose increments are of the size that trained ones have."""
    torch.manual_seed(seed)
    built = IncrementNetwork(**arguments(baseline, **config))
    with torch.no_grad():
        for name, weight in built.readout.named_parameters():
            if name.startswith(("out", "own")):
                weight.normal_(std=0.3)
    built.requires_grad_(False)
    return built.eval()


def silence(network: IncrementNetwork) -> IncrementNetwork:
    """The same network without increments."""
    with torch.no_grad():
        for weight in (network.readout.out.weight, *network.readout.own.parameters()):
            weight.zero_()
    return network


class Silent(IncrementNetwork):
    """No increments; it remembers what it was asked."""

    def forward(self, positions, velocities, forces, stride, graph):
        self.asked = (positions, velocities, forces, stride)
        head = forces.clone() if self.config["force_head"] else None
        return Increments(torch.zeros_like(positions), torch.zeros_like(positions), head)


class Oracle(IncrementNetwork):
    """Increments that make a jump of ethanol exactly k Verlet steps of :class:`MorseNetwork`.

    Forces are its own, whatever it is given; the velocities it is given must be those at the start
    of the stride. With ``bonds`` and ``bond_lengths`` these steps are RATTLE's.
    """

    fixed: dict[str, torch.Tensor] = {}  # noqa: RUF012

    def forward(self, positions, velocities, forces, stride, graph):
        dx, dv, head = (torch.zeros_like(positions) for _ in range(3))
        timestep = self.config["timestep_fs"] * FS
        numbers = torch.tensor(ELEMENTS)[graph.species]
        masses = self.masses[graph.species].unsqueeze(-1) * graph.atom_mask.unsqueeze(-1)
        for i, real in enumerate(graph.atom_mask):
            k = self.config["strides"][int(stride[i])]
            x, v, m = positions[i, real], velocities[i, real], masses[i, real]
            state = make_state(numbers[i, real], m, x, m * v, **self.fixed)
            bound = CalculatorPotential(MorseNetwork(REFERENCE)).bind(state)
            start, _ = bound(x, None)
            landed, end, _ = verlet_flow(bound, state, start, timestep, k)
            dx[i, real], dv[i, real] = increments(
                self.config["baseline"],
                x,
                v,
                start.forces,
                landed.positions,
                landed.momenta / m,
                end.forces,
                m,
                k * timestep,
            )
            head[i, real] = end.forces
        return Increments(dx, dv, head if self.config["force_head"] else None)


def direct(network: IncrementNetwork, **changes) -> DirectJump:
    """The network as a jump, in float64."""
    header = ModelHeader("tiny", {}, "none", **changes)
    return DirectJump(network, header, "0" * 64, device="cpu", dtype=torch.float64)


def oracle(baseline: str = "verlet", **config) -> DirectJump:
    """A jump that knows the motion of ethanol under :class:`MorseNetwork`."""
    return direct(Oracle(**arguments(baseline, **config)))


def silent(baseline: str = "verlet", **config) -> DirectJump:
    """A jump that is its baseline."""
    return direct(Silent(**arguments(baseline, **config)))


def momentum(state: PhaseState) -> torch.Tensor:
    """Total momentum, (3,)."""
    return state.momenta.sum(0)
