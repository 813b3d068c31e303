"""Boxes of water under periodic GFN1-xTB: runs that learn from nothing, beside velocity Verlet.

The small box is for structure and motion, over equal simulated time; the large one for cost, as an
evaluation of it takes a second. Every run begins from the same geometry and momenta, and a learning
run knows nothing at its first step.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import molecule
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
SPACING, KELVIN, BASE = 3.107, 350.0, 0.5 * units.fs
"""Angstrom between molecules of a liquid of 1 g/cm^3; K; base step."""
FRAME = 2.0 * units.fs
"""From one kept frame to the next: every run passes them."""
PAIRS = ("O-O", "H-O")
LIMITS = (0.04, 0.03, 0.02)
"""eV/angstrom, that the residual is to stay below."""
WAYS: dict[str, int] = {
    "verlet 0.5 fs": 0,
    "verlet 1 fs": 0,
    "learning 2 fs": 4,
    "learning 4 fs": 8,
}


@dataclass(frozen=True)
class WaterBoxOptions(Options):
    """Options of the suite."""

    small: tuple[int, ...] = option((2, 2, 2), "molecules along each edge of the small box")
    large: tuple[int, ...] = option((3, 3, 3), "the same of the large box")
    small_ps: float = option(1.0, "length of runs of the small box")
    large_ps: float = option(0.2, "length of learning runs of the large box")
    verlet_ps: float = option(0.1, "length of velocity Verlet of the large box")
    settling: int = option(60, "strides of 4 fs at a thermostat before all runs")

    def smoke(self) -> WaterBoxOptions:
        """A size for tests."""
        return WaterBoxOptions(self.cache, (2, 1, 1), (2, 1, 1), 0.02, 0.02, 0.02, 3)


def water_box(options: WaterBoxOptions) -> dict[str, Any]:
    """Runs of both boxes, and what follows from them."""
    result: dict[str, Any] = {"kelvin": KELVIN, "base_fs": BASE / units.fs, "boxes": {}}
    for name, edges in (("large", options.large), ("small", options.small)):
        folder = options.cache / f"water_box-{name}"
        make = functools.partial(_settled, edges, options.settling)
        start = kept(folder / "start.json", make)
        box: dict[str, Any] = {"molecules": int(np.prod(edges)), "runs": {}}
        runs = dict(WAYS) if name == "large" else {**WAYS, "verlet 0.5 fs, other momenta": 0}
        for way in sorted(runs, key=lambda one: -runs[one]):
            length = options.small_ps
            if name == "large":
                length = options.large_ps if runs[way] else options.verlet_ps
            again = functools.partial(_run, start, way, runs[way], length)
            box["runs"][way] = kept(folder / f"{way.replace(' ', '_')}.json", again)
        result["boxes"][name] = _compared(start, box)
    return result


def _atoms(start: dict[str, Any]) -> Atoms:
    atoms = Atoms(start["numbers"], start["positions"], cell=start["cell"], pbc=True)
    atoms.set_momenta(start["momenta"])
    atoms.calc = CountingCalculator(xtb_calculator("GFN1-xTB"))
    return atoms


def _settled(edges: tuple[int, ...], strides: int) -> dict[str, Any]:
    """Molecules on a lattice in random orientations, settled by a run that learns."""
    rng, atoms = np.random.default_rng(0), Atoms()
    for place in np.ndindex(*edges):
        water = molecule("H2O")
        water.rotate(rng.uniform(0.0, 360.0), rng.normal(size=3))
        water.translate(SPACING * np.array(place))
        atoms += water
    atoms.cell, atoms.pbc = SPACING * np.array(edges), True
    atoms.calc = xtb_calculator("GFN1-xTB")
    thermalize_momenta(atoms, KELVIN, rng=rng)
    dynamics = KStepDynamics(
        atoms, None, k=4, timestep=BASE, learn=Learning(refit=False), thermostat="langevin",
        temperature_K=KELVIN, friction=0.02 / units.fs, rng=rng,
    )  # fmt: skip
    dynamics.run(strides)
    thermalize_momenta(atoms, KELVIN, rng=rng)
    Stationary(atoms)
    arrays = {
        "positions": atoms.positions,
        "momenta": atoms.get_momenta(),
        "cell": atoms.cell.array,
    }
    return {"numbers": atoms.numbers.tolist(), **{k: v.tolist() for k, v in arrays.items()}}


def _run(start: dict[str, Any], way: str, k: int, length: float) -> dict[str, Any]:
    """One run: frames, energies, evaluations, processor seconds."""
    atoms = _atoms(start)
    if way.endswith("other momenta"):
        thermalize_momenta(atoms, KELVIN, rng=np.random.default_rng(1))
        Stationary(atoms)
    dynamics: Any
    if k:
        learn = Learning(refit=False)
        dynamics = KStepDynamics(atoms, None, k=k, timestep=BASE, learn=learn)
    else:
        dynamics = VelocityVerlet(atoms, float(way.split()[1]) * units.fs)
    energies: list[tuple[float, float]] = []
    frames: list[tuple[float, Array, Array]] = []

    def look() -> None:
        now = float(dynamics.get_time())
        energies.append((now, atoms.get_potential_energy() + atoms.get_kinetic_energy()))
        frames.append((now, atoms.positions.copy(), atoms.get_momenta()))

    dynamics.attach(look, 1)
    began = time.process_time()
    while dynamics.get_time() < length * PS * (1.0 - 1e-9):
        dynamics.run(10)
    seconds = time.process_time() - began
    grades = [grade.residual for grade in dynamics.lessons.grades] if k else []
    done = dynamics.get_time() / PS
    clock, total = np.array(energies).T
    late = clock >= 0.25 * clock[-1]  # strides have grown, and a start has no say
    drift = energy_drift(clock[late], total[late], len(atoms))
    path = np.array([one[1] for one in frames])
    return {
        "ps": done,
        "evaluations": atoms.calc.force_evaluations,
        "seconds": seconds,
        "physics_seconds": atoms.calc.seconds,
        "drift": drift.drift,
        "fluctuation": drift.fluctuation,
        "residuals": grades,
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
        run["labels_below"] = {f"{limit:g}": _stays(residuals, limit) for limit in LIMITS}
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
