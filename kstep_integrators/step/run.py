"""How far a run has come: everything that changes from one step to the next."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from kstep_integrators.mechanics.bond_watch import Topology, bond_changes
from kstep_integrators.state import Carry
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.scheme import Scheme, StepInfo
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.stepper import step
from kstep_integrators.step.tuning import BurnIn

__all__ = ["Progress", "advance"]


@dataclass(frozen=True)
class Progress:
    """A run of one molecule between two steps.

    Attributes
    ----------
    k : int
        Base steps of a stride, once a burn-in is over.
    burn_in : BurnIn or None
        While the stride is being tuned.
    carry : Carry or None
        None before the first evaluation.
    bonds : Topology or None
        Of ``carry``, but for changes that have been told.
    stats : Stats
    transferred_energy : float
        Heat that the thermostat has put in, eV.
    verdict : Verdict or None
        Of the last step under a Metropolis test.
    """

    k: int
    burn_in: BurnIn | None = None
    carry: Carry | None = None
    bonds: Topology | None = None
    stats: Stats = Stats()  # noqa: RUF009  (frozen)
    transferred_energy: float = 0.0
    verdict: Verdict | None = None

    @property
    def stride(self) -> int:
        """Base steps of the next stride."""
        return self.k if self.burn_in is None else self.burn_in.k

    @property
    def time(self) -> float:
        """Simulated time, ASE units: strides really travelled."""
        return 0.0 if self.carry is None else float(self.carry.state.time[0])


def advance(
    progress: Progress, scheme: Scheme, rng: np.random.Generator
) -> tuple[Progress, StepInfo, list[str]]:
    """One step of a run.

    Parameters
    ----------
    progress : Progress
        With a carry.
    scheme : Scheme
    rng : numpy.random.Generator

    Returns
    -------
    Progress
        Where it was, if the molecule was lost (``info.lost``).
    StepInfo
    list of str
        Bonds that broke or formed.

    Raises
    ------
    ValueError
        If there is no carry, or the thermostat cannot act on its state.
    """
    if progress.carry is None:
        raise ValueError("this run has not begun: it has no state to advance")
    carry, info = step(progress.carry, scheme, progress.stride, rng)
    if info.lost:
        stats = dataclasses.replace(progress.stats, last_problem=info.reason)
        return dataclasses.replace(progress, stats=stats), info, []
    bonds, changes = progress.bonds, list[str]()
    if bonds is not None:
        bonds, told = bond_changes(bonds, carry.state)
        changes = [*told.values()]
    stats = progress.stats.add(info)
    k, burn_in = progress.k, progress.burn_in
    if burn_in is not None and info.verdict is not None:
        burn_in = burn_in.add(info.verdict, info.evaluations)
        if burn_in.over:
            k, burn_in = burn_in.best, None
    heat = 0.0 if info.heat is None else float(info.heat.sum())
    after = Progress(
        k=k,
        burn_in=burn_in,
        carry=carry,
        bonds=bonds,
        stats=dataclasses.replace(stats, bond_changes=stats.bond_changes + bool(changes)),
        transferred_energy=progress.transferred_energy + heat,
        verdict=info.verdict,
    )
    return after, info, changes
