"""Cost of forces and jumps of the bundled network by the native kernel, beside all else.

One core, one process, everything in turns: each round times each way for some tenths of a second,
in seconds of the processor, so that other work on the machine counts less. A jump is of k = 8 steps
of 0.5 fs. GFN2 is evaluated at one place after the other of a path of 2 fs strides, each from the
wavefunction of the one before, as in a run. Medians over rounds; ratios are medians of the ratios
within rounds. What is compiled is the same network in ``torch.compile``; it takes minutes for each
of two molecules.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta
from numpy.typing import NDArray

from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import FlowJump, load_model, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.models.coverage import species_of
from kstep_integrators.nn.native.library import LEVELS, NativeLibrary, native_library
from kstep_integrators.nn.native.network import NativeNetwork
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.potentials.network_forces import DenseForces
from kstep_integrators.state import BoundPotential, Evaluation, PhaseState
from kstep_training.prep.molecules import conformers

__all__ = ["SMILES", "alkane", "kernel", "system", "water_box"]

K, BASE = 8, 0.5 * units.fs
MODEL = "organic-gfn2"
SMILES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "Ace-Ala3-NMe": "CC(=O)" + 3 * "N[C@@H](C)C(=O)" + "NC",
    "Ace-Ala9-NMe": "CC(=O)" + 9 * "N[C@@H](C)C(=O)" + "NC",
}
BOXES = {"525": (5, 5, 7), "1029": (7, 7, 7), "3000": (10, 10, 10), "10125": (15, 15, 15)}
"""Atoms in periodic water, and molecules along each direction."""
SYSTEMS = ("water", "ethanol", "aspirin", "Ace-Ala3-NMe", "Ace-Ala9-NMe", "C166H334", "216 waters")
LARGE = SYSTEMS[-2:]
"""Those of which fewer rounds are made."""
REPLICAS, THREADS = (16, 256), (1, 2)
EAGER_UP_TO, SLICE = 700, 0.1
"""Atoms, and seconds of one way in one round."""

Array = NDArray[np.float64]


def alkane(carbons: int) -> Atoms:
    """All-trans chain."""
    i = np.arange(carbons)
    side = np.where(i % 2, 1.0, -1.0)[:, None]
    carbon = np.stack([1.255 * i, 0.43 * side[:, 0], 0.0 * i], axis=1)
    out = carbon[:, None] + np.stack(
        [np.hstack([0 * side, 0.63 * side, s * 0.89 + 0 * side]) for s in (1, -1)], axis=1
    )
    ends = [carbon[at] + [step, -0.38 * side[at, 0], 0.0] for at, step in ((0, -1.03), (-1, 1.03))]
    return Atoms(f"C{carbons}H{2 * carbons + 2}", np.vstack([carbon, out.reshape(-1, 3), ends]))


def water_box(counts: tuple[int, int, int]) -> Atoms:
    """Molecules on a lattice of liquid density, each turned at random, periodic."""
    rng = np.random.default_rng(0)
    one = named_molecule("water").positions
    places = 3.1 * np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in places]
    x = np.vstack([place + one @ turn for place, turn in zip(places, turns, strict=True)])
    symbols = named_molecule("water").get_chemical_symbols() * len(places)
    return Atoms(symbols, x, cell=3.1 * np.array(counts), pbc=True)


def system(name: str) -> Atoms:
    """One of the systems, with momenta at 300 K."""
    if name == "216 waters":
        atoms = water_box((6, 6, 6))
    elif name in BOXES:
        atoms = water_box(BOXES[name])
    elif name == "C166H334":
        atoms = alkane(166)
    else:
        atoms = conformers(SMILES[name], 1)[0] if name in SMILES else named_molecule(name)
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    return atoms


class Native:
    """The kernel itself for atoms, or replicas of them, that go on moving from jump to jump."""

    def __init__(self, atoms: Atoms, library: NativeLibrary, dtype: torch.dtype, many: int = 1,
                 threads: int = 1) -> None:  # fmt: skip
        model = load_model(MODEL, device="cpu")
        network = NativeNetwork(model.network, dtype, library)
        elements = list(model.header.network["elements"])
        species = [elements.index(number) for number in atoms.numbers] * many
        periodic = atoms.pbc.any()
        self.threads, self.system = threads, network.system(
            species, [len(atoms)] * many, np.array(atoms.cell) if periodic else None, atoms.pbc
        )  # fmt: skip
        rng = np.random.default_rng(0)
        self.start = np.tile(atoms.positions, (many, 1))
        self.start += 0.01 * rng.normal(size=self.start.shape)
        self.x, self.p = self.start.copy(), np.tile(atoms.get_momenta(), (many, 1))
        self.inverse = np.tile(1 / atoms.get_masses(), many)
        self.mobile = np.ones(len(species))
        self.energies, self.f = self.system.forces(self.x, threads=threads)

    def force(self) -> None:
        """Energy and forces at the start."""
        self.system.forces(self.start, threads=self.threads)

    def jump(self, k: int = K) -> None:
        """K steps on."""
        self.system.flow(self.x, self.p, self.energies, self.f, self.inverse, self.mobile, BASE, k,
                         threads=self.threads)  # fmt: skip


class Compiled:
    """The network in ``torch.compile``, which was the fast way on a CPU before the kernel."""

    device, timestep = torch.device("cpu"), BASE

    def __init__(self, model: NetworkPotential) -> None:
        self.model, self.forces = model, list[BoundPotential]()

    def bind(self, state: PhaseState) -> BoundPotential:
        """Forces of the only set of atoms, compiled in the first call."""
        if not self.forces:
            species = species_of(self.model.header, state)
            self.forces.append(DenseForces(self.model.network, species, state, self.device, True))
        return self.forces[0]

    def check(self, state: PhaseState) -> None:
        """Nothing to refuse."""

    def describe(self) -> dict[str, Any]:
        """Description of the model."""
        return self.model.describe()


def flow_jump(potential: Any, atoms: Atoms) -> Callable[[], None]:
    """A jump as runs make it, from where the last one landed."""
    state = state_from_atoms(atoms)
    jump = FlowJump(potential, BASE).bind(state)
    physics = Evaluation(torch.zeros(1).double(), torch.zeros_like(state.positions))
    at: list[Any] = [state, jump.begin(state)]

    def go() -> None:
        at[0], info = jump(at[0], physics, at[1], K)
        at[1] = info.end

    return go


def bound_force(potential: Any, atoms: Atoms) -> Callable[[], None]:
    """A force of a bound potential."""
    state = state_from_atoms(atoms)
    forces = potential.bind(state)

    def go() -> None:
        with torch.no_grad():
            forces(state.positions, None)

    return go


def gfn2(atoms: Atoms, native: Native) -> Callable[[], None]:
    """GFN2 to and fro along a path of 2 fs strides."""
    path = []
    for _ in range(30):
        path.append(native.x.copy())
        native.jump(4)
    order, turn = [*path, *path[-2:0:-1]], [0]
    moving = atoms.copy()
    moving.calc = xtb_calculator("GFN2-xTB")

    def go() -> None:
        moving.positions = order[turn[0] % len(order)]
        turn[0] += 1
        moving.get_forces()

    return go


def in_turns(
    ways: dict[str, Callable[[], Any]], rounds: int, first: str, clock: Callable[[], float]
) -> dict[str, Any]:
    """Microseconds of each way, and over those of the first."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            times: list[float] = []
            while sum(times) < SLICE:
                began = clock()
                call()
                times.append(clock() - began)
            spent[name].append(1e6 * statistics.median(times))
    rows: dict[str, Any] = {}
    for name, times in spent.items():
        ratios = [one / other for one, other in zip(times, spent[first], strict=True)]
        rows[name] = {"us": statistics.median(times), "us_least": min(times),
                      "ratio": statistics.median(ratios),
                      "ratio_range": [min(ratios), max(ratios)]}  # fmt: skip
    return rows


def levels() -> dict[str, NativeLibrary]:
    """The library of each instruction level that this processor has, the best first."""
    best = native_library()
    if best is None:
        raise RuntimeError("there is no native kernel to measure; `kstep doctor` says why")
    names = list(LEVELS["x86_64" if "64" in platform.machine() else platform.machine()])
    below = names[: names.index(best.level)][::-1] if best.level in names else []
    paths = {name: best.path.with_name(f"kernel.{name}{best.path.suffix}") for name in below}
    made = {n: NativeLibrary(ctypes.CDLL(str(p)), n, p) for n, p in paths.items() if p.exists()}
    return {best.level: best, **made}


def of_system(name: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Every way for one system."""
    atoms, libraries = system(name), levels()
    n, best = len(atoms), next(iter(libraries))
    began = time.process_time()
    kernel = Native(atoms, libraries[best], torch.float32)
    bind_ms = 1e3 * (time.process_time() - began)
    double = Native(atoms, libraries[best], torch.float64)
    forces: dict[str, Callable[[], Any]] = {"kernel": kernel.force, "float64": double.force}
    jumps: dict[str, Callable[[], Any]] = {"kernel": kernel.jump, "float64": double.jump}
    for level in list(libraries)[1:]:
        forces[level] = Native(atoms, libraries[level], torch.float32).force
    row: dict[str, Any] = {"system": name, "atoms": n, "bind_ms": bind_ms}
    if not atoms.pbc.any():
        eager = load_model(MODEL, device="cpu", backend="eager")
        jumps["model"] = flow_jump(load_model(MODEL, device="cpu"), atoms)
        if n <= EAGER_UP_TO:
            forces["eager"] = bound_force(eager, atoms)
            jumps["eager"] = flow_jump(eager, atoms)
        if compiled:
            old, began = Compiled(eager), time.perf_counter()
            forces["compiled"] = bound_force(old, atoms)
            with tempfile.TemporaryDirectory() as nothing:  # as for atoms never met before
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = nothing
                forces["compiled"]()
            row["compile_s"] = time.perf_counter() - began
            jumps["compiled"] = flow_jump(old, atoms)
        forces["gfn2"] = gfn2(atoms, Native(atoms, libraries[best], torch.float64))
    ways = {f"force {name}": call for name, call in forces.items()}
    ways |= {f"jump {name}": call for name, call in jumps.items()}
    for call in ways.values():
        call()
    row |= {"pairs": kernel.system.pairs, "system_bytes": kernel.system.bytes}
    row |= {"level": best, "load": os.getloadavg()[0]}
    return {**row, "ways": in_turns(ways, rounds, "force kernel", time.process_time)}


def of_box(name: str) -> dict[str, Any]:
    """A force, a jump and the memory of one periodic box; the peak is of the process so far."""
    atoms, (library, *_) = system(name), levels().values()
    native = Native(atoms, library, torch.float32)
    native.jump(1)
    forces, jumps = [], []
    for _ in range(5):
        for call, times in ((native.force, forces), (native.jump, jumps)):
            began = time.process_time()
            call()
            times.append(1e6 * (time.process_time() - began) / len(atoms))
    return {
        "atoms": len(atoms),
        "pairs_per_atom": native.system.pairs / len(atoms),
        "force_us_per_atom": statistics.median(forces),
        "jump_us_per_atom": statistics.median(jumps),
        "us_per_atom_least": [min(forces), min(jumps)],
        "system_bytes": native.system.bytes,
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def batches(rounds: int) -> list[dict[str, Any]]:
    """Jumps of replicas of ethanol by one thread and two, over those of one molecule.

    Wall-clock and processor seconds both: threads pay in the one what they gain in the other.
    """
    atoms, (library, *_) = system("ethanol"), levels().values()
    kinds = [(1, 1), *((many, threads) for many in REPLICAS for threads in THREADS)]
    runs = {kind: Native(atoms, library, torch.float32, *kind) for kind in kinds}
    spent: dict[tuple[int, int], list[list[float]]] = {kind: [[], []] for kind in kinds}
    for _ in range(rounds):
        for (many, threads), run in runs.items():
            began, cpu, jumps = time.perf_counter(), time.process_time(), 0
            while not jumps or time.perf_counter() - began < SLICE:
                run.jump()
                jumps += 1
            wall, used = time.perf_counter() - began, time.process_time() - cpu
            for times, seconds in zip(spent[many, threads], (wall, used), strict=True):
                times.append(1e6 * seconds / jumps / many)
    return [
        {
            "replicas": many,
            "threads": threads,
            **{f"{name}_us_per_replica": statistics.median(times)
               for name, times in zip(("wall", "cpu"), spent[many, threads], strict=True)},
            "wall_us_least": min(spent[many, threads][0]),
            "system_bytes": run.system.bytes,
        }
        for (many, threads), run in runs.items()
    ]  # fmt: skip


@dataclass(frozen=True)
class KernelOptions(Options):
    """Systems and length."""

    systems: tuple[str, ...] = option(SYSTEMS, "some of them")
    boxes: tuple[str, ...] = option(tuple(BOXES), "periodic water, by number of atoms")
    rounds: int = option(9, "of each system up to 200 atoms; a third of them beyond")
    compiled: tuple[str, ...] = option(("ethanol", "aspirin"), "systems that are compiled too")

    @classmethod
    def smoke(cls, cache: Path) -> KernelOptions:
        """Water, one round."""
        return cls(cache, ("water",), (), 1, ())


def kernel(options: KernelOptions) -> dict[str, Any]:
    """Microseconds of forces, of jumps of k = 8 and of GFN2, of replicas, and of large boxes."""
    folder = options.cache / "kernel"
    rows = [
        kept(folder / f"{name}.json", lambda name=name: of_system(  # type: ignore[misc]
            name, options.rounds if name not in LARGE else -(-options.rounds // 3),
            name in options.compiled))
        for name in options.systems
    ]  # fmt: skip
    boxes = [kept(folder / f"box-{name}.json", lambda name=name: of_box(name))  # type: ignore[misc]
             for name in options.boxes]  # fmt: skip
    model = load_model(MODEL, device="cpu")
    network = NativeNetwork(model.network, torch.float32, next(iter(levels().values())))
    sizes = {key: model.header.network[key] for key in ("channels", "layers", "radial", "cutoff")}
    replicas = kept(folder / "replicas.json", lambda: batches(options.rounds))
    return {"k": K, "network": sizes, "network_bytes": network.bytes,
            "rows": rows, "boxes": boxes, "replicas": replicas}  # fmt: skip
