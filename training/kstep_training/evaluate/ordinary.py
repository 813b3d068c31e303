"""Runs without a jump: free flight, and velocity Verlet and Langevin dynamics by ASE."""

from __future__ import annotations

import time

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from kstep_integrators import units
from kstep_training.evaluate.counting import counting, counts
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Frame, Record, record_of
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import calculator_factory

__all__ = ["ballistic", "ordinary"]

LOST_EV = 10.0
"""Change of the total energy, eV, at which a run of an ordinary integrator is given up."""


def ballistic(method: Method, atoms: Atoms) -> Record:
    """Free flight; no physics at all."""
    frames = int(1000.0 * method.picoseconds / method.frame_fs + 1e-9)
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
    )


def ordinary(method: Method, atoms: Atoms, settings: EvaluateSettings, seed: int) -> Record:
    """Velocity Verlet or BAOAB (doi:10.1093/amrx/abs010), with the energy at every frame.

    Parameters
    ----------
    method : Method
    atoms : ase.Atoms
        The start; it stays as it is.
    settings : EvaluateSettings
    seed : int
        Of the noise of BAOAB.

    Returns
    -------
    Record
        As far as the run came; why it did not come to its end is its ``error``.
    """
    counter = counting(calculator_factory(settings.physics), atoms.copy())
    atoms = atoms.copy()
    atoms.calc = counter
    dynamics = _dynamics(method, atoms, settings, seed)
    frames: list[Frame] = []
    first: list[float] = []

    def keep() -> None:
        energy = float(atoms.get_potential_energy())
        total = energy + float(atoms.get_kinetic_energy())
        if frames and method.kind == "verlet" and not abs(total - first[0]) < LOST_EV:
            raise CalculationFailed(f"the total energy changed by {total - first[0]:.3g} eV")
        first.append(total)
        frames.append((atoms.get_positions(), atoms.get_momenta(), energy))

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


def _dynamics(
    method: Method, atoms: Atoms, settings: EvaluateSettings, seed: int
) -> MolecularDynamics:
    step = method.stride_fs * units.FS
    if method.kind == "verlet":
        return VelocityVerlet(atoms, step)
    return LangevinBAOAB(
        atoms,
        step,
        temperature_K=settings.temperature,
        T_tau=units.PS / settings.friction_per_ps,
        rng=np.random.default_rng([seed, 2]),
    )
