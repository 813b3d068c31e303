"""Small networks of inverse distances, whose derivatives of any order are cheap."""

from __future__ import annotations

import math

import torch
from ase import units
from torch import Tensor, nn

from kstep_integrators import load_model, named_molecule
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.units import FS


class Small(nn.Module):
    """A network of inverse distances."""

    center: Tensor
    width: Tensor

    def __init__(self, atoms: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.rows, self.columns = torch.triu_indices(atoms, atoms, 1)
        size = len(self.rows)
        self.register_buffer("center", torch.zeros(size))
        self.register_buffer("width", torch.ones(size))
        self.layers = nn.Sequential(
            nn.Linear(size, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., N, 3) -> (...) eV."""
        inverse = 1.0 / (x[..., self.rows, :] - x[..., self.columns, :]).norm(dim=-1)
        energy: Tensor = self.layers((inverse - self.center) / self.width).squeeze(-1)
        return energy


def labels() -> tuple[Tensor, Tensor]:
    """Frames of ethanol at 500 K with the forces of `organic-gfn2`."""
    atoms = named_molecule("ethanol")
    model = load_model("organic-gfn2", device="cpu", compile=True)
    n, many = len(atoms), 16
    masses = torch.tensor(atoms.get_masses())
    generator = torch.Generator().manual_seed(0)
    shape = (many * n, 3)
    start = torch.tensor(atoms.positions).repeat(many, 1)
    x = start + 0.02 * torch.randn(shape, dtype=torch.float64, generator=generator)
    m = masses.repeat(many).unsqueeze(1)
    kt = units.kB * 500.0
    p = (m * kt).sqrt() * torch.randn(shape, dtype=torch.float64, generator=generator)
    batch = torch.arange(many).repeat_interleave(n)
    numbers = torch.tensor(atoms.numbers).repeat(many)
    bound = model.bind(make_state(numbers, m, x, p, batch=batch))
    f = bound(x, None)[0].require_forces()
    step, keep = FS, math.exp(-0.01)
    frames = []
    for count in range(1000):
        p = p + 0.5 * step * f
        x = x + step * p / m
        f = bound(x, None)[0].require_forces()
        p = p + 0.5 * step * f
        noise = torch.randn(shape, dtype=torch.float64, generator=generator)
        p = keep * p + math.sqrt(1 - keep**2) * (m * kt).sqrt() * noise
        if count >= 200 and count % 8 == 0:
            frames.append((x.reshape(many, n, 3), f.reshape(many, n, 3)))
    return torch.cat([a for a, _ in frames]), torch.cat([b for _, b in frames])


def fitted(frames: tuple[Tensor, Tensor], seed: int, steps: int) -> Small:
    """A small network after some steps of fitting forces."""
    x, f = (part.float() for part in frames)
    net = Small(x.shape[1], seed)
    inverse = 1.0 / (x[:, net.rows] - x[:, net.columns]).norm(dim=-1)
    net.center, net.width = inverse.mean(0), 4.0 * inverse.std(0)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(x), (64,), generator=generator)
        leaf = x[some].requires_grad_(True)
        (gradient,) = torch.autograd.grad(net(leaf).sum(), leaf, create_graph=True)
        loss = (gradient + f[some]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.double().requires_grad_(False)


def force(net: Small, x: Tensor) -> Tensor:
    """Forces, differentiable if ``x`` is."""
    leaf = x if x.requires_grad else x.detach().requires_grad_(True)
    energy = net(leaf).sum()
    (gradient,) = torch.autograd.grad(energy, leaf, create_graph=x.requires_grad)
    return -gradient
