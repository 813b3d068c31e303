"""Metropolized jumps of many replicas, and what their averages are in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_integrators import FlowJump
from kstep_integrators.correctors import make_corrector
from kstep_integrators.state import kinetic_energy
from kstep_integrators.step.guard import Control, Guard
from kstep_integrators.step.metropolis import Metropolis
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stepper import start, step
from kstep_integrators.testing.block_averages import (
    Expected,
    deviate,
    histogram_test,
    measured,
    moments,
    z_score,
)
from kstep_integrators.testing.surfaces import Surface
from kstep_integrators.testing.system import System, replicas
from kstep_integrators.thermostats import Langevin

__all__ = ["Averages", "Tests", "compare", "sample"]

Array = NDArray[np.float64]


class Averages:
    """Time averages of observables, their squares and histograms, of each replica.

    Parameters
    ----------
    edges : dict
        Inner edges of bins, for the observables that have a histogram.

    Examples
    --------
    >>> averages = Averages({})
    >>> averages.add({"x": torch.tensor([[1.0], [3.0]])})
    >>> averages.blocks, averages.expected()["x"].moments.mean
    (2, 2.0)
    """

    def __init__(self, edges: dict[str, Array]) -> None:
        self.edges = {name: torch.from_numpy(e) for name, e in edges.items()}
        self.frames = 0
        self._sums: dict[str, Tensor] = {}
        self._bins: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """One frame: (B, m) of each observable, averaged over m."""
        self.frames += 1
        for name, each in values.items():
            pair = torch.stack([each.mean(1), each.square().mean(1)])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair
            if name in self.edges:
                bins = torch.bucketize(each.contiguous(), self.edges[name])
                shape = (len(each), len(self.edges[name]) + 1)
                counts = torch.zeros(shape, dtype=torch.float64)
                counts.scatter_add_(1, bins, torch.full_like(each, 1.0 / each.shape[1]))
                self._bins[name] = self._bins[name] + counts if name in self._bins else counts

    def expected(self) -> dict[str, Expected]:
        """Moments and histograms with errors, as others may be held against."""
        return {
            name: Expected(
                moments(*(sums / self.frames).numpy()),
                measured((self._bins[name] / self.frames).numpy()) if name in self._bins else None,
            )
            for name, sums in self._sums.items()
        }

    @property
    def blocks(self) -> int:
        """Number of replicas."""
        return next(iter(self._sums.values())).shape[1]


@dataclass(frozen=True)
class Tests:
    """Comparisons with what is known.

    Attributes
    ----------
    rows : list of dict
        For each: observable, quantity, found, error, expected, deviate.
    """

    rows: list[dict[str, Any]]

    @property
    def deviates(self) -> list[float]:
        """Moduli of the normal deviates that are as rare as the differences."""
        return [abs(row["deviate"]) for row in self.rows]


def compare(averages: Averages, known: dict[str, Expected]) -> Tests:
    """Means, variances and histograms, wherever they are known."""
    measured_ones, blocks = averages.expected(), averages.blocks
    rows: list[dict[str, Any]] = []

    def score(name: str, quantity: str, pairs: tuple[float, float, float, float]) -> None:
        value, error, wanted, its_error = pairs
        if not math.isnan(wanted):
            z = z_score(value, error, wanted, its_error, blocks)
            rows.append(
                {"observable": name, "quantity": quantity, "found": value, "error": error}
                | {"expected": wanted, "expected_error": its_error, "deviate": z}
            )

    for name, expected in known.items():
        here = measured_ones[name]
        one, other = here.moments, expected.moments
        if one is not None and other is not None:
            score(name, "mean", (one.mean, one.mean_error, other.mean, other.mean_error))
            score(
                name,
                "variance",
                (one.variance, one.variance_error, other.variance, other.variance_error),
            )
        if here.histogram is not None and expected.histogram is not None:
            test = histogram_test(here.histogram, blocks, expected.histogram)
            rows.append(
                {"observable": name, "quantity": "histogram", **test}
                | {"deviate": deviate(test["p_value"])}
            )
    return Tests(rows)


def sample(
    system: System,
    corrector: str,
    chances: int,
    count: int,
    equilibration: int,
    strides: int,
    seed: int,
    metropolize: bool = True,
) -> tuple[Averages, dict[str, Any]]:
    """Run replicas and average over the strides behind the equilibration.

    Parameters
    ----------
    system : System
    corrector : str
        A key of the proposals of the system.
    chances : int
        Extra chances of the Metropolis test.
    count, equilibration, strides : int
        Replicas, and strides before the averages and in them.
    seed : int
    metropolize : bool
        Without the test the ensemble is off by what the potential is wrong.

    Returns
    -------
    Averages
    dict
        ``sigma_dH_kT`` of first chances, ``accepted_first``, ``accepted``, and the averages over
        first chances ``exp_minus_dH``, which should be 1, and ``balance``, of
        sgn(dH) min(1, exp(-dH/kT)), which should be 0: as much is accepted upwards as downwards.
        Both follow from reversibility. The first has heavy tails, and errors that are too small
        where it comes out low; the second is bounded.
    """
    rng = np.random.default_rng(seed)
    state = replicas(system, count, rng)
    proposal = system.proposals[corrector]
    n = len(system.masses)
    jump = FlowJump(Surface(proposal.potential, n), proposal.timestep)
    scheme = BoundScheme(
        jump=jump.bind(state),
        corrector=make_corrector(corrector, jump.correctors),
        thermostat=Langevin(system.temperature_K, system.friction),
        physics=Surface(system.physics, n),
        timestep=proposal.timestep,
        control=Control(guard=Guard(math.inf, math.inf)),
        metropolis=Metropolis(system.temperature_K, chances) if metropolize else None,
    )
    averages = Averages(system.edges)
    changes, taken = [], []
    point = start(state, scheme, proposal.k)
    for number in range(equilibration + strides):
        point, info = step(point, scheme, proposal.k, rng)
        if number < equilibration:
            continue
        values = system.observe(point.state.positions.reshape(count, n, 3))
        averages.add({**values, "kinetic": kinetic_energy(point.state)[:, None]})
        if info.verdict is not None:
            changes.append(info.verdict.first_change / system.kt)
            taken.append(info.verdict.accepted_at)
    report: dict[str, Any] = {}
    if taken:
        every, at = torch.stack(changes), torch.stack(taken)
        report = {
            "sigma_dH_kT": float(every[every.isfinite()].std()),
            "accepted_first": float((at == 1).double().mean()),
            "accepted": float((at > 0).double().mean()),
        }
        weights = torch.exp(-every)
        balance = every.sign() * weights.clamp(max=1.0)
        for name, changes_of, wanted in (("exp_minus_dH", weights, 1.0), ("balance", balance, 0.0)):
            each = changes_of.mean(0).numpy()
            mean, error = float(each.mean()), float(each.std(ddof=1)) / math.sqrt(count)
            report[name], report[f"{name}_error"] = mean, error
            report[f"{name}_deviate"] = z_score(mean, error, wanted, 0.0, count)
    return averages, report
