"""Time and memory of network forces in periodic cells, by atoms, on one thread.

Water on the bundled network and copper on the untrained features that runs learn on, in float32:
forces by the native kernel with its list of neighbours kept and with the list made anew, the list
alone by vesin as eager forces take it, and eager forces as far as they fit. Seconds are those of
the processor, so that other work on the machine counts less.
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from benchmarks.kernel import MODEL, water_box
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import load_model
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.learning.shown_backbone import shown_backbone
from kstep_integrators.mechanics.near_pairs import neighbor_pairs
from kstep_integrators.models.coverage import species_of
from kstep_integrators.nn.native.library import native_library
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.potentials.native_forces import NativeForces, PackedNetwork
from kstep_integrators.potentials.network_forces import ListForces

__all__ = ["cells_cost"]

SIZES: dict[str, dict[int, tuple[int, int, int]]] = {
    "water": {
        108: (3, 3, 4), 300: (4, 5, 5), 1029: (7, 7, 7), 3000: (10, 10, 10),
        10125: (15, 15, 15), 20577: (19, 19, 19),
    },
    "copper": {
        108: (3, 3, 3), 256: (4, 4, 4), 864: (6, 6, 6), 2916: (9, 9, 9),
        10976: (14, 14, 14), 19652: (17, 17, 17),
    },
}  # fmt: skip
"""Atoms, and molecules or cubic cells along each direction."""
TIMES = ("force_us_per_atom", "force_anew_us_per_atom", "vesin_us_per_atom")
SHIFT, SECONDS = 0.6, 0.2
"""angstrom: beyond half the skin of a list; of one way at one size."""


def system(name: str, atoms: int) -> tuple[Atoms, Any, torch.Tensor]:
    """Atoms, the network, and its index of each atom's element."""
    counts = SIZES[name][atoms]
    if name == "water":
        potential, box = load_model(MODEL, device="cpu"), water_box(counts)
    else:
        header, network = shown_backbone((29,), None, repulsion=True, packed=True)
        potential = NetworkPotential(network, header, device="cpu")
        box = bulk("Cu", cubic=True, a=3.61) * counts
        box.rattle(0.05, seed=0)
    return box, potential.network, species_of(potential.header, state_from_atoms(box))


def seconds(call: Callable[[], Any]) -> float:
    """Median of calls, after one that is not timed."""
    call()
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS:
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times)


def by_kernel(name: str, atoms: int) -> dict[str, Any]:
    """Microseconds for each atom: the kernel's forces, and vesin's list; the kernel's memory."""
    box, network, species = system(name, atoms)
    state, library = state_from_atoms(box), native_library()
    if library is None:
        raise RuntimeError("there is no native kernel to measure; `kstep doctor` says why")
    forces = NativeForces(PackedNetwork(network, library), network, species, state, torch.float32)
    steps = [0]

    def moved() -> None:
        # All atoms move as one: the same pairs, which the kernel has to find anew.
        steps[0] += 1
        forces(state.positions + SHIFT * (steps[0] % 2), None)

    def pairs() -> torch.Tensor:
        return neighbor_pairs(state.positions, state.cell[0], state.pbc, network.cutoff)[0]

    kept_list = seconds(lambda: forces(state.positions, None))
    anew, listed = seconds(moved), seconds(pairs)
    native = forces.system(torch.float32)
    return {
        "system": name, "atoms": atoms, "pairs_per_atom": len(pairs()) / atoms,
        "force_us_per_atom": 1e6 * kept_list / atoms,
        "force_anew_us_per_atom": 1e6 * anew / atoms,
        "vesin_us_per_atom": 1e6 * listed / atoms,
        "kB_per_atom": native.bytes / 1e3 / atoms,
    }  # fmt: skip


def eager(name: str, atoms: int) -> dict[str, Any]:
    """Microseconds for each atom of eager forces on a list, and how much more the process held."""
    box, network, species = system(name, atoms)
    state = state_from_atoms(box)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forces = ListForces(network, species, state, torch.device("cpu"), False)
    with torch.no_grad():
        _, skin = forces(state.positions, None)
        spent = seconds(lambda: forces(state.positions, skin))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "system": name, "atoms": atoms, "eager_us_per_atom": 1e6 * spent / atoms,
        "eager_kB_per_atom": 1.024 * (peak - before) / atoms,
    }  # fmt: skip


def _alone(name: str, atoms: int) -> dict[str, Any]:
    """The same in a process of its own, whose peak of memory is of nothing else."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, torch.set_num_threads, (1,)) as pool:
        return pool.submit(eager, name, atoms).result()


def exponent(rows: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """Slope of the logarithm of a time against that of the atoms, with its standard error."""
    n = np.array([row["atoms"] for row in rows], dtype=np.float64)
    x, y = np.log(n), np.log(n * np.array([row[key] for row in rows]))
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return {"exponent": float(slope), "error": float(covariance[0, 0] ** 0.5)}


@dataclass(frozen=True)
class CellsCostOptions(Options):
    """Sizes."""

    fit_from: int = option(800, "atoms: where the cost of a call itself no longer counts")
    largest: int = option(21_000, "atoms")
    largest_eager: int = option(300, "atoms of eager forces, which take more memory")

    @classmethod
    def smoke(cls, cache: Path) -> CellsCostOptions:
        """The three smallest."""
        return cls(cache, 0, 1_100, 108)


def cells_cost(options: CellsCostOptions) -> dict[str, Any]:
    """Forces and lists of neighbours in cells of water and copper, and how they grow."""
    folder, rows, fits = (
        options.cache / "cells_cost",
        list[dict[str, Any]](),
        list[dict[str, Any]](),
    )
    plan = [(name, n) for name, sizes in SIZES.items() for n in sizes if n <= options.largest]
    slow: dict[tuple[str, int], dict[str, Any]] = {}
    for name, n in sorted(plan, key=lambda one: one[1]):
        if n <= options.largest_eager:
            make = functools.partial(_alone, name, n)
            slow[name, n] = kept(folder / f"eager-{name}-{n}.json", make)
    for name, n in plan:
        row = kept(folder / f"{name}-{n}.json", functools.partial(by_kernel, name, n))
        rows.append(row | slow.get((name, n), {}))
    for name in SIZES:
        mine = [r for r in rows if r["system"] == name and r["atoms"] >= options.fit_from]
        fits += [{"system": name, "what": what, **exponent(mine, what)} for what in TIMES]
    return {"rows": rows, "fit_from": options.fit_from, "fits": fits}
