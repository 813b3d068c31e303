"""A reporter for OpenMM: runs of ``KStepIntegrator`` as trajectories to learn from."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openmm
from openmm import unit

from kstep_integrators import units
from kstep_integrators.arguments import (
    SetOnce,
    path_of,
    positive_integer,
    real_number,
    true_or_false,
    whole_number,
)
from kstep_integrators.openmm import KStepIntegrator
from kstep_training.trajectory import Array, Trajectory, read_npz, write_npz

__all__ = ["TrajectoryReporter"]

_NM_PS = unit.nanometer / unit.picosecond
_COLUMNS = (
    "positions", "velocities", "forces", "energies", "temperature", "time", "has_label",
)  # fmt: skip


class TrajectoryReporter(SetOnce):
    """Writes NPZ trajectories (schema 1) with the forces that the integrator has evaluated anyway.

    Labels cost no evaluation: forces and energy at a landing are variables of the integrator. What
    training windows may not span ends a file and begins the next: a jump undone or rejected, and
    whatever moves or kicks particles beside the integrator or changes what it does (positions or
    velocities set, a minimization, a state loaded, a thermostat that is a force, another step size
    or parameter). With a heat bath the files say so, and no window is cut from them; their frames
    serve force matching. Times are those of the Context where a file begins, and go on by the
    strides that were made.

    Parameters
    ----------
    folder : str or Path
        Gets ``NAME.300K.0.0.npz`` and so on, as ``kstep simulate`` writes them.
    interval : int
        Steps of the integrator between frames.
    name : str
        Of the molecule.
    method : str
        The physics, such as ``"GFN2-xTB"``: the name that ``kstep dataset`` will know it by.
    temperature_K : float
        The temperature that the run stands for.
    smiles : str, optional
    charge, multiplicity : int
    trajectory : int
        Number of the run: of the same molecule and temperature, each has its own.
    frames_per_file : int
        Frames are kept until there are so many, the file ends or :meth:`close` is called.

    append : bool
        The run goes on from a checkpoint: frames of the same trajectory at the time of its first
        report or later are removed, new files follow the old ones.

    Raises
    ------
    ValueError
        If numbers are too small.
    TypeError
        If an argument is of another type. Attributes cannot be changed: AttributeError.
    FileExistsError
        If there are files of this trajectory, and ``append`` is false.
    """

    def __init__(
        self,
        folder: str | Path,
        interval: int,
        *,
        name: str,
        method: str,
        temperature_K: float,
        smiles: str | None = None,
        charge: int = 0,
        multiplicity: int = 1,
        trajectory: int = 0,
        frames_per_file: int = 1000,
        append: bool = False,
    ) -> None:
        interval = positive_integer("interval", interval, "steps between frames")
        frames_per_file = positive_integer("frames_per_file", frames_per_file, "frames of a file")
        for text, value in (("name", name), ("method", method), ("smiles", smiles)):
            known = (isinstance(value, str) and value) or (text == "smiles" and value is None)
            if not known:
                raise TypeError(f"{text} is {value!r}, expected text: the {text} of the run")
        kelvin = real_number("temperature_K", temperature_K, "kelvin that the run stands for")
        if not (math.isfinite(kelvin) and kelvin >= 0):
            raise ValueError(f"temperature_K is {kelvin}, expected a finite number >= 0")
        if isinstance(charge, bool) or not isinstance(charge, int | np.integer):
            raise TypeError(f"charge is {charge!r}, expected a whole number of e: the total charge")
        multiplicity = positive_integer("multiplicity", multiplicity, "2 S + 1")
        trajectory = whole_number("trajectory", trajectory, "number of the run")
        append = true_or_false("append", append)
        if frames_per_file < 2:
            raise ValueError(
                f"interval is {interval} and frames_per_file {frames_per_file}; expected at least "
                "1 and 2"
            )
        self.folder, self.interval = path_of("folder", folder), interval
        self.frames_per_file, self.temperature = frames_per_file, temperature_K
        self.stem = f"{name}.{temperature_K:g}K.{trajectory}"
        if self._files() and not append:
            raise FileExistsError(
                f"{self.folder} has files of {self.stem}; pass append=True if this run goes on "
                "from a checkpoint of that one, or another number as trajectory=..."
            )
        self.metadata: dict[str, Any] = {
            "method": method,
            "stage": "production",
            "name": name,
            "smiles": smiles,
            "charge": int(charge),
            "multiplicity": multiplicity,
            "trajectory": trajectory,
            "versions": {"openmm": openmm.__version__},
        }
        self._frames: list[dict[str, Any]] = []
        self._fixed: _Fixed | None = None
        self._before: _Moment | None = None

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:
        """Steps until the next frame, which needs positions and velocities.

        Raises
        ------
        ValueError
            If the integrator keeps no forces, the System is periodic, particles have no elements,
            or constraints are not those of bonds with hydrogen.
        """
        if self._fixed is None:
            self._fixed = _fixed(simulation)
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": False, "include": ["positions", "velocities"]}

    def report(self, simulation: Any, state: openmm.State) -> None:
        """Keep one frame.

        Raises
        ------
        ValueError
            As :meth:`describeNextReport`.
        """
        integrator = simulation.integrator
        clock = state.getTime().value_in_unit(unit.picosecond) * units.PS
        if self._fixed is None:
            self._fixed = _fixed(simulation)
        now = _Moment.of(integrator, clock)
        if self._before is None:
            self._remove_from(clock)
        elif now.follows(self._before, self.interval):
            now = dataclasses.replace(now, time=self._before.time + self.interval * now.stride)
        else:
            self.close()
        self._before = now
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        kept = np.array(integrator.getPerDofVariableByName("kstep_kept"))
        forces = np.array(integrator.getPerDofVariableByName("kstep_force"))
        energy = integrator.getGlobalVariableByName("kstep_potential")
        self._frames.append(
            {
                "positions": positions * units.NM,
                "velocities": state.getVelocities(asNumpy=True).value_in_unit(_NM_PS)
                * units.NM_PER_PS,
                "forces": forces * units.KJ_PER_MOL_NM,
                "energies": energy * units.KJ_PER_MOL,
                "time": now.time,
                "has_label": bool(np.array_equal(kept, positions)),
            }
        )
        self.metadata["timestep_fs"] = now.stride / units.FS
        if len(self._frames) >= self.frames_per_file:
            self.close()

    def close(self) -> None:
        """Write the frames that are kept to a file of their own."""
        if not self._frames or self._fixed is None:
            return
        columns: dict[str, Any] = {
            name: np.array([f[name] for f in self._frames]) for name in self._frames[0]
        }
        number = 1 + max((_number(path) for path in self._files()), default=-1)
        more = {"interval_steps": self.interval, "segment": number}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_npz(
            self.folder / f"{self.stem}.{number}.npz",
            Trajectory(
                numbers=self._fixed.numbers,
                masses=self._fixed.masses,
                temperature=np.full(len(self._frames), self.temperature),
                metadata={**self.metadata, **self._fixed.metadata, **more},
                **columns,
            ),
        )
        self._frames = []

    def __del__(self) -> None:
        if getattr(self, "_frames", None):
            self.close()

    def _files(self) -> list[Path]:
        files = self.folder.glob(f"{self.stem}.*.npz")
        return sorted(files, key=_number)

    def _remove_from(self, time: float) -> None:
        for path in self._files():
            old = read_npz(path)
            keep = old.time < time * (1.0 - 1e-9)
            if not keep.any():
                path.unlink()
            elif not keep.all():
                kept = {name: getattr(old, name)[keep] for name in _COLUMNS}
                write_npz(path, dataclasses.replace(old, **kept))


@dataclasses.dataclass(frozen=True)
class _Moment:
    """Marks by which one frame follows from another: counts, origin, stride, clock and time.

    The clock is the Context's, None if it may not follow the stride; the time is that of the file.
    """

    counts: tuple[int, ...]
    origin: float
    stride: float
    clock: float | None
    time: float

    @classmethod
    def of(cls, integrator: Any, time: float) -> _Moment:
        """Now, at a time (ASE units)."""
        counts = tuple(
            round(integrator.getGlobalVariableByName(f"kstep_{name}"))
            for name in ("jumps", "fallbacks", "flips")
        )
        origin = integrator.getGlobalVariableByName("kstep_origin")
        stride = integrator.getStepSize().value_in_unit(unit.picosecond) * units.PS
        clock = time if isinstance(integrator, KStepIntegrator) else None
        return cls(counts, origin, stride, clock, time)

    def follows(self, before: _Moment, steps: int) -> bool:
        """True if so many jumps on lead from one to the other, and nothing else happened."""
        passed = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        if passed != (steps, 0, 0) or self.origin != before.origin:
            return False
        if self.clock is None or before.clock is None:
            return True
        # Else somebody has set it.
        return abs(self.clock - before.clock - steps * self.stride) < 1e-3 * self.stride


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """Elements, masses and metadata that all frames of a run have in common."""

    numbers: npt.NDArray[np.int64]
    masses: Array
    metadata: dict[str, Any]


def _variables(integrator: Any) -> list[str]:
    """Names of the global variables; none of an integrator without a program."""
    if not isinstance(integrator, openmm.CustomIntegrator):
        return []
    count = integrator.getNumGlobalVariables()
    return [integrator.getGlobalVariableName(i) for i in range(count)]


def _number(path: Path) -> int:
    return int(path.stem.rpartition(".")[2])


def _fixed(simulation: Any) -> _Fixed:
    """Atoms, constraints and ensemble of a run."""
    integrator, system = simulation.integrator, simulation.system
    heat = _variables(integrator)
    if "kstep_origin" not in heat:
        raise ValueError(
            f"the integrator is a {type(integrator).__name__}, and TrajectoryReporter writes the "
            "forces that a KStepIntegrator has evaluated, and what happened between two frames, "
            "which no other knows: make the run with a KStepIntegrator (simulation.integrator), or "
            "the trajectory with kstep simulate"
        )
    names = [integrator.getPerDofVariableName(i) for i in range(integrator.getNumPerDofVariables())]
    if "kstep_force" not in names:
        raise ValueError(
            "this KStepIntegrator keeps no forces of the physics, because its corrector is 'none' "
            "and its Metropolis test asks for energies only: TrajectoryReporter has nothing to "
            "write. Take corrector='impulse'"
        )
    if system.usesPeriodicBoundaryConditions():
        raise ValueError(
            "the System is periodic, and TrajectoryReporter writes neither box vectors nor forces "
            "without those of a solvent. For a dataset in a cell make the run with kstep run or "
            "KStepDynamics, whose trajectories keep the cell (an OpenMMCalculator takes the "
            "System); of a solute, record it by itself, without the solvent"
        )
    elements = [atom.element for atom in simulation.topology.atoms()]
    if any(element is None for element in elements):
        raise ValueError("the Topology has atoms without an element; give them theirs")
    numbers = np.array([element.atomic_number for element in elements], dtype=np.int64)
    masses = [
        system.getParticleMass(i).value_in_unit(unit.dalton)
        for i in range(system.getNumParticles())
    ]
    production = "langevin" if "kstep_kT" in heat else "nve"
    return _Fixed(
        numbers,
        np.array(masses, dtype=np.float64),
        {"constraints": _constraints(system, numbers), "settings": {"production": production}},
    )


def _constraints(system: openmm.System, numbers: npt.NDArray[np.int64]) -> str | None:
    fixed = [system.getConstraintParameters(i)[:2] for i in range(system.getNumConstraints())]
    if not fixed:
        return None
    hydrogens = [sum(int(numbers[i] == 1) for i in pair) for pair in fixed]
    if set(hydrogens) != {1} or len(fixed) != int((numbers == 1).sum()):
        raise ValueError(
            f"the System has {len(fixed)} constraints that are not the bonds of all hydrogen "
            "atoms; the training module knows constraints=HBonds, rigidWater=False, or none"
        )
    return "HBonds"
