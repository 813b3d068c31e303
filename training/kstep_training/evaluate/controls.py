"""References and controls, runs without a jump: velocity Verlet, Langevin dynamics, free flight."""

from __future__ import annotations

import time

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from kstep_integrators import units
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.testing import CountingCalculator
from kstep_training.evaluate.counting import counting, counts
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import EachFrame, Frame, Record, record_of, surroundings

__all__ = ["free_flight", "langevin", "velocity_verlet"]

LOST_EV = 10.0
"""Change of the total energy, eV, at which a run of velocity Verlet is given up."""


def free_flight(method: Method, atoms: Atoms) -> Record:
    """Straight lines with constant velocities, x + t v; no physics at all.

    Parameters
    ----------
    method : Method
    atoms : ase.Atoms
        The start, with momenta.

    Examples
    --------
    >>> from ase.build import molecule
    >>> method = Method("ballistic", "dynamics", "control", "ballistic", 8.0, 2.0, 0.01)
    >>> len(free_flight(method, molecule("H2O")))
    6
    """
    frames = int(1000.0 * method.length_ps / method.frame_fs + 1e-9)
    clock = np.arange(frames + 1, dtype=np.float64) * (method.frame_fs * units.FS)
    momenta = np.repeat(atoms.get_momenta()[None], frames + 1, axis=0)
    return Record(
        atoms.numbers.astype(np.int64),
        atoms.get_masses(),
        clock,
        atoms.positions + clock[:, None, None] * atoms.get_velocities(),
        momenta,
        np.full(frames + 1, np.nan),
        {"evaluations": 0, "counted": 0, "seconds": 0.0, "error": ""},
        *surroundings(atoms),
    )


def velocity_verlet(
    method: Method, atoms: Atoms, physics: CalculatorFactory, each_frame: EachFrame | None = None
) -> Record:
    """A run of ASE's velocity Verlet, with the energy at every frame.

    Parameters
    ----------
    method : Method
        Its stride is the step.
    atoms : ase.Atoms
        The start, with momenta; it stays as it is.
    physics : CalculatorFactory
    each_frame : EachFrame, optional
        Called as the run goes on, of which it is number 0.

    Returns
    -------
    Record
        As far as the run came: to its end, or until the calculator failed or the total energy
        changed by 10 eV, which is its ``error``.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.morse import MorsePotential
    >>> method = Method("verlet-1", "dynamics", "control", "verlet", 1.0, 2.0, 0.01)
    >>> record = velocity_verlet(method, molecule("N2"), lambda atoms: MorsePotential())
    >>> len(record), record.facts["counted"], record.whole
    (6, 11, True)
    """
    atoms, counter = _with_counter(atoms, physics)
    dynamics = VelocityVerlet(atoms, method.stride_fs * units.FS)
    return _follow(dynamics, method, counter, LOST_EV, each_frame)


def langevin(
    method: Method,
    atoms: Atoms,
    physics: CalculatorFactory,
    temperature_K: float,
    friction_per_ps: float,
    rng: np.random.Generator,
) -> Record:
    """A run of ASE's Langevin dynamics, BAOAB (doi:10.1093/amrx/abs010).

    Parameters
    ----------
    method : Method
        Its stride is the step.
    atoms : ase.Atoms
        The start, with momenta; it stays as it is.
    physics : CalculatorFactory
    temperature_K, friction_per_ps : float
        Of the heat bath.
    rng : numpy.random.Generator

    Returns
    -------
    Record
        As far as the run came; why it did not come to its end is its ``error``.
    """
    atoms, counter = _with_counter(atoms, physics)
    dynamics = LangevinBAOAB(
        atoms,
        method.stride_fs * units.FS,
        temperature_K=temperature_K,
        T_tau=units.PS / friction_per_ps,
        rng=rng,
    )
    return _follow(dynamics, method, counter, None, None)


def _with_counter(atoms: Atoms, physics: CalculatorFactory) -> tuple[Atoms, CountingCalculator]:
    """A copy of the start under a calculator that counts."""
    copy: Atoms = atoms.copy()
    copy.calc = counter = counting(physics, copy)
    return copy, counter


def _follow(
    dynamics: MolecularDynamics,
    method: Method,
    counter: CountingCalculator,
    lost: float | None,
    each_frame: EachFrame | None,
) -> Record:
    """Run, and keep a frame at each interval of the method."""
    atoms = dynamics.atoms
    frames: list[Frame] = []
    totals: list[float] = []

    def keep() -> None:
        energy = float(atoms.get_potential_energy())
        totals.append(energy + float(atoms.get_kinetic_energy()))
        change = totals[-1] - totals[0]
        if lost is not None and frames and not abs(change) < lost:  # so that NaN is lost too
            raise CalculationFailed(f"the total energy changed by {change:.3g} eV")
        frames.append((atoms.get_positions(), atoms.get_momenta(), energy))
        if each_frame is not None:
            each_frame(0, atoms, counter.evaluations)

    dynamics.attach(keep, interval=round(method.frame_fs / method.stride_fs))
    error, began = "", time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            dynamics.run(method.steps)
    except Exception as failure:  # noqa: BLE001  (calculators raise what they like at wild geometries)
        error = f"{dynamics.nsteps * method.stride_fs:g} fs: {type(failure).__name__}: {failure}"
    facts = {
        "evaluations": counter.evaluations,
        **counts(counter),
        "seconds": time.perf_counter() - began,
        "error": error,
    }
    return record_of(atoms, method.frame_fs, frames, facts)
