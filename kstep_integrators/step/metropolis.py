"""{ }: the Metropolis test of a jump by the physical energy, with extra chances."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.fields import GLOBAL, MOLECULE, replaced, scoped
from kstep_integrators.state import PhasePoint, kinetic_energy
from kstep_integrators.step.guard import Control, Guard
from kstep_integrators.thermostats import Langevin, Thermostat, bath_kelvin
from kstep_integrators.thermostats.noise import Noise, uniforms

__all__ = ["Metropolis", "Verdict", "make_metropolis", "metropolized"]


@dataclass(frozen=True)
class Metropolis:
    """The test that makes the canonical ensemble of the physics exact, whatever the model.

    Attributes
    ----------
    temperature_K : float
        Where the state has none of its own for each molecule.
    extra_chances : int
        How often the same deterministic trajectory is followed on, and tested again, before the
        momenta are flipped.

    Raises
    ------
    ValueError
        If the temperature is not positive or the chances are negative.
    """

    temperature_K: float
    extra_chances: int = 3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature_K) and self.temperature_K > 0):
            raise ValueError(
                f"temperature_K is {self.temperature_K}, expected a finite number above 0: a "
                "Metropolis test needs a temperature"
            )
        if isinstance(self.extra_chances, bool) or self.extra_chances != int(self.extra_chances):
            raise ValueError(f"extra_chances is {self.extra_chances!r}, expected an integer >= 0")
        if self.extra_chances < 0:
            raise ValueError(f"extra_chances is {self.extra_chances}, expected an integer >= 0")


def make_metropolis(extra_chances: int, thermostat: Thermostat, control: Control) -> Metropolis:
    """The test that the arguments of a run ask for.

    Raises
    ------
    ValueError
        If momenta would never be refreshed, or something else was to intervene.
    """
    if not isinstance(thermostat, Langevin):
        raise ValueError(
            f"metropolize=True with {thermostat.describe()}: a "
            "Metropolis test needs a temperature and a friction, or momenta are never refreshed; "
            "pass friction=numpy.inf to draw them anew at every jump"
        )
    if dataclasses.replace(control, guard=Guard()) != Control():
        raise ValueError(
            f"metropolize=True with on_error={control.on_error!r}, energy_tolerance="
            f"{control.energy_tolerance}, force_tolerance={control.force_tolerance}: under a "
            "Metropolis test the physical energy alone decides, or the ensemble is not exact; "
            "leave these out, and watch dynamics.stats"
        )
    return Metropolis(thermostat.temperature_K, extra_chances)


@dataclass(frozen=True)
class Verdict:
    """The outcome of the proposals of one step.

    Attributes
    ----------
    accepted_at : (B,) int64
        Chance at which each molecule was accepted, from 1; 0 if it was rejected.
    first_change : (B,) float64, eV
        Change of the total physical energy at the first chance; infinite if it was not finite.
    tried : int
        Strides tried. A molecule takes part, and is evaluated, until it is accepted or fails.
    """

    accepted_at: Tensor = scoped(MOLECULE)
    first_change: Tensor = scoped(MOLECULE)
    tried: int = scoped(GLOBAL)


def metropolized(
    start: PhasePoint,
    advance: Callable[[PhasePoint, Tensor], PhasePoint],
    rule: Metropolis,
    rng: Noise,
) -> tuple[PhasePoint, Verdict]:
    r"""One generalized hybrid Monte Carlo transition with extra chances.

    With u uniform in (0, 1), drawn once, the deterministic map is repeated up to 1 +
    ``extra_chances`` times; the first state z_j with :math:`u \le \exp(-(H(z_j) - H(z_0)) / k_B T)`
    is accepted. If none is, the molecule stays where it was with its momenta reversed. The map must
    be reversible under reversal of momenta, and preserve volume. Horowitz,
    doi:10.1016/0370-2693(91)90812-5; Campos & Sanz-Serna, doi:10.1016/j.jcp.2014.09.037.

    Parameters
    ----------
    start : PhasePoint
        With momenta refreshed; the physics must be finite.
    advance : callable
        The map: a stride of all molecules, with the physics at its end of those of a (B,) bool
        mask, whose fate is not decided yet. What fails has no finite energy.
    rule : Metropolis
    rng : Noise
        Gives one uniform number per molecule, whatever happens.

    Returns
    -------
    PhasePoint
        Of molecules that were accepted at different chances, each at its own.
    Verdict
    """
    first = start.physics.energy + kinetic_energy(start.state)
    device = first.device
    limit = (
        -units.KB
        * bath_kelvin(start.state, rule.temperature_K)
        * torch.from_numpy(np.log1p(-uniforms(rng, start.state))).to(device)
    )
    accepted_at = torch.zeros(len(first), dtype=torch.int64, device=device)
    flipped = start.state.replace(momenta=-start.state.momenta)
    kept, here = replaced(start, state=flipped), start
    first_change = torch.full_like(first, math.inf)
    undecided = torch.isfinite(first)
    tried = 0
    for chance in range(1, rule.extra_chances + 2):
        here = advance(here, undecided)
        tried += 1
        change = here.physics.energy + kinetic_energy(here.state) - first
        change = torch.nan_to_num(change, nan=math.inf, posinf=math.inf, neginf=math.inf)
        if chance == 1:
            first_change = change
        # What lies behind a failure is out of reach, from both sides.
        undecided = undecided & torch.isfinite(change)
        now = undecided & (change <= limit)
        accepted_at = torch.where(now, chance, accepted_at)
        kept = here.where(now, kept)
        undecided = undecided & ~now
        if not bool(undecided.any()):
            break
        here = here.where(undecided, start)
    return kept, Verdict(accepted_at, first_change, tried)
