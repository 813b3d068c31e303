"""The Monte Carlo barostat: volume moves between strides, tested by the physical energy."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import torch

from kstep_integrators import units
from kstep_integrators.fields import GLOBAL, PARTS, replaced, scoped
from kstep_integrators.mechanics.scaled_bodies import Bodies, cell_volume, find_bodies, scaled
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.counting import Meter
from kstep_integrators.state import Evaluation, PhasePoint, PhaseState
from kstep_integrators.thermostats import bath_kelvin
from kstep_integrators.thermostats.noise import Noise, uniforms

__all__ = ["COUPLINGS", "Barostat", "VolumeMoves", "begin_moves", "try_volume"]

COUPLINGS: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "isotropic": ((0, 1, 2),),
    "anisotropic": ((0,), (1,), (2,)),
    "semi-isotropic": ((0, 1), (2,)),
}
"""Barostats by name, each with the cell vectors that one move makes longer or shorter together."""

ADAPTED = 100
"""Moves of each kind after which their sizes are frozen."""
FIRST, LARGEST = 0.01, 0.5
"""Size of the first moves, and the largest that any may have, over the volume."""
UNLIKELY = 100.0 * units.GPA
"""Pressure from which a slip of the unit is more likely than a planet."""
WANTED = 0.5
"""Acceptance that the sizes are adapted to."""


@dataclass(frozen=True)
class Barostat:
    """The isobaric-isothermal ensemble of the physics, by moves of the volume between strides.

    Attributes
    ----------
    pressure : float
        eV/angstrom^3.
    temperature_K : float
        Of the thermostat.
    coupling : str
        One of :data:`COUPLINGS`.
    scales : str
        ``"molecules"`` or ``"atoms"``: what moves as a whole.
    interval : int
        Strides between two moves, each one evaluation of the physics.
    """

    pressure: float
    temperature_K: float
    coupling: str = "isotropic"
    scales: str = "molecules"
    interval: int = 25

    def check(self, state: PhaseState) -> None:
        """Refuse a state whose cell cannot be scaled, or whose constraints that would break.

        Raises
        ------
        ValueError
            The message says why, and what to do.

        Warns
        -----
        KStepWarning
            Of a pressure beyond 100 GPa.
        """
        given = f"pressure={self.pressure} eV/angstrom^3"
        if not all(state.pbc):
            raise ValueError(
                f"{given} with atoms.pbc = {list(state.pbc)}: the barostat {self.coupling!r} "
                "scales all three cell vectors, and there is no volume without them; set a cell "
                "and atoms.pbc = True, or leave pressure out"
            )
        if state.n_molecules > 1:
            raise ValueError(
                f"{given} with {state.n_molecules} replicas: a barostat is that of one; make a "
                "KStepDynamics of each, or leave pressure out"
            )
        if state.mobile is not None:
            fixed = int((state.mobile == 0).sum())
            raise ValueError(
                f"{given} with FixAtoms of {fixed} atoms: a change of the cell would move them; "
                "remove the constraint, or leave pressure out"
            )
        if state.bonds is not None and self.scales == "atoms":
            raise ValueError(
                f"{given} and barostat_scales='atoms' with {len(state.bonds)} bonds of fixed "
                "length: scaled atoms would not keep them; use barostat_scales='molecules', or "
                "remove FixBondLengths"
            )
        find_bodies(state, self.scales)
        if abs(self.pressure) > UNLIKELY:
            warnings.warn(
                f"{given} is {self.pressure / units.GPA:.0f} GPa: pressures are in ASE's units, "
                "such as 1 * ase.units.bar or 0.1 * ase.units.GPa",
                KStepWarning,
                stacklevel=4,
            )

    def describe(self) -> dict[str, Any]:
        """Name and parameters, for logs and trajectory files."""
        return {
            "barostat": self.coupling,
            "pressure": self.pressure,
            "barostat_scales": self.scales,
            "barostat_interval": self.interval,
        }


@dataclass(frozen=True)
class VolumeMoves:
    """The moves of the volume that a run has made, and the size of the next.

    Attributes
    ----------
    bodies : Bodies
    sizes : tuple of float
        Largest change of the volume by a move of each kind, angstrom^3.
    tried : tuple of int
        Moves of each kind.
    accepted : int
    """

    bodies: Bodies = scoped(PARTS)
    sizes: tuple[float, ...] = scoped(GLOBAL)
    tried: tuple[int, ...] = scoped(GLOBAL)
    accepted: int = scoped(GLOBAL, default=0)

    @property
    def frozen(self) -> bool:
        """True once the sizes change no more, and the ensemble is exact."""
        return sum(self.tried) >= ADAPTED * len(self.tried)

    def after(self, kind: int, chance: float, accepted: bool, volume: float) -> VolumeMoves:
        """With one more move, and the size of its kind adapted to the chance that it had.

        The logarithm of the size moves by 2 (chance - 1/2) / sqrt(n) at the n-th move of a kind,
        until the sizes are frozen.
        """
        tried = tuple(n + (i == kind) for i, n in enumerate(self.tried))
        sizes = list(self.sizes)
        if not self.frozen:
            sizes[kind] *= math.exp(2.0 * (chance - WANTED) / math.sqrt(tried[kind]))
            sizes[kind] = min(sizes[kind], LARGEST * volume)
        return dataclasses.replace(
            self, sizes=tuple(sizes), tried=tried, accepted=self.accepted + accepted
        )


def begin_moves(barostat: Barostat, state: PhaseState) -> VolumeMoves:
    """The moves of a run before the first."""
    kinds = len(COUPLINGS[barostat.coupling])
    return VolumeMoves(
        find_bodies(state, barostat.scales),
        (FIRST * cell_volume(state.cell[0]),) * kinds,
        (0,) * kinds,
    )


def try_volume(
    point: PhasePoint,
    barostat: Barostat,
    moves: VolumeMoves,
    rng: Noise,
    physics: Meter,
    forces: bool,
) -> tuple[PhasePoint | None, VolumeMoves, str | None]:
    r"""One move of the volume, accepted or not by the physical energy.

    The change :math:`V \to V'` is uniform in a range of fixed size; the bodies' centres of mass
    follow the cell. It is accepted with probability
    :math:`\min(1, \exp(-(\Delta U + P \Delta V) / k_B T + n \ln(V'/V)))`, n the number of bodies:
    Chow & Ferguson, doi:10.1016/0010-4655(95)00059-O; Åqvist et al.,
    doi:10.1016/j.cplett.2003.12.039. Momenta stay as they are. A failed evaluation is a rejection.

    Parameters
    ----------
    point : PhasePoint
        Of one molecule, with the physics computed there.
    barostat : Barostat
    moves : VolumeMoves
    rng : Noise
        Gives three uniform numbers, whatever happens.
    physics : Meter
    forces : bool
        Whether forces are wanted where it ends.

    Returns
    -------
    point : PhasePoint or None
        In the new cell; of its potential nothing is known yet. None if the move was rejected.
    moves : VolumeMoves
    failure : str or None
        Why the physics has no energy there.
    """
    state, kinds = point.state, COUPLINGS[barostat.coupling]
    choice, size, test = (float(uniforms(rng, state)[0]) for _ in range(3))
    kind = min(int(choice * len(kinds)), len(kinds) - 1)
    before = cell_volume(state.cell[0])
    after = before + (2.0 * size - 1.0) * moves.sizes[kind]
    if after <= 0.0:  # a move that began from a larger volume
        return None, moves.after(kind, 0.0, False, before), None
    factors = torch.ones(3, dtype=state.cell.dtype, device=state.cell.device)
    factors[list(kinds[kind])] = (after / before) ** (1.0 / len(kinds[kind]))
    trial = scaled(state, moves.bodies, factors)
    computed = physics(trial, forces)
    cost = computed.energy - point.physics.energy + barostat.pressure * (after - before)
    kT = units.KB * bath_kelvin(state, barostat.temperature_K)
    exponent = float(-cost / kT) + moves.bodies.count * math.log(after / before)
    chance = math.exp(min(0.0, exponent)) if math.isfinite(exponent) else 0.0
    accepted = test < chance
    moves = moves.after(kind, chance, accepted, before)
    failure = computed.failures.get(0)
    if not accepted:
        return None, moves, failure
    return _there(point, trial, computed), moves, failure


def _there(point: PhasePoint, state: PhaseState, physics: Evaluation) -> PhasePoint:
    """The point in its new cell: potential and correction are those of the old one no more."""
    return replaced(point, state=state, physics=physics, inner=None, correction=None)
