"""Flows on a GPU: milliseconds of a jump of k = 8 steps of 0.5 fs, and agreement with the CPU.

It needs a CUDA device and says so where there is none. The bundled network, in float32 and float64,
on ethanol at 300 K, once and as 16 and 256 replicas (all pairs, eager and compiled), and on drops
of water of some 1,000 and 10,000 atoms (neighbour lists, in open space, because networks have no
cells). ``recorded`` is the jump as a run makes it, replayed from a CUDA graph; ``one_by_one`` takes
the same steps without one. Wall-clock time between synchronizations, medians. Differences are the
largest from the same jump on the CPU in float64, step by step, for systems up to ``--check-atoms``.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule

from benchmarks.cost import displaced
from benchmarks.suite import Options, option
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.jumps.load import load_model
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.potentials.graph_flow import GraphFlow
from kstep_integrators.state import Evaluation, PhaseState

__all__ = ["gpu_flow"]

MODEL = "organic-gfn2"
K = 8
TIMESTEP = 0.5 * units.fs
REPLICAS = (1, 16, 256)
DROPS = (1_000, 10_000)
SPACING = 3.1
"""Angstrom between water molecules."""


@dataclass(frozen=True)
class GPUFlowOptions(Options):
    """Repeats of what is measured."""

    repeats: int = option(200, "timed jumps of each kind; a fifth of it for drops")
    check_atoms: int = option(3_000, "largest system that the CPU computes too")


def gpu_flow(options: GPUFlowOptions) -> dict[str, Any]:
    """Milliseconds of a recorded jump and of one taken step by step; differences from the CPU."""
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"gpu_flow needs a CUDA device; torch {torch.__version__} finds none: run it on a "
            "machine with an NVIDIA GPU and a build of torch for CUDA"
        )
    device, dtypes = torch.device("cuda"), (torch.float32, torch.float64)
    rows = []
    for many, dtype, backend in itertools.product(REPLICAS, dtypes, ("eager", "compiled")):
        state = heated(displaced("ethanol", many))
        row = measured(state, device, dtype, backend, options.repeats, options.check_atoms)
        rows.append({"system": "ethanol", "replicas": many, **row})
    for atoms, dtype in itertools.product(DROPS, dtypes):
        state = heated(state_from_atoms(drop(atoms)))
        repeats = max(3, options.repeats // 5)
        row = measured(state, device, dtype, "eager", repeats, options.check_atoms)
        rows.append({"system": "water", "replicas": 1, **row})
    return {"model": MODEL, "k": K, "timestep_fs": TIMESTEP / units.fs, "rows": rows}


def measured(
    state: PhaseState,
    device: torch.device,
    dtype: torch.dtype,
    backend: str,
    repeats: int,
    check_atoms: int,
) -> dict[str, Any]:
    """One row: times of a jump on a device, and what differs from the CPU."""
    model = _model(device, dtype, backend)
    made = model.bind(state)
    bound = made if isinstance(made, GraphFlow) else GraphFlow(made, state)  # type: ignore[arg-type]
    there = state.to(device)
    start, _ = bound(there.positions, None)
    _wait(device)
    began = time.perf_counter()
    bound.flow(there, start, TIMESTEP, K)
    _wait(device)
    first = time.perf_counter() - began

    def one_by_one() -> None:
        with torch.no_grad():
            verlet_flow(bound.forces, there, start, TIMESTEP, K)

    recorded = _milliseconds(lambda: bound.flow(there, start, TIMESTEP, K), device, repeats)
    stepwise = _milliseconds(one_by_one, device, max(3, repeats // 5))
    row: dict[str, Any] = {
        "atoms": len(state.numbers),
        "dtype": str(dtype).removeprefix("torch."),
        "backend": backend,
        "recordings": len(bound.recorder.recordings),
        "first_jump_s": first,
        "recorded_ms": statistics.median(recorded),
        "recorded_ms_quartiles": np.percentile(recorded, [25, 75]).tolist(),
        "one_by_one_ms": statistics.median(stepwise),
    }
    if device.type == "cuda":
        row["memory_MiB"] = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
    if len(state.numbers) <= check_atoms:
        row |= _differences(bound.flow(there, start, TIMESTEP, K), state)
    return row


def heated(state: PhaseState) -> PhaseState:
    """With momenta of 300 K."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(state.momenta.shape, dtype=torch.float64, generator=generator)
    return state.replace(momenta=noise * (300.0 * units.kB * state.masses).sqrt())


def drop(atoms: int) -> Atoms:
    """A cube of water molecules in open space, turned at random."""
    rng, side = np.random.default_rng(0), round((atoms / 3) ** (1 / 3))
    made = Atoms()
    for place in itertools.product(range(side), repeat=3):
        one = molecule("H2O")
        one.euler_rotate(*(360.0 * rng.random(3)), center="COM")
        one.positions += SPACING * np.array(place)
        made += one
    return made


def _differences(got: tuple[PhaseState, Evaluation], state: PhaseState) -> dict[str, float]:
    """The largest from the same jump on the CPU in float64."""
    forces = _model(torch.device("cpu"), torch.float64, "eager").bind(state)
    with torch.no_grad():
        start, _ = forces(state.positions, None)
        expected, end, _ = verlet_flow(forces, state, start, TIMESTEP, K)
    pairs = {
        "position_A": (got[0].positions, expected.positions),
        "momentum_ase": (got[0].momenta, expected.momenta),
        "energy_eV": (got[1].energy, end.energy),
        "force_eV_A": (got[1].require_forces(), end.require_forces()),
    }
    return {
        f"difference_{name}": float((mine.cpu() - theirs).abs().max())
        for name, (mine, theirs) in pairs.items()
    }


def _model(device: torch.device, dtype: torch.dtype, backend: str) -> NetworkPotential:
    loaded = load_model(MODEL, device=str(device), dtype=dtype, backend=backend)
    if not isinstance(loaded, NetworkPotential):
        raise TypeError(f"{MODEL} is a {type(loaded).__name__}, expected a NetworkPotential")
    return loaded


def _milliseconds(call: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    call()
    times = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
