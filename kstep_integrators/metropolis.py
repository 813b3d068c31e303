"""{ }: whether a jump is accepted, by the physical energy, and what happens if it is not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.state import Carry, Correction, Evaluation, kinetic_energy

__all__ = ["Metropolis", "Verdict", "metropolized"]


@dataclass(frozen=True)
class Metropolis:
    """The test that makes the canonical ensemble of the physics exact, whatever the model.

    Attributes
    ----------
    temperature_K : float
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


@dataclass(frozen=True)
class Verdict:
    """What became of the proposals of one step.

    Attributes
    ----------
    accepted_at : (B,) int64
        Chance at which each molecule was accepted, from 1; 0 if it was rejected.
    first_change : (B,) float64, eV
        Change of the total physical energy at the first chance; infinite if it was not finite.
    tried : int
        Strides tried, which is the evaluations made.
    """

    accepted_at: Tensor
    first_change: Tensor
    tried: int


def metropolized(
    start: Carry,
    advance: Callable[[Carry], Carry],
    rule: Metropolis,
    rng: np.random.Generator,
) -> tuple[Carry, Verdict]:
    r"""One generalized hybrid Monte Carlo transition with extra chances.

    With u uniform in (0, 1), drawn once, the deterministic map is repeated up to 1 +
    ``extra_chances`` times; the first state z_j with :math:`u \le \exp(-(H(z_j) - H(z_0)) / k_B T)`
    is accepted. If none is, the molecule stays where it was with its momenta reversed. The map must
    be reversible under reversal of momenta, and preserve volume. Horowitz,
    doi:10.1016/0370-2693(91)90812-5; Campos & Sanz-Serna, doi:10.1016/j.jcp.2014.09.037.

    Parameters
    ----------
    start : Carry
        With momenta refreshed; the physics must be finite.
    advance : callable
        The map: a stride, with the physics at its end. What fails has infinite energy.
    rule : Metropolis
    rng : numpy.random.Generator
        Gives one uniform number per molecule, whatever happens.

    Returns
    -------
    Carry
        Of molecules that were accepted at different chances, each at its own.
    Verdict
    """
    first = start.physics.energy + kinetic_energy(start.state)
    device = first.device
    limit = (
        -units.KB
        * rule.temperature_K
        * torch.from_numpy(np.log1p(-rng.random(start.state.n_molecules))).to(device)
    )
    accepted_at = torch.zeros(len(first), dtype=torch.int64, device=device)
    flipped = start.state.replace(momenta=-start.state.momenta)
    kept, here = dataclasses.replace(start, state=flipped), start
    first_change = torch.full_like(first, math.inf)
    alive = torch.isfinite(first)
    tried = 0
    for chance in range(1, rule.extra_chances + 2):
        here = advance(here)
        tried += 1
        change = here.physics.energy + kinetic_energy(here.state) - first
        change = torch.nan_to_num(change, nan=math.inf, posinf=math.inf, neginf=math.inf)
        if chance == 1:
            first_change = change
        # What lies behind a failure is out of reach, from both sides.
        alive = alive & torch.isfinite(change)
        now = alive & (accepted_at == 0) & (change <= limit)
        accepted_at = torch.where(now, chance, accepted_at)
        kept = choose(now, here, kept)
        if not bool((alive & (accepted_at == 0)).any()):
            break
        here = choose(alive, here, start)
    return kept, Verdict(accepted_at, first_change, tried)


def choose(which: Tensor, yes: Carry, no: Carry) -> Carry:
    """One trial for the molecules where ``which`` (B,) is true and another for the rest."""
    if bool(which.all()):
        return yes
    if not bool(which.any()):
        return no
    atoms = which[yes.state.batch].unsqueeze(1)
    state = no.state.replace(
        positions=torch.where(atoms, yes.state.positions, no.state.positions),
        momenta=torch.where(atoms, yes.state.momenta, no.state.momenta),
        time=torch.where(which, yes.state.time, no.state.time),
    )
    physics = _choose(which, atoms, yes.physics, no.physics)
    # What is not known for both is found again when it is needed.
    inner = correction = None
    if yes.inner is not None and no.inner is not None:
        inner = _choose(which, atoms, yes.inner, no.inner)
    one, other = yes.correction, no.correction
    if one is not None and other is not None and one.stride == other.stride:
        force = None
        if one.force is not None and other.force is not None:
            force = torch.where(atoms, one.force, other.force)
        correction = Correction(force, one.stride)
    return Carry(state, physics, inner, correction)


def _choose(which: Tensor, atoms: Tensor, yes: Evaluation, no: Evaluation) -> Evaluation:
    forces = None
    if yes.forces is not None and no.forces is not None:
        forces = torch.where(atoms, yes.forces, no.forces)
    return Evaluation(torch.where(which, yes.energy, no.energy), forces)
