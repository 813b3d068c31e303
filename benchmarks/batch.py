"""Many molecules as one ensemble: the flow in one network call, the physics one calculator each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms, units

from kstep_integrators import DynamicsFailed, Ensemble
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.potentials import Potential
from kstep_integrators.testing import CountingCalculator

__all__ = ["run_nve"]


def run_nve(
    molecules: list[Atoms],
    potential: Potential,
    k: int,
    base_fs: float,
    picoseconds: float,
    corrector: str,
    sample_fs: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[dict[str, float | None]]]:
    """Constant-energy dynamics under GFN2 of all molecules at once.

    Returns
    -------
    times : (F,) ASE time units
    energies : (F, B) eV
        Total energies of the physics at the sampled positions.
    rows : list of dict
        For each molecule: evaluations counted in its calculator, residual, fallbacks.
    """
    counters: list[CountingCalculator] = []

    def physics(atoms: Atoms) -> CountingCalculator:
        counters.append(CountingCalculator(xtb_calculator("GFN2-xTB")))
        return counters[-1]

    interval = round(sample_fs / (k * base_fs))
    times, energies = [], []
    with Ensemble(
        molecules, potential, physics, k=k, timestep=base_fs * units.fs, corrector=corrector
    ) as ensemble:
        for number in range(round(1000 * picoseconds / (k * base_fs)) // interval + 1):
            ensemble.run(interval if number else 0)
            found = ensemble.result()
            if found.failures:
                raise DynamicsFailed(f"stride {ensemble.nsteps}: {found.failures}")
            times.append(float(found.replicas[0].atoms.info["time"]))
            energies.append([each.atoms.get_total_energy() for each in found.replicas])
            if ensemble.nsteps % 500 < interval:
                print(f"{ensemble.nsteps} strides, {found.physics_seconds:.0f} s", flush=True)
    rows: list[dict[str, float | None]] = []
    for each, counter in zip(found.replicas, counters, strict=True):
        residual = each.stats.residual_rms
        rows.append(
            {
                "evaluations": counter.evaluations,
                "residual_meV_per_A": None if residual is None else 1e3 * residual,
                "fallbacks": each.stats.fallbacks,
            }
        )
    return np.array(times), np.array(energies), rows
