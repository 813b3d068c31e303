"""run_ensemble: an ensemble from its start to its end in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from kstep_integrators.ensemble.ensemble import Ensemble
from kstep_integrators.ensemble.replicas import EnsembleResult
from kstep_integrators.jumps.base import Jump
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.potentials.base import Potential

__all__ = ["run_ensemble"]


def run_ensemble(
    atoms_list: Sequence[Atoms],
    model: Jump | Potential | str | Path,
    physics: CalculatorFactory,
    steps: int,
    *,
    progress: bool = False,
    **arguments: Any,
) -> EnsembleResult:
    """Run molecules or replicas for a number of steps, and end the workers.

    Parameters
    ----------
    atoms_list, model, physics, **arguments
        As for :class:`Ensemble`.
    steps : int
        One step is one jump.
    progress : bool
        Show a bar, if standard error is a terminal.

    Returns
    -------
    EnsembleResult
        Final atoms, statistics, and for each replica that was lost the reason.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    DynamicsFailed
        If the physics of none of the molecules works at the start.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, run_ensemble
    >>> def physics(atoms):
    ...     return LennardJones(sigma=0.8, epsilon=0.1)
    >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
    >>> result = run_ensemble([molecule("H2O"), molecule("SH2")], cheap, physics, steps=5, k=4)
    >>> [replica.stats.physics_evaluations for replica in result.replicas]
    [6, 6]
    >>> result.failures
    {}
    """
    with Ensemble(atoms_list, model, physics, **arguments) as ensemble:
        ensemble.run(steps, progress)
        return ensemble.result()
