"""Boxes of water under periodic GFN1-xTB: learned from nothing, then beside velocity Verlet.

A box is equilibrated by a run that knows nothing at its first step, with refits of all weights.
What it has learned serves a larger one, of which an evaluation takes a second: it is settled, and
all runs at constant energy begin where that ends and last as long; those that learn go on with what
is known. A small box, whose molecules meet their own images, is equilibrated from nothing and run
alike.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import KStepDynamics, Learning
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics import (
    energy_drift,
    radial_distributions,
    self_diffusion,
    spectral_overlap,
    vibrational_density,
)
from kstep_integrators.testing import CountingCalculator
from kstep_integrators.units import PS

__all__ = ["water_box"]

Array = NDArray[np.float64]
VOLUME, KELVIN, BASE = 3.107**3, 350.0, 0.5 * units.fs
"""Angstrom^3 for each molecule of a liquid of 1 g/cm^3; K; base step."""
FRAME = 2.0 * units.fs
"""From one kept frame to the next: every run passes them."""
PAIRS = ("O-O", "H-O")
LIMITS = (0.04, 0.03, 0.02)
"""eV/angstrom, that the residual is to stay below."""
WAYS: dict[str, int] = {
    "verlet 0.5 fs": 0,
    "verlet 0.5 fs, other momenta": 0,
    "verlet 1 fs": 0,
    "learning 2 fs": 4,
    "learning 4 fs": 8,
}


@dataclass(frozen=True)
class WaterBoxOptions(Options):
    """Options of the suite."""

    learned: int = option(3, "molecules along each edge of the box that learns from nothing")
    measured: int = option(2, "cubes of four along each edge of the box that is measured")
    small: int = option(2, "molecules along each edge of the small box")
    ps: float = option(0.6, "length of the runs of the box that is measured")
    small_ps: float = option(1.0, "the same of the small one")
    strides: int = option(300, "of up to 4 fs at a thermostat, that learn from nothing")
    settling: int = option(150, "the same, of the box that is measured")

    @classmethod
    def smoke(cls, cache: Path) -> WaterBoxOptions:
        """A few molecules, a few strides."""
        return cls(cache, 1, 1, 1, 0.01, 0.02, 3, 3)


def water_box(options: WaterBoxOptions) -> dict[str, Any]:
    """Equilibrations, runs, and what follows from them."""
    learned = _Box("learned", "sc", options.learned, options.strides, options.cache)
    measured = _Box("measured", "fcc", options.measured, options.settling, options.cache, learned)
    small = _Box("small", "sc", options.small, options.strides, options.cache)
    lengths = {"learned": 0.0, "measured": options.ps, "small": options.small_ps}
    boxes = {}
    for one in (learned, measured, small):
        start = kept(one.folder / "start.json", functools.partial(_equilibrated, one))
        box: dict[str, Any] = {"molecules": len(start["numbers"]) // 3, "runs": {}}
        box["equilibration"] = _told(start["learning"])
        for way in sorted(WAYS, key=lambda way: -WAYS[way]) if lengths[one.name] else ():
            again = functools.partial(_run, start, way, WAYS[way], lengths[one.name], one)
            box["runs"][way] = kept(one.folder / f"{way.replace(' ', '_')}.json", again)
        boxes[one.name] = _compared(start, box)
    return {"kelvin": KELVIN, "base_fs": BASE / units.fs, "boxes": boxes}


@dataclass(frozen=True)
class _Box:
    """A box: lattice that its molecules begin on, strides that settle it, where its files are.

    Without a `teacher` it learns from nothing, with refits; else it begins with what that learned.
    """

    name: str
    lattice: str
    edge: int
    strides: int
    cache: Path
    teacher: _Box | None = None

    @property
    def folder(self) -> Path:
        """Its own, made if need be."""
        folder = self.cache / f"water_box-{self.name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def model(self) -> Path:
        """File of what its equilibration has learned."""
        return self.folder / "equilibrated.safetensors"


def _atoms(start: dict[str, Any]) -> Atoms:
    atoms = Atoms(start["numbers"], start["positions"], cell=start["cell"], pbc=True)
    atoms.set_momenta(start["momenta"])
    atoms.calc = CountingCalculator(xtb_calculator("GFN1-xTB"))
    return atoms


def _molecules(lattice: str, edge: int, rng: np.random.Generator) -> Atoms:
    """Molecules on a lattice in random orientations, at 1 g/cm^3."""
    side = (VOLUME * {"sc": 1, "fcc": 4}[lattice]) ** (1.0 / 3.0)
    places = bulk("X", lattice, a=side, cubic=True) * (edge, edge, edge)
    atoms = Atoms(cell=places.cell, pbc=True)
    for place in places.positions:
        water = molecule("H2O")
        water.rotate(rng.uniform(0.0, 360.0), rng.normal(size=3))
        water.translate(place)
        atoms += water
    return atoms


def _equilibrated(box: _Box) -> dict[str, Any]:
    """A lattice of molecules, settled by a run that learns."""
    rng = np.random.default_rng(0)
    atoms = _molecules(box.lattice, box.edge, rng)
    atoms.calc = CountingCalculator(xtb_calculator("GFN1-xTB"))
    thermalize_momenta(atoms, KELVIN, rng=rng)
    model, refit = (None, "wait") if box.teacher is None else (box.teacher.model, False)
    folder = box.folder
    dynamics = KStepDynamics(
        atoms, model, k=8, timestep=BASE, thermostat="langevin", temperature_K=KELVIN,
        friction=0.02 / units.fs, rng=rng, logfile=folder / "equilibration.log", loginterval=10,
        learn=Learning(refit=refit, file=folder / "box.labels.traj"),
    )  # fmt: skip
    began = time.process_time()
    dynamics.run(box.strides)
    seconds = time.process_time() - began
    dynamics.potential.save(box.model)
    thermalize_momenta(atoms, KELVIN, rng=rng)
    Stationary(atoms)
    refits = [
        json.loads(path.read_text()) for path in sorted(folder.glob("box.refit-*/record.json"))
    ]
    learning = {
        "ps": dynamics.get_time() / PS,
        "evaluations": atoms.calc.force_evaluations,
        "seconds": seconds,
        "physics_seconds": atoms.calc.seconds,
        "refits": [{key: one[key] for key in ("labels", "seconds")} for one in refits],
        "taken": dynamics.lessons.refit_taken,
        "residuals": _residuals(dynamics),
    }
    arrays = {
        "positions": atoms.positions,
        "momenta": atoms.get_momenta(),
        "cell": atoms.cell.array,
    }
    kept_arrays = {key: value.tolist() for key, value in arrays.items()}
    return {"numbers": atoms.numbers.tolist(), **kept_arrays, "learning": learning}


def _residuals(dynamics: KStepDynamics) -> list[float]:
    """Residuals of all labels as they came, eV/angstrom."""
    grades = [] if dynamics.lessons is None else dynamics.lessons.grades
    return [grade.residual for grade in grades for _ in range(grade.count)]


def _told(learning: dict[str, Any]) -> dict[str, Any]:
    """Residuals of an equilibration as labels came, its refits and its cost."""
    residuals = learning["residuals"]
    parts = np.array_split(residuals, min(6, len(residuals)))
    quarters = [float(np.sqrt(np.mean(np.square(part)))) for part in parts]
    return {
        **{key: value for key, value in learning.items() if key != "residuals"},
        "labels": len(residuals),
        "labels_below": {f"{limit:g}": _stays(residuals, limit) for limit in LIMITS},
        "residual_in_sixths": quarters,
    }


def _run(start: dict[str, Any], way: str, k: int, length: float, box: _Box) -> dict[str, Any]:
    """One run: frames, energies, evaluations, processor seconds."""
    atoms = _atoms(start)
    if way.endswith("other momenta"):
        thermalize_momenta(atoms, KELVIN, rng=np.random.default_rng(1))
        Stationary(atoms)
    dynamics: Any
    if k:
        learn = Learning(refit=False)
        log = box.folder / f"{way.replace(' ', '_')}.log"
        dynamics = KStepDynamics(
            atoms, box.model, k=k, timestep=BASE, learn=learn, logfile=log, loginterval=10
        )
    else:
        dynamics = VelocityVerlet(atoms, float(way.split()[1]) * units.fs)
    energies: list[tuple[float, float, float]] = []
    frames: list[tuple[float, Array, Array]] = []
    recorder, recording = xtb_calculator("GFN1-xTB"), 0.0

    def look() -> None:
        nonlocal recording
        now, kinetic = float(dynamics.get_time()), atoms.get_kinetic_energy()
        # Averaged positions leave no energy at those of the run: computed for the record, apart.
        computed, conserved = atoms, None
        if k:
            conserved = dynamics.get_conserved_energy()
            if dynamics.scheme.corrector.averages:
                computed = atoms.copy()
                computed.calc = recorder
        before = time.process_time()
        total = computed.get_potential_energy() + kinetic
        if computed is not atoms:
            recording += time.process_time() - before
        energies.append((now, total, total if conserved is None else conserved))
        frames.append((now, atoms.positions.copy(), atoms.get_momenta()))

    dynamics.attach(look, 1)
    began = time.process_time()
    while dynamics.get_time() < length * PS * (1.0 - 1e-9):
        dynamics.run(10)
    seconds = time.process_time() - began - recording
    clock, total, conserved = np.array(energies).T
    late = clock >= 0.25 * clock[-1]  # strides have grown, and a start has no say
    drift, own = (
        energy_drift(clock[late], values[late], len(atoms)) for values in (total, conserved)
    )
    path = np.array([one[1] for one in frames])
    return {
        "ps": dynamics.get_time() / PS,
        "evaluations": atoms.calc.force_evaluations,
        "seconds": seconds,
        "physics_seconds": atoms.calc.seconds,
        "drift": drift.drift,
        "fluctuation": drift.fluctuation,
        "conserved_drift": own.drift,
        "conserved_fluctuation": own.fluctuation,
        "residuals": _residuals(dynamics) if k else [],
        "stride_fs": float(np.median(np.diff(clock))) / units.fs,
        "times": clock.tolist(),
        "positions": path.round(5).tolist(),
        "momenta": np.array([one[2] for one in frames]).round(6).tolist(),
    }


def _compared(start: dict[str, Any], box: dict[str, Any]) -> dict[str, Any]:
    """Figures of a box, without the frames."""
    atoms = _atoms(start)
    sides = atoms.cell.lengths()
    runs, found = box["runs"], {}
    for way, run in runs.items():
        path, momenta = np.array(run.pop("positions")), np.array(run.pop("momenta"))
        clock, late = np.array(run["times"]), slice(len(run["times"]) // 4, None)
        gr = radial_distributions(path[late], atoms.cell.array, atoms.numbers, 0.5 * min(sides), 40)
        curves = {name: np.asarray(gr[name].density) for name in PAIRS}
        spectrum = _spectrum(clock[late], momenta[late], atoms.get_masses())
        found[way] = (curves, spectrum, _diffusion(clock[late], path[late], atoms))
        residuals, blocks = run.pop("residuals"), run.pop("times")
        run["last_residual"] = float(np.mean(residuals[-20:])) if residuals else None
        run["frames"] = len(blocks)
        run["seconds_per_ps"] = run["seconds"] / run["ps"]
        run["evaluations_per_ps"] = run["evaluations"] / run["ps"]
    fine = "verlet 0.5 fs"
    for way, (curves, spectrum, diffusion) in found.items():
        run = runs[way]
        run["times_faster"] = runs[fine]["seconds_per_ps"] / run["seconds_per_ps"]
        run["rdf_distance"] = {
            name: float(np.mean(np.abs(curve - found[fine][0][name])))
            for name, curve in curves.items()
        }
        run["diffusion_A2_per_ps"] = diffusion
        if spectrum is not None and found[fine][1] is not None:
            run["vdos_overlap"] = spectral_overlap(spectrum, found[fine][1])
    return box


def _spectrum(clock: Array, momenta: Array, masses: Array) -> Any:
    """Spectrum on a common grid of frequencies, from frames every 2 or 4 fs."""
    even = np.arange(clock[0], clock[-1], FRAME)
    if len(even) < 220:  # too short for this resolution
        return None
    # Momenta between two frames of 4 fs are those of a cubic spline through them.
    from scipy.interpolate import CubicSpline

    smooth = CubicSpline(clock, momenta)(even)
    return vibrational_density(smooth, masses, FRAME, resolution=80.0)


def _diffusion(clock: Array, path: Array, atoms: Atoms) -> list[float] | None:
    """Self-diffusion of oxygen and its error, angstrom^2/ps."""
    even = np.arange(clock[0], clock[-1], 2.0 * FRAME)
    if len(even) < 60:
        return None
    from scipy.interpolate import CubicSpline

    oxygen = CubicSpline(clock, path[:, atoms.numbers == 8])(even)
    span = even[-1] - even[0]
    found = self_diffusion(oxygen, 2.0 * FRAME, 0.05 * span, 0.15 * span, blocks=4)
    return [found.coefficient, found.error]


def _stays(residuals: list[float], limit: float) -> int | None:
    """Labels after which the mean of five residuals stays below a limit."""
    if len(residuals) < 5:
        return None
    means = np.convolve(residuals, np.full(5, 0.2), "valid")
    above = np.flatnonzero(means >= limit)
    first = 0 if not len(above) else int(above[-1]) + 1
    return first if first < len(means) else None
