"""`benchmarks.correctors explore`: replicas whose physics and potential are small networks."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.corrector_kicks import BASE, FLOWS, FS, SHAPES, window, without_bonds
from benchmarks.small_networks import Small, fitted, force, labels
from kstep_integrators import named_molecule
from kstep_integrators.correctors.modes import filtered
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import PhaseState

SAMPLE_FS = 24.0
REPLICAS = 12
SCAN = tuple(f"{shape}-{cutoff}" for shape in SHAPES for cutoff in (1.0, 1.2, 1.5, 2.0))
EXPLORED = ("impulse", "none", "held", "bonds", *FLOWS, *SCAN)


class Explorer:
    """Kicks for replicas (B, N, 3) with any physics and potential."""

    def __init__(self, physics: Small, potential: Small) -> None:
        self.physics, self.potential = physics, potential
        atoms = named_molecule("ethanol")
        self.numbers = torch.tensor(atoms.numbers)
        self.masses = torch.tensor(atoms.get_masses()).unsqueeze(1)

    def residual(self, x: Tensor) -> Tensor:
        """Of the forces."""
        return force(self.physics, x) - force(self.potential, x)

    def flat(self, x: Tensor) -> PhaseState:
        """As a state of the package."""
        many = len(x)
        batch = torch.arange(many).repeat_interleave(x.shape[1])
        positions = x.reshape(-1, 3)
        masses = self.masses.repeat(many, 1)
        return make_state(self.numbers.repeat(many), masses, positions, 0 * positions, batch=batch)

    def by_modes(self, x: Tensor, shape: str, stride: float) -> Tensor:
        """The residual with a filter on the modes of the Hessian."""
        kind, cutoff = shape.split("-")

        def products(vectors: Tensor) -> Tensor:
            wide = vectors.reshape(len(vectors), *x.shape)
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(
                    self.potential(leaf).sum(), leaf, create_graph=True
                )
                (rows,) = torch.autograd.grad(gradient, leaf, wide, is_grads_batched=True)
            return rows.reshape(vectors.shape)

        def function(squares: Tensor) -> Tensor:
            return SHAPES[kind](stride * squares.clamp(min=0).sqrt(), float(cutoff))

        state = self.flat(x)
        r = self.residual(x).reshape(-1, 3)
        return filtered(products, state, r, function, 64).reshape(x.shape)

    def averaged(self, x: Tensor, kind: str, k: int) -> Tensor:
        """A(x), differentiable."""
        weights = window(kind, k)
        before, now = x, x + 0.5 * BASE**2 * force(self.potential, x) / self.masses
        mean = weights[0] * x + weights[1] * now
        for weight in weights[2:]:
            step = BASE**2 * force(self.potential, now) / self.masses
            before, now = now, 2 * now - before + step
            mean = mean + weight * now
        return mean

    def kick(self, x: Tensor, method: str, k: int) -> Tensor:
        """The correcting force."""
        if method in ("none", "held"):
            return torch.zeros_like(x)
        if method == "impulse":
            return self.residual(x)
        if method == "bonds":
            return without_bonds(self.flat(x), self.residual(x).reshape(-1, 3)).reshape(x.shape)
        if method in FLOWS:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                mean = self.averaged(leaf, method.split("-")[-1], k)
                at = mean.detach() if method.startswith("molly") else x
                (pulled,) = torch.autograd.grad(mean, leaf, self.residual(at))
            if method.startswith("molly"):
                return pulled

            def products(vectors: Tensor) -> Tensor:
                return torch.zeros_like(vectors)

            # No net force, no net torque: a filter of one takes nothing else away.
            state = self.flat(x)
            clean = filtered(products, state, pulled.reshape(-1, 3), torch.ones_like, 64)
            return clean.reshape(x.shape)
        return self.by_modes(x, method, k * BASE)

    def run(self, x: Tensor, p: Tensor, method: str, k: int, ps: float) -> dict[str, Any]:
        """Energies of all replicas, and positions after 160 fs (whole strides)."""
        h = k * BASE
        strides = round(1000 * ps * FS / h)
        every = max(1, round(SAMPLE_FS * FS / h))
        f, g = force(self.potential, x), self.kick(x, method, k)
        energies, times, early = [], [], None
        for count in range(strides + 1):
            if count % every == 0:
                kinetic = (p.square() / (2 * self.masses)).sum((1, 2))
                energies.append(self.physics(x) + kinetic)
                times.append(count * h)
            if abs(count * h - 160.0 * FS) < 0.01 * FS:
                early = x.clone()
            p = p + 0.5 * h * g
            constant = self.residual(x) if method == "held" else 0.0
            for _ in range(k):
                p = p + 0.5 * BASE * (f + constant)
                x = x + BASE * p / self.masses
                f = force(self.potential, x)
                p = p + 0.5 * BASE * (f + constant)
            g = self.kick(x, method, k)
            p = p + 0.5 * h * g
        return {"times": np.array(times), "energies": torch.stack(energies, 1), "early": early}


def models(cache: Path) -> tuple[Explorer, Tensor, Tensor]:
    """The two networks and thermal starts, from the cache or made."""
    path = cache / "models.safetensors"
    physics, potential = Small(9, 0), Small(9, 0)
    if not path.exists():
        frames = labels()
        made = [fitted(frames, seed, steps) for seed, steps in ((0, 3000), (1, 1500))]
        kept = {
            f"{i}.{name}": v for i, net in enumerate(made) for name, v in net.state_dict().items()
        }
        save_file({**kept, "x": frames[0][-REPLICAS:].contiguous()}, path)
    stored = load_file(path)
    for i, net in enumerate((physics, potential)):
        net.double().requires_grad_(False)
        net.load_state_dict({name: stored[f"{i}.{name}"] for name in net.state_dict()})
    explorer = Explorer(physics, potential)
    # 2 ps of Langevin dynamics of the physics at 300 K.
    x, m = stored["x"], explorer.masses
    generator = torch.Generator().manual_seed(3)
    kt, step, keep = units.kB * 300.0, 0.5 * FS, math.exp(-0.01)

    def noise() -> Tensor:
        return (m * kt).sqrt() * torch.randn(x.shape, dtype=torch.float64, generator=generator)

    p, f = noise(), force(physics, x)
    for _ in range(2000):
        p = p + 0.5 * step * f
        x = x + step * p / m
        f = force(physics, x)
        p = p + 0.5 * step * f
        p = keep * p + math.sqrt(1 - keep**2) * noise()
    p = p - m * p.sum(1, keepdim=True) / m.sum()
    return explorer, x, p


def explore(cache: Path, methods: list[str], strides: list[float], ps: float) -> None:
    """Runs with small networks."""
    explorer, x, p = models(cache)
    rms = float(explorer.residual(x).square().mean().sqrt())
    print(f"residual {1e3 * rms:.0f} meV/A", flush=True)
    reference = cache / "explore.reference.safetensors"
    if not reference.exists():
        m, a, q = explorer.masses, x, p
        f = force(explorer.physics, a)
        for _ in range(1280):
            q = q + 0.5 * 0.125 * FS * f
            a = a + 0.125 * FS * q / m
            f = force(explorer.physics, a)
            q = q + 0.5 * 0.125 * FS * f
        save_file({"x": a}, reference)
    truth = load_file(reference)["x"]
    for stride in strides:
        for method in methods:
            path = cache / f"explore.{method}.{stride:g}.json"
            if path.exists():
                continue
            began = time.process_time()
            out = explorer.run(x, p, method, round(stride * FS / BASE), ps)
            row = summary(out["times"], out["energies"], x.shape[1])
            row |= {"method": method, "stride_fs": stride, "picoseconds": ps}
            row["residual_meV_per_A"] = 1e3 * rms
            if out["early"] is not None:
                off = (out["early"] - truth).square().sum(-1).mean(-1).sqrt()
                row["rmsd_160_fs_A"] = float(off.median())
            row["seconds"] = time.process_time() - began
            path.write_text(json.dumps(row))
            print(json.dumps(row), flush=True)


def summary(times: np.ndarray, energies: Tensor, atoms: int) -> dict[str, Any]:  # type: ignore[type-arg]
    """Drift and fluctuation over replicas; those whose energy moves by over 1 eV blew up."""
    whole = (energies - energies[:, :1]).abs().amax(1) < 1.0
    fits = [energy_drift(times, e.numpy(), atoms) for e in energies[whole]]
    row: dict[str, Any] = {"replicas": len(energies), "blew_up": int((~whole).sum())}
    if fits:
        drifts = np.array([fit.drift for fit in fits])
        row["signed_mean_drift_meV_per_atom_per_ps"] = float(drifts.mean())
        row["standard_error"] = float(drifts.std() / math.sqrt(len(drifts)))
        row["abs_drift_meV_per_atom_per_ps"] = float(np.median(np.abs(drifts)))
        row["fluctuation_meV_per_atom"] = float(np.median([fit.fluctuation for fit in fits]))
    return row
