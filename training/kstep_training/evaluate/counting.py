"""Evaluations counted inside the calculators, their cost, and reports of runs compared with them.

Energies and forces that a run reports are computed again by fresh calculators at some landings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    CalculatorError,
    PropertyNotImplementedError,
)
from numpy.typing import NDArray

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.diagnostics import cost_per_ps, kinetic_energy, virial_pressure
from kstep_integrators.jumps.base import Averaged
from kstep_integrators.physics.calculation import ask
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.potentials import Potential
from kstep_integrators.state import Evaluation, EvaluationFailed
from kstep_integrators.testing import CountingCalculator
from kstep_training.evaluate.noise import Estimate, estimate, written
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record

__all__ = [
    "Aim",
    "CountedPhysics",
    "compare_reports",
    "cost",
    "counting",
    "counts",
    "extra_evaluations",
    "spot_check",
]


Aim = Callable[[NDArray[np.float64]], Averaged | None]
"""Positions (N, 3) -> what the physics is computed at for them; None if at the positions."""


class CountedPhysics:
    """Makes calculators that count, one for each replica.

    Parameters
    ----------
    physics : CalculatorFactory

    Attributes
    ----------
    counters : dict of int to CountingCalculator
        By ``atoms.info["replica"]``.
    """

    def __init__(self, physics: CalculatorFactory) -> None:
        self.physics = physics
        self.counters: dict[int, CountingCalculator] = {}

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        """A new calculator for the replica that the atoms are."""
        counter = counting(self.physics, atoms)
        self.counters[int(atoms.info["replica"])] = counter
        return counter


def counting(physics: CalculatorFactory, atoms: Atoms) -> CountingCalculator:
    """A new calculator that counts its evaluations.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.morse import MorsePotential
    >>> atoms = molecule("N2")
    >>> atoms.calc = counting(lambda atoms: MorsePotential(), atoms)
    >>> forces = atoms.get_forces()
    >>> counts(atoms.calc)["counted"]
    1
    """
    return CountingCalculator(cast(Calculator, physics(atoms)))


def counts(counter: CountingCalculator) -> dict[str, Any]:
    """Evaluations and seconds of a calculator, and SCF cycles if it keeps any."""
    cycles = getattr(getattr(counter.calculator, "totals", None), "scf_cycles", None)
    return {
        "counted": counter.evaluations,
        "scf_cycles": cycles,
        "physics_seconds": counter.seconds,
    }


def cost(runs: Sequence[Record], method: Method) -> dict[str, Any] | None:
    """Per picosecond of the clock, over all seeds that came to their end; None without any."""
    runs = [r for r in runs if r.whole]
    if method.kind == "ballistic" or not runs:
        return None
    clock = sum(float(r.time[-1]) for r in runs)
    cycles = [r.facts.get("scf_cycles") for r in runs]
    return asdict(
        cost_per_ps(
            clock,
            sum(int(r.facts["counted"]) for r in runs),
            sum(float(r.facts["seconds"]) for r in runs),
            None if None in cycles else sum(int(c) for c in cycles if c is not None),
        )
    )


def extra_evaluations(runs: Sequence[Record], method: Method) -> int | None:
    """Most evaluations of a run beyond its plan; None where fallbacks or failures add theirs.

    Those that verify estimates are apart: they are counted by :func:`compare_reports`.
    """
    plain = [r for r in runs if r.whole and not r.facts.get("fallbacks")]
    if method.kind == "ballistic" or not plain:
        return None
    spent = [int(r.facts["counted"]) - int(r.facts.get("verifications", 0)) for r in plain]
    return max(spent) - 1 - method.steps


def spot_check(
    record: Record,
    atoms: Atoms,
    physics: CalculatorFactory,
    count: int,
    potential: Potential | None = None,
    aim: Aim | None = None,
) -> dict[str, list[float]]:
    """Energies, residuals and errors of predicted energies at some landings, computed again.

    Parameters
    ----------
    record : Record
    atoms : ase.Atoms
        Of the same atoms, for the charge.
    physics : CalculatorFactory
        Makes a fresh calculator for each landing.
    count : int
        Landings, evenly spread.
    potential : Potential, optional
        Of the jumps, if they ask for forces and it has an energy.
    aim : Aim, optional
        Where a corrector that averages positions has the physics computed: its residuals are of
        there. Changes of energy are not looked at then, as what the run compares its predictions
        with are estimates.

    Returns
    -------
    dict of str to list of float
        ``energy``: reported minus measured potential energies, eV. With a potential also
        ``residual``: rms component at each landing, eV/A, and ``predicted``: error of the
        change of energy that the potential predicts for the jump before it, eV. In a cell that is
        periodic in all directions, and of a physics that has a stress, ``pressure``, eV/A^3. What
        cannot be computed is left out and counted in ``failed``.
    """
    landings = np.flatnonzero(np.isfinite(record.energies))
    chosen = np.unique(np.linspace(1, max(len(landings) - 1, 1), count, dtype=int))
    chosen = chosen[chosen < len(landings)]
    checks: dict[str, list[float]] = {"energy": [], "residual": [], "predicted": [], "failed": []}
    bound: Any = None
    for index in chosen:
        places = [record.positions[landings[index - step]] for step in (1, 0)]
        try:
            averaged = None if aim is None else aim(places[1])
        except EvaluationFailed:
            checks["failed"].append(float(index))
            continue
        if averaged is not None:
            places = [averaged.state.positions.cpu().numpy(), places[1]]
        answers = []
        for place in places[1:] if potential is None else places:
            here = atoms.copy()
            here.positions = place
            here.calc = physics(atoms.copy())
            answers.append(ask(here, potential is not None))
        if any(answer.failure for answer in answers):
            checks["failed"].append(float(index))
            continue
        checks["energy"].append(float(record.energies[landings[index]]) - answers[-1].energy)
        if all(record.pbc) and (pressure := _pressure(here, record, landings[index])) is not None:
            checks.setdefault("pressure", []).append(pressure)
        if potential is None:
            continue
        if averaged is not None:
            checks["residual"].append(_residual(answers[0].forces, averaged.inner))
            continue
        if bound is None:
            bound = potential.bind(state_from_atoms(atoms))
        try:
            with torch.no_grad():
                inner = [bound(torch.from_numpy(place.copy()), None)[0] for place in places]
        except EvaluationFailed:
            checks["failed"].append(float(index))
            continue
        checks["residual"].append(_residual(answers[1].forces, inner[1]))
        change = float(inner[1].energy[0] - inner[0].energy[0])
        checks["predicted"].append(change - (answers[1].energy - answers[0].energy))
    return checks


def _pressure(computed: Atoms, record: Record, frame: int) -> float | None:
    """Pressure of a frame that has been computed, eV/A^3; None if its physics has no stress."""
    momenta = record.momenta[frame]
    if "stress" not in computed.calc.implemented_properties or not np.isfinite(momenta).all():
        return None
    try:
        stress = computed.get_stress()
    except (CalculatorError, PropertyNotImplementedError):
        return None
    kinetic = kinetic_energy(momenta, record.masses)
    return float(virial_pressure(stress, kinetic, computed.get_volume()))


def _residual(physics: Any, potential: Evaluation) -> float:
    """Rms component of the difference of forces, eV/A."""
    forces = potential.require_forces().cpu().numpy()
    return float(np.sqrt(np.mean((physics - forces) ** 2)))


def compare_reports(runs: Sequence[Record]) -> dict[str, Any]:
    """Reports of runs beside counts and spot checks: evaluations, energies, residuals, bonds."""
    row: dict[str, Any] = {
        "evaluations": [[_spent(r), r.facts.get("counted")] for r in runs],
        "verifications": sum(int(r.facts.get("verifications", 0)) for r in runs),
        "record_evaluations": sum(int(r.facts.get("record_evaluations", 0)) for r in runs),
        "fallbacks": sum(int(r.facts.get("fallbacks", 0)) for r in runs),
        "accepted": sum(int(r.facts.get("accepted", 0)) for r in runs),
        "jumps": sum(int(r.facts.get("jumps", 0)) for r in runs),
        "bond_changes": [int(r.facts.get("bond_changes", 0)) for r in runs],
    }
    spots = [r.facts.get("spot") or {} for r in runs]
    energy = [abs(e) for spot in spots for e in spot.get("energy", [])]
    row["energy_checks"] = len(energy)
    row["failed_checks"] = sum(len(spot.get("failed", [])) for spot in spots)
    if energy:
        row["energy_deviation_eV"] = max(energy)
    found = [
        {**s, "estimate": r.facts.get("estimate_errors")} for r, s in zip(runs, spots, strict=True)
    ]
    for fact, check in (
        ("residual_rms", "residual"),
        ("energy_error", "predicted"),
        ("estimate_error", "estimate"),
    ):
        pairs = [
            (float(r.facts[fact]) ** 2, float(np.mean(np.square(measured[check]))))
            for r, measured in zip(runs, found, strict=True)
            if r.facts.get(fact) and measured.get(check)
        ]
        reported = [float(r.facts[fact]) for r in runs if r.facts.get(fact) is not None]
        if reported:
            row[fact] = float(np.sqrt(np.mean(np.square(reported))))
        if pairs:
            row[f"{fact}_measured"] = float(np.sqrt(np.mean([b for _, b in pairs])))
            row[f"{fact}_factor"] = _factor([a for a, _ in pairs], [b for _, b in pairs])
    return row


def _spent(record: Record) -> int | None:
    """Evaluations that a run has reported, those that verify its estimates included."""
    spent: int | None = record.facts.get("evaluations")
    return None if spent is None else spent + int(record.facts.get("verifications", 0))


def _factor(reported: Sequence[float], measured: Sequence[float]) -> dict[str, Any] | None:
    """Logarithm of measured over reported root mean squares, and its noise over runs.

    The noise is that of a ratio of means, linearized (W. G. Cochran, Sampling Techniques, 3rd ed.,
    1977, chapter 6): a run whose report holds rare large errors that its sample has not met counts
    as what it is, a large deviation.
    """
    top, bottom = float(np.mean(measured)), float(np.mean(reported))
    if len(measured) < 2 or not (top > 0.0 and bottom > 0.0):
        return None
    noise = estimate(
        [0.5 * (m / top - r / bottom) for m, r in zip(measured, reported, strict=True)]
    )
    if noise is None:
        return None
    # In the logarithm, so that too small and too large are as easily seen.
    return written(Estimate(0.5 * float(np.log(top / bottom)), noise.error, noise.count))
