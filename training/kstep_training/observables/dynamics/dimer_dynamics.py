"""Dynamics of a dimer under GFN2-xTB whose molecules are kept near each other, for labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.mixing import SumCalculator
from ase.data import covalent_radii
from ase.io import Trajectory
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import (
    CalculatorPotential,
    KStepDynamics,
    Learning,
    NetworkPotential,
    SumPotential,
    load_model,
)
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.units import FS, PS
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.start import relax
from kstep_training.keys import setting

__all__ = ["CentroidRestraint", "DimerSettings", "dimer_dynamics", "place_dimer", "start_dimer"]

POTENTIAL: Final = "organic-gfn2"
COVERED: Final = frozenset((1, 6, 7, 8))
"""Elements of the bundled potential; a run with others learns its potential from nothing."""

LABELS: Final = 200
"""Evaluations that such a run learns from."""

CLEARANCE: Final = 1.5
"""angstrom, between the covalent spheres of two atoms of different molecules at the start."""

ATTEMPTS: Final = 1000

STEPS: Final = 30
"""Of a relaxation at the start, which parts molecules that are too near, and no more."""


class CentroidRestraint(Calculator):
    """Flat-bottomed harmonic potential of the distance between two molecules' centres.

    Nothing between the two limits, 1/2 k (R - limit)^2 beyond either.

    Parameters
    ----------
    first : int
        Atoms of the first molecule, which come first.
    least, most : float
        Limits of the distance between the means of the positions, angstrom.
    stiffness : float
        k, eV/angstrom^2.

    Examples
    --------
    >>> pair = Atoms("He2", [[0, 0, 0], [0, 0, 6.0]])
    >>> pair.calc = CentroidRestraint(1, least=3.5, most=5.0, stiffness=0.5)
    >>> pair.get_potential_energy(), pair.get_forces()[1].tolist()
    (0.25, [-0.0, -0.0, -0.5])
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE's own name and type)

    def __init__(self, first: int, least: float, most: float, stiffness: float) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            first=first, least=least, most=most, stiffness=stiffness
        )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy and forces; ASE calls this when they are not known yet."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        positions, first = cast(Atoms, self.atoms).positions, self.parameters["first"]
        between = positions[first:].mean(0) - positions[:first].mean(0)
        distance = float(np.linalg.norm(between))
        limited = min(max(distance, self.parameters["least"]), self.parameters["most"])
        excess, stiffness = distance - limited, self.parameters["stiffness"]
        pull = stiffness * excess * between / distance
        forces = np.empty_like(positions)
        forces[:first], forces[first:] = pull / first, -pull / (len(positions) - first)
        self.results = {"energy": 0.5 * stiffness * excess**2, "forces": forces}


@dataclass(frozen=True)
class DimerSettings:
    """A dimer's dynamics for labels.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> DimerSettings(temperature_K=350.0).frames
    40
    """

    temperature_K: float = setting(300.0, "temperature of the run", "K")
    least: float = setting(
        3.3, "distance of the centres, below which they are pushed apart", "angstrom"
    )
    most: float = setting(
        4.5, "distance of the centres beyond which they are pulled back", "angstrom"
    )
    stiffness: float = setting(0.5, "of the restraint", "eV/angstrom^2")
    frames: int = setting(40, "frames that are kept")
    interval_fs: float = setting(
        100.0, "time between two of them, rejected strides of a Metropolized run included", "fs"
    )
    equilibration_fs: float = setting(500.0, "time before the first of them", "fs")
    timestep_fs: float = setting(0.5, "base step", "fs")
    k: int = setting(20, "base steps of a stride; of a run that learns, 8 at most")
    friction_per_ps: float = setting(5.0, "friction of the Langevin thermostat", "1/ps")
    seed: int = setting(0, "seed of the start, the momenta and the noise")

    def __post_init__(self) -> None:
        for name in (
            "temperature_K", "least", "stiffness", "interval_fs", "timestep_fs", "friction_per_ps",
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a positive number")
        if not self.least < self.most < float("inf"):
            raise ValueError(f"most is {self.most}, expected more than least, {self.least}")
        if self.equilibration_fs < 0.0:
            raise ValueError(f"equilibration_fs is {self.equilibration_fs}, expected 0 or more")
        for name in ("frames", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


def place_dimer(
    first: Atoms, second: Atoms, least: float, most: float, rng: np.random.Generator
) -> Atoms:
    """Two molecules in random orientations, their centres at a random distance.

    Parameters
    ----------
    first, second : ase.Atoms
    least, most : float
        Between which the distance lies, angstrom.
    rng : numpy.random.Generator

    Returns
    -------
    ase.Atoms
        The atoms of the first molecule first.

    Raises
    ------
    ValueError
        If the molecules always come too near to each other.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> ethene = named_molecule("ethene")
    >>> dimer = place_dimer(ethene, ethene, 4.0, 5.0, np.random.default_rng(0))
    >>> dimer.get_chemical_formula()
    'C4H8'
    """
    radii = covalent_radii[first.numbers][:, None] + covalent_radii[second.numbers]
    for _ in range(ATTEMPTS):
        one, other = _turned(first, rng), _turned(second, rng)
        direction = rng.normal(size=3)
        other += rng.uniform(least, most) * direction / np.linalg.norm(direction)
        apart = np.linalg.norm(one[:, None] - other, axis=2)
        if (apart > radii + CLEARANCE).all():
            numbers = np.concatenate([first.numbers, second.numbers])
            return Atoms(numbers, np.concatenate([one, other]))
    raise ValueError(
        f"{first.get_chemical_formula()} and {second.get_chemical_formula()} come too near to each "
        f"other at distances of {least} to {most} A in {ATTEMPTS} attempts; raise most"
    )


def _turned(atoms: Atoms, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Positions about their mean, turned at random."""
    left, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation = left * np.sign(np.diag(upper))
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    return np.asarray((atoms.positions - atoms.positions.mean(0)) @ rotation.T)


def start_dimer(first: str, second: str, settings: DimerSettings) -> KStepDynamics:
    """The k-step dynamics of a dimer under GFN2-xTB and a restraint, at its start.

    Parameters
    ----------
    first, second : str
        As for :func:`dimer_dynamics`.
    settings : DimerSettings
        Frames, their interval and the equilibration are left to the caller.

    Returns
    -------
    KStepDynamics
        Metropolized with the elements of the bundled potential. A rejected stride takes no time but
        counts: averages over the canonical ensemble take frames by strides, not by their time.

    Raises
    ------
    ValueError
        As for :func:`dimer_dynamics`.

    Examples
    --------
    >>> dynamics = start_dimer("ethene", "ethene", DimerSettings())
    >>> dynamics.run(1)
    True
    >>> dynamics.stats.jumps
    1
    """
    rng = np.random.default_rng(settings.seed)
    one, other = _at_rest(first), _at_rest(second)
    atoms = place_dimer(one, other, settings.least, settings.most, rng)

    def restraint() -> CentroidRestraint:
        return CentroidRestraint(len(one), settings.least, settings.most, settings.stiffness)

    atoms.calc = SumCalculator([xtb_calculator("GFN2-xTB"), restraint()])
    relax(atoms, max_steps=STEPS)
    thermalize_momenta(atoms, temperature_K=settings.temperature_K, rng=rng)
    learns = not {*atoms.numbers.tolist()} <= COVERED
    held = CalculatorPotential(restraint(), timestep=settings.timestep_fs * FS)
    k = min(settings.k, 8) if learns else settings.k
    common: dict[str, Any] = {
        "k": k,
        "timestep": settings.timestep_fs * FS,
        "temperature_K": settings.temperature_K,
        "friction": settings.friction_per_ps / PS,
        "rng": rng,
    }
    if learns:
        return KStepDynamics(atoms, None, learn=Learning(stop=LABELS, refit=False), **common)
    # Each molecule on its own: close to each other, the network that has been fitted to single
    # molecules is far off, and what is left out here the Metropolis test puts right.
    model = cast(NetworkPotential, load_model(POTENTIAL))
    potential = SumPotential((model, range(len(one))), (model, range(len(one), len(atoms))), held)
    return KStepDynamics(atoms, potential, corrector="none", metropolize=True, **common)


def dimer_dynamics(
    first: str, second: str, trajectory: str | Path, settings: DimerSettings
) -> dict[str, Any]:
    """Run the k-step dynamics of a dimer under GFN2-xTB and write its frames.

    With the elements of the bundled potential, jumps on it, each molecule on its own, are
    Metropolized: frames, taken after equal numbers of strides, are of the canonical ensemble of
    GFN2 and the restraint. A potential for other elements is learned while running.

    Parameters
    ----------
    first, second : str
        Molecules as of ``kstep run``: names of bundled ones, files, or SMILES.
    trajectory : path
        ASE trajectory that is written.
    settings : DimerSettings

    Returns
    -------
    dict
        Jumps, evaluations of the physics, the share of accepted jumps (Metropolized runs), and the
        time travelled in fs, from the first frame.

    Raises
    ------
    ValueError
        If a molecule is unknown, or they do not fit at the distances asked for.
    DynamicsFailed
        If the dynamics fails.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "ethene.traj")
    >>> few = DimerSettings(frames=2, interval_fs=20.0, equilibration_fs=0.0)
    >>> dimer_dynamics("ethene", "ethene", path, few)["length_fs"]
    20.0
    """
    return _write(start_dimer(first, second, settings), Path(trajectory), settings)


def _at_rest(source: str) -> Atoms:
    """A molecule at its minimum."""
    atoms = read_molecule(source).atoms
    atoms.calc = xtb_calculator("GFN2-xTB")
    relax(atoms)
    atoms.calc = None
    return atoms


def _write(dynamics: KStepDynamics, path: Path, settings: DimerSettings) -> dict[str, Any]:
    """Equilibrate, then keep frames with their times."""
    atoms = dynamics.atoms
    _advance(dynamics, settings.equilibration_fs)
    begun = dynamics.get_time()
    with Trajectory(path, "w") as frames:
        for frame in range(settings.frames):
            if frame:
                _advance(dynamics, settings.interval_fs)
            time = (dynamics.get_time() - begun) / FS
            frames.write(
                Atoms(atoms.numbers, atoms.positions, info={"time": time, "time_unit": "fs"})
            )
    stats = dynamics.stats
    return {
        "jumps": stats.jumps,
        "evaluations": stats.physics_evaluations,
        "accepted": stats.accepted / stats.jumps if dynamics.last_verdict is not None else None,
        "length_fs": time,
    }


def _advance(dynamics: KStepDynamics, length_fs: float) -> None:
    """Go on for a time: of a Metropolized run in strides, of one that learns as it comes.

    Rejected strides take no time, but the place where a run stays for long is to be seen as often:
    frames by their time would not be of the ensemble. Strides of a run that learns grow.
    """
    if dynamics.metropolize:
        dynamics.run(math.ceil(length_fs * FS / dynamics.dt - 1e-6))
        return
    end = dynamics.get_time() + (length_fs - 1e-6) * FS
    while dynamics.get_time() < end:
        dynamics.run(1)
