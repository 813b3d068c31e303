"""Ways to correct long strides: what keeps the correction and none of the heating.

    python -m benchmarks.correctors CACHE explore [--strides 4 8] [--methods ...]
    python -m benchmarks.correctors CACHE confirm [--molecules ethanol] [--methods ...] [--seeds 2]
    python -m benchmarks.correctors CACHE report

`explore`: ethanol, many replicas at once. Physics and potential are two small networks of inverse
distances, fitted to `organic-gfn2` for different times, so that all derivatives are cheap and
methods that need the physics at other positions can be tried. `confirm`: GFN2 with `organic-gfn2`
inside. The base step is 0.5 fs; energies are the physics at the sampled positions.

Methods are named by where the physics is evaluated and what multiplies the residual R. With x the
positions, f a filter of the Hessian's modes, A(x) the positions averaged along the flow of the
potential from rest, over a window of one stride (`mean`) or, with falling weights, two (`hat`), and
A_x its Jacobian: `impulse` R(x); `octic-1.2` f R(x); `mean` and `hat` A_x^T R(x); `molly-mean` and
`molly-hat` A_x^T R(A(x)), which is symplectic; `bonds` R(x) without what changes bonds of hydrogen;
`held` R(x_n) at all base steps of the stride that follows, not reversible; `none` nothing.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.data import covalent_radii
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.common import write_result
from benchmarks.starts import thermalized
from kstep_integrators import DynamicsFailed, KStepDynamics, load_model, named_molecule
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import Corrector, Filtered, Impulse, NoCorrection
from kstep_integrators.diagnostics import energy_drift
from kstep_integrators.filters import FILTERS
from kstep_integrators.hessians import filtered
from kstep_integrators.jumps.base import BoundJump
from kstep_integrators.state import Correction, Evaluation, PhaseState, make_state
from kstep_integrators.testing import CountingCalculator

FS = units.fs
BASE = 0.5 * FS
SAMPLE_FS = 24.0
REPLICAS = 12
SHAPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "quartic": lambda x, c: 1.0 / (1.0 + (x / c) ** 4),
    "octic": lambda x, c: 1.0 / (1.0 + (x / c) ** 8),
    "gauss": lambda x, c: torch.exp(-((x / c) ** 2)),
    "sharp": lambda x, c: 1.0 / (1.0 + (x / c) ** 32),
}
SCAN = tuple(f"{shape}-{cutoff}" for shape in SHAPES for cutoff in (1.0, 1.2, 1.5, 2.0))
FLOWS = ("mean", "hat", "molly-mean", "molly-hat")
EXPLORED = ("impulse", "none", "held", "bonds", *FLOWS, *SCAN)


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
    step, keep = 1.0 * FS, math.exp(-0.01)
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


def window(kind: str, k: int) -> Tensor:
    """Weights of the positions after 0, 1, ... base steps."""
    if kind == "mean":
        weights = torch.ones(k + 1, dtype=torch.float64)
        weights[-1] = 0.5
    else:
        weights = 1.0 - torch.arange(2 * k, dtype=torch.float64) / (2 * k)
    weights[0] = 0.5
    return weights / weights.sum()


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


def without_bonds(state: PhaseState, r: Tensor) -> Tensor:
    """Take out, in mass-weighted coordinates, what changes lengths of bonds of hydrogen.

    Every hydrogen has one bond, to its nearest neighbour.
    """
    n = int((state.batch == 0).sum())
    numbers = state.numbers[:n]
    masses = state.masses[:n]
    x = state.positions.reshape(-1, n, 3)
    distances = torch.cdist(x, x)
    radii = torch.tensor(covalent_radii)[numbers]
    scaled = distances[0] / (radii + radii.unsqueeze(1)) + 9.0 * torch.eye(n)
    hydrogens = torch.nonzero(numbers == 1).flatten()
    bonds = [(int(i), int(scaled[i].argmin())) for i in hydrogens]
    rows = torch.zeros(len(x), len(bonds), n, 3, dtype=torch.float64)
    for row, (i, j) in enumerate(bonds):
        unit = (x[:, i] - x[:, j]) / (x[:, i] - x[:, j]).norm(dim=-1, keepdim=True)
        rows[:, row, i], rows[:, row, j] = unit, -unit
    weighted = (rows / masses.sqrt()).flatten(2)
    wide = (r.reshape(-1, n, 3) / masses.sqrt()).flatten(1)
    gram = weighted @ weighted.mT
    parts = torch.linalg.solve(gram, (weighted @ wide.unsqueeze(-1)))
    left = wide - (weighted.mT @ parts).squeeze(-1)
    return (left.reshape(-1, n, 3) * masses.sqrt()).reshape(-1, 3)


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


class ByModes:
    """A filter that the package does not have."""

    needs_forces = True

    def __init__(self, shape: str) -> None:
        self.name, self.shape = "filtered", shape

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """The filtered residual."""
        kind, cutoff = self.shape.split("-")

        def function(squares: Tensor) -> Tensor:
            return SHAPES[kind](stride * squares.clamp(min=0).sqrt(), float(cutoff))

        r = residual(physics, inner)
        return Correction(filtered(jump.linearized(state), state, r, function, 64), stride)


class ByFlow:
    """A_x^T R: the adjoint of an average A along the flow from rest, R at x or at A(x)."""

    needs_forces = True

    def __init__(self, method: str) -> None:
        self.name, self.kind = "filtered", method.split("-")[-1]
        # One more evaluation for each stride: energies at x are for the record alone.
        self.there = xtb_calculator("GFN2-xTB") if method.startswith("molly") else None

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """Positions forward, then the adjoint backward, one Hessian-vector product a step."""
        weights = window(self.kind, round(stride / BASE))
        forces: Any = jump.forces  # type: ignore[attr-defined]
        r, m = residual(physics, inner), state.masses
        path = [state.positions]
        with torch.no_grad():
            f = forces(path[0], None)[0].require_forces()
            path.append(path[0] + 0.5 * BASE**2 * f / m)
            while len(path) < len(weights):
                f = forces(path[-1], None)[0].require_forces()
                path.append(2 * path[-1] - path[-2] + BASE**2 * f / m)
        if self.there is not None:
            mean = sum(weight * x for weight, x in zip(weights, path, strict=True))
            atoms = Atoms(state.numbers.numpy(), positions=mean.numpy(), calculator=self.there)
            with torch.no_grad():
                f = forces(mean, None)[0].require_forces()
            r = torch.from_numpy(atoms.get_forces()) - f
        after, now = torch.zeros_like(r), weights[-1] * r
        for step in range(len(weights) - 2, -1, -1):
            at = state.replace(positions=path[step])
            bent = BASE**2 * jump.linearized(at)((now / m).unsqueeze(0))[0]
            whole = weights[step] * r
            pulled = 2 * now - after - bent if step else now - after - 0.5 * bent
            after, now = now, whole + pulled

        def products(vectors: Tensor) -> Tensor:
            return torch.zeros_like(vectors)

        if self.there is None:
            # No net torque: a filter of one takes nothing else away.
            now = filtered(products, state, now, torch.ones_like, 64)
        return Correction(now, stride)


class Bonds:
    """The residual without what changes bonds of hydrogen."""

    name = "filtered"
    needs_forces = True

    def __call__(
        self,
        state: PhaseState,
        physics: Evaluation,
        inner: Evaluation | None,
        stride: float,
        jump: BoundJump,
    ) -> Correction:
        """Without a Hessian."""
        return Correction(without_bonds(state, residual(physics, inner)), stride)


def residual(physics: Evaluation, inner: Evaluation | None) -> Tensor:
    """Of the forces."""
    if inner is None:
        raise ValueError("a corrector of this benchmark needs a flow")
    return physics.require_forces() - inner.require_forces()


def corrector(method: str) -> Corrector:
    """By the name of a method."""
    if method in ("impulse", "none"):
        return Impulse() if method == "impulse" else NoCorrection()
    if method in FILTERS:
        return Filtered(method)
    if method in FLOWS:
        return ByFlow(method)
    return Bonds() if method == "bonds" else ByModes(method)


def confirm(
    cache: Path,
    molecules: list[str],
    methods: list[str],
    strides: list[float],
    seeds: int,
    ps: float,
) -> None:
    """Runs on GFN2."""
    for seed in range(seeds):
        for molecule in molecules:
            for stride in strides:
                for method in methods:
                    path = cache / f"confirm.{molecule}.{method}.{stride:g}.{seed}.json"
                    if not path.exists():
                        row = real(cache, molecule, method, stride, seed, ps)
                        path.write_text(json.dumps(row))
                        print(json.dumps(row), flush=True)


def start(cache: Path, molecule: str, seed: int) -> tuple[Any, Tensor]:
    """A thermal start under GFN2, and where 160 fs of Verlet with 0.125 fs lead."""
    path = cache / f"start.{molecule}.{seed}.safetensors"
    if not path.exists():
        atoms = thermalized(molecule, seed=seed)
        x, p = atoms.get_positions(), atoms.get_momenta()
        for _ in range(1280):
            atoms.set_momenta(atoms.get_momenta() + 0.0625 * FS * atoms.get_forces())
            step = 0.125 * FS * atoms.get_momenta() / atoms.get_masses()[:, None]
            atoms.set_positions(atoms.get_positions() + step)
            atoms.set_momenta(atoms.get_momenta() + 0.0625 * FS * atoms.get_forces())
        arrays = {"x": x, "p": p, "end": atoms.get_positions()}
        save_file({name: torch.tensor(a) for name, a in arrays.items()}, path)
    stored = load_file(path)
    atoms = named_molecule(molecule)
    atoms.calc = xtb_calculator("GFN2-xTB")
    atoms.set_positions(stored["x"].numpy())
    atoms.set_momenta(stored["p"].numpy())
    return atoms, stored["end"]


def real(
    cache: Path, molecule: str, method: str, stride: float, seed: int, ps: float
) -> dict[str, Any]:
    """One run on GFN2."""
    atoms, truth = start(cache, molecule, seed)
    atoms.calc = counter = CountingCalculator(atoms.calc)
    model = load_model("organic-gfn2", device="cpu", compile=True)
    k = round(stride * FS / BASE)
    dynamics = KStepDynamics(atoms, model, k, BASE, corrector(method))
    row: dict[str, Any] = {"molecule": molecule, "method": method, "stride_fs": stride}
    row |= {"seed": seed, "picoseconds": ps}
    times, energies = [], []

    def sample() -> None:
        now = dynamics.get_time()
        if abs(now - 160 * FS) < 0.01 * FS:
            off = torch.from_numpy(atoms.get_positions()) - truth
            row["rmsd_160_fs_A"] = float(off.square().sum(-1).mean().sqrt())
        if dynamics.nsteps % max(1, round(SAMPLE_FS / stride)) == 0:
            times.append(now)
            energies.append(atoms.get_total_energy())

    dynamics.attach(sample, interval=1)
    began = time.process_time()
    try:
        dynamics.run(round(1000 * ps / stride))
    except DynamicsFailed as error:
        row["error"] = str(error)
    row["seconds"] = time.process_time() - began
    drift = energy_drift(np.array(times), np.array(energies), len(atoms))
    row["drift_meV_per_atom_per_ps"] = drift.drift
    row["fluctuation_meV_per_atom"] = drift.fluctuation
    row["residual_meV_per_A"] = 1e3 * (dynamics.stats.residual_rms or 0.0)
    row["fallbacks"], row["evaluations"] = dynamics.stats.fallbacks, counter.evaluations
    return row


def report(cache: Path) -> None:
    """Gather the runs into one result."""
    explored = [json.loads(p.read_text()) for p in sorted(cache.glob("explore.*.json"))]
    rows = [json.loads(p.read_text()) for p in sorted(cache.glob("confirm.*.json"))]
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["molecule"], row["method"], row["stride_fs"]), []).append(row)
    confirmed = []
    for (molecule, method, stride), runs in sorted(groups.items()):
        drifts = [r["drift_meV_per_atom_per_ps"] for r in runs]
        entry = {"molecule": molecule, "method": method, "stride_fs": stride, "runs": len(runs)}
        entry["picoseconds"] = runs[0]["picoseconds"]
        entry["signed_mean_drift_meV_per_atom_per_ps"] = float(np.mean(drifts))
        entry["abs_drift_meV_per_atom_per_ps"] = float(np.median(np.abs(drifts)))
        for name in ("fluctuation_meV_per_atom", "rmsd_160_fs_A", "residual_meV_per_A"):
            known = [r[name] for r in runs if name in r]
            entry[name] = float(np.median(known)) if known else None
        entry["fallbacks"] = sum(r["fallbacks"] for r in runs)
        confirmed.append(entry)
        print(json.dumps(entry))
    for row in explored:
        print(json.dumps(row))
    write_result(
        "correctors",
        {"what": __doc__, "explored": explored, "confirmed": confirmed, "rows": rows},
    )


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("what", choices=["explore", "confirm", "report"])
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--molecules", nargs="+", default=["ethanol"])
    parser.add_argument("--strides", nargs="+", type=float, default=[8.0, 4.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--picoseconds", type=float, default=2.0)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.what == "report":
        report(given.cache)
    elif given.what == "explore":
        methods = given.methods or list(EXPLORED)
        explore(given.cache, methods, given.strides, given.picoseconds)
    else:
        methods = given.methods or ["impulse", "octic", "none"]
        confirm(
            given.cache, given.molecules, methods, given.strides, given.seeds, given.picoseconds
        )


if __name__ == "__main__":
    main()
